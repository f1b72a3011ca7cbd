"""How this process reaches machines that were there before they were declared, by backend, stack and node name.

Resources name such a machine by these three alone, and a state records how to reach it only once, with the machine
itself: an address that changes is a change of the machine and not of everything on it. Whoever opens a host finds the
way here. What is declared now comes before what was recorded: of two ports the declared one is right.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Json = Any
Key = tuple[str, str, str]

RECORDED = ("address", "port", "user", "hostKeys", "jump")
"""Inputs of a recorded machine that are part of the way to it. Its keys are not: they are of whoever logs in."""

_declared: dict[Key, Mapping[str, Json]] = {}
_recorded: dict[Key, Mapping[str, Json]] = {}
_silent: set[Key] = set()
_blank: set[Key] = set()
"""New machines that bear nobody's mark, as they were a moment ago."""
_absent: set[Key] = set()
"""New machines that are not there yet for anybody else either."""
_lost: dict[Key, Mapping[str, Json]] = {}
"""Machines that are declared to be gone for good."""


def key(host: Mapping[str, Json]) -> Key:
    """What a `host` input names."""
    return str(host.get("backend", "")), str(host.get("stack", "")), str(host.get("node", ""))


def name(host: Mapping[str, Json]) -> dict[str, Json]:
    """The host without the way to it: what goes into inputs."""
    return dict(zip(("backend", "stack", "node"), key(host), strict=True))


def declare(stack: str, hosts: Iterable[Mapping[str, Json]], lost: Iterable[Mapping[str, Json]] = ()) -> None:
    """From now on these are the ways to the declared machines of the stack (see `Placement.host`), and no others; to
    those that are `lost` there is none, whatever is recorded."""
    _replace(_declared, stack, hosts)
    _forget(_lost, stack)
    _lost.update({key(host): name(host) for host in lost})


def is_lost(host: Mapping[str, Json]) -> bool:
    """Whether the machine that `host` names is declared to be gone for good: then nobody asks it anything."""
    return key(host) in _lost


def record(stack: str, machines: Iterable[Mapping[str, Json]]) -> None:
    """The same for the inputs of machines in a state; those that a way needs no more than the name for are left out."""
    known = (it for it in machines if "hostKeys" in it)
    _replace(_recorded, stack, ({**recorded(it), **_listens(it)} for it in known))


def _listens(inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The ports that were left open to manage the machine, where they were declared: no part of the way to it, but why
    another one may be shut."""
    return {"listens": inputs["listens"]} if "listens" in inputs else {}


def recorded(inputs: Mapping[str, Json]) -> dict[str, Json]:
    """The way that a machine's inputs tell of."""
    return {**name(inputs["host"]), **{part: inputs[part] for part in RECORDED if part in inputs}}


def parts(way: Mapping[str, Json]) -> Iterator[Mapping[str, Json]]:
    """The machine at the end of a way, then the servers before it, the nearest to the machine first."""
    yield way
    if jump := way.get("jump"):
        yield from parts(jump)


def declared_for(host: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """What is declared for the machine that `host` names."""
    return _declared.get(key(host))


def recorded_for(host: Mapping[str, Json]) -> Mapping[str, Json] | None:
    """What a state recorded of it."""
    return _recorded.get(key(host))


def known(backend: str, stack: str) -> dict[str, Mapping[str, Json]]:
    """The machines of a stack by node name, the declared way first."""
    found: dict[str, Mapping[str, Json]] = {}
    for book in (_recorded, _declared):
        found |= {
            node: way for (of, whose, node), way in book.items() if (of, whose) == (backend, stack) and not is_lost(way)
        }
    return found


def dump() -> dict[str, list[Mapping[str, Json]]]:
    """All that is known, for `load` in another process. Holds names of key files, and no keys."""
    return {
        "declared": list(_declared.values()),
        "recorded": list(_recorded.values()),
        "silent": _named(_silent),
        "blank": _named(_blank),
        "lost": list(_lost.values()),
    }


def load(dumped: Mapping[str, Iterable[Mapping[str, Json]]]) -> None:
    """Take over what `dump` gave."""
    for book, part in ((_declared, "declared"), (_recorded, "recorded"), (_lost, "lost")):
        book.update({key(way): way for way in dumped.get(part, ())})
    _silent.update(map(key, dumped.get("silent", ())))
    _blank.update(map(key, dumped.get("blank", ())))


def silence(stack: str, hosts: Iterable[Mapping[str, Json]]) -> None:
    """From now on these machines of the stack, and no others, count as silent: nobody asks them anything."""
    _silent.difference_update([it for it in _silent if it[1] == stack])
    _silent.update(map(key, hosts))


def blank(stack: str, hosts: Iterable[Mapping[str, Json]]) -> None:
    """From now on these machines of the stack, and no others, count as blank: nobody asks them whose they are."""
    _blank.difference_update([it for it in _blank if it[1] == stack])
    _blank.update(map(key, hosts))


def absent(stack: str, hosts: Iterable[Mapping[str, Json]]) -> None:
    """From now on these new machines of the stack, and no others, count as not there yet: nobody has anything to do
    with them."""
    _absent.difference_update([it for it in _absent if it[1] == stack])
    _absent.update(map(key, hosts))


def is_absent(host: Mapping[str, Json]) -> bool:
    """Whether the machine that `host` names is new and can't be taken over now."""
    return key(host) in _absent


def is_silent(host: Mapping[str, Json]) -> bool:
    """Whether the machine that `host` names counts as silent."""
    return key(host) in _silent


def is_blank(host: Mapping[str, Json]) -> bool:
    """Whether the machine that `host` names bore nobody's mark a moment ago."""
    return key(host) in _blank


def on_silent(inputs: Mapping[str, Json]) -> bool:
    """Whether a resource with these inputs lies on a machine that counts as silent, or on several and one of them."""
    if not _silent:
        return False
    nodes = inputs.get("nodes")
    several = [it.get("host") for it in nodes.values() if isinstance(it, Mapping)] if isinstance(nodes, Mapping) else []
    return any(isinstance(it, Mapping) and key(it) in _silent for it in [inputs.get("host"), *several])


def _named(keys: Iterable[Key]) -> list[Mapping[str, Json]]:
    return [dict(zip(("backend", "stack", "node"), it, strict=True)) for it in sorted(keys)]


def _replace(book: dict[Key, Mapping[str, Json]], stack: str, hosts: Iterable[Mapping[str, Json]]) -> None:
    _forget(book, stack)
    book.update({key(host): host for host in hosts if len(host) > 3})


def _forget(book: dict[Key, Mapping[str, Json]], stack: str) -> None:
    for old in [it for it in book if it[1] == stack]:
        del book[old]
