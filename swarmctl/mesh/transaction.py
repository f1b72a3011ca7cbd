"""A table as it should be, and as a node has it → what `nft -f -` is told, as one transaction. Pure.

A table that is replaced as a whole loses its counters. So what is there already is changed: rules are all put there
anew, in the same moment as the old ones go, while counters stay, and of sets only the elements that differ. Only what
can't be changed so is replaced as a whole, with its counters as they were read.

It holds whatever has happened on the node since it was read: what is taken away is added first, which does nothing
where it is there already, and rules never come without all that their sets must have. Where only elements of sets
differ, these are all it names; then it fails as a whole when the sets have gone meanwhile.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from swarmctl.mesh.firewall import FAMILY, OWNER, TABLE, chain, order
from swarmctl.mesh.nft import TYPES, Counter, Table

_WHOLE = f"{FAMILY} {TABLE}"
_COUNTER = re.compile(r'\bcounter name "([^"]+)"')


def transaction(wanted: Table, found: Table | None) -> str:
    """What makes the node's table `found` (None: it has none) the one that is wanted; `order` and `flags` in its rules
    mean that it is not what it seems."""
    if found is None or not _changeable(wanted, found):
        kept = found.counters if found is not None else {}
        lines = [f"table {_WHOLE}", f"delete table {_WHOLE}", *_body(wanted, kept)]
    elif (wanted.owner, wanted.chains, wanted.rules) == (found.owner, found.chains, found.rules) and (
        _names(wanted.sets) == _names(found.sets)
    ):
        lines = list(_elements(wanted, found))
    else:
        lines = [f"table {_WHOLE}", f"flush table {_WHOLE}", *_leavings(wanted, found), *_elements(wanted, found)]
        lines += _body(wanted, {})
    return "\n".join([*lines, ""])


def render(wanted: Table) -> str:
    """The transaction that puts the table there as a whole, in place of the one that may be there."""
    return transaction(wanted, None)


def render_removal() -> str:
    """The transaction that takes the table away, also when it is gone already."""
    return f"table {_WHOLE}\ndelete table {_WHOLE}\n"


def _changeable(wanted: Table, found: Table) -> bool:
    """A base chain can't move to another hook, and nothing that swarmctl doesn't know may stay in its table."""
    heads = [(found.chains.get(name, base), base) for name, base in wanted.chains.items()]
    return not found.foreign and all(_hook(before) == _hook(after) for before, after in heads)


def _hook(base: str) -> str:
    return base.rpartition(" policy ")[0]


def _leavings(wanted: Table, found: Table) -> Iterator[str]:
    """What takes away the chains, sets and counters that are wanted no more. No rule names them any longer; what is
    not swarmctl's own has no place in here, its name may be anything."""
    chains = {*found.chains, *([OWNER + found.owner] if found.owner else [])}
    for name in sorted(chains - {*wanted.chains, OWNER + wanted.owner}):
        yield f"add chain {_WHOLE} {name}"
        yield f"delete chain {_WHOLE} {name}"
    for name, family in sorted(_names(found.sets) - _names(wanted.sets)):
        yield f"add set {_WHOLE} {name}.{family} {{ type {TYPES[family]}; }}"
        yield f"delete set {_WHOLE} {name}.{family}"
    for name in sorted(found.counters.keys() - set(counters(wanted.rules))):
        yield f"add counter {_WHOLE} {name}"
        yield f"delete counter {_WHOLE} {name}"


def _elements(wanted: Table, found: Table) -> Iterator[str]:
    """What differs in the sets that both have."""
    for name, family in sorted(_names(wanted.sets) & _names(found.sets)):
        before, after = found.sets[name][family], wanted.sets[name][family]
        if before != after:
            gone, come = set(before) - set(after), set(after) - set(before)
            yield f"add element {_WHOLE} {name}.{family} {_list([*_in(after, come), *_in(before, gone)])}"
            if gone:
                yield f"delete element {_WHOLE} {name}.{family} {_list(_in(before, gone))}"


def _body(wanted: Table, counts: Mapping[str, Counter]) -> Iterator[str]:
    yield f"table {_WHOLE} {{"
    yield from (f"  chain {OWNER}{wanted.owner} {{", "  }")
    for counter in counters(wanted.rules):
        count = counts.get(counter, Counter())
        yield f"  counter {counter} {{ packets {count.packets} bytes {count.bytes} }}"
    for name, family in sorted(_names(wanted.sets)):
        yield f"  set {name}.{family} {{ type {TYPES[family]}; elements = {_list(wanted.sets[name][family])}; }}"
    rules = sorted(wanted.rules.items(), key=lambda item: order(item[0]))
    for name, base in sorted(wanted.chains.items()):
        head, _, policy = base.rpartition(" policy ")
        yield from (f"  chain {name} {{", f"    type {head}; policy {policy};")
        yield from (f'    {text} comment "{rule}"' for rule, text in rules if chain(rule) == name)
        yield "  }"
    yield "}"


def counters(rules: Mapping[str, str]) -> list[str]:
    """Names of the counters that the rules speak of, in order."""
    return sorted({match[1] for text in rules.values() if (match := _COUNTER.search(text))})


def _names(sets: Mapping[str, Mapping[str, Sequence[str]]]) -> set[tuple[str, str]]:
    return {(name, family) for name, families in sets.items() for family in families}


def _in(texts: Sequence[str], chosen: Iterable[str]) -> list[str]:
    wanted = set(chosen)
    return [text for text in texts if text in wanted]


def _list(texts: Sequence[str]) -> str:
    return "{ " + ", ".join(texts) + " }"
