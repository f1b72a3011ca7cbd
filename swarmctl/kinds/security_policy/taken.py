"""What a change of a firewall may take away: then it is guarded, see `hosts.guard`. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

from swarmctl.graph.model import Json

_COUNTER = re.compile(r'\bcounter (name "[^"]*" ?)?')
_MOST = 3


def taken(old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    """What may close, as a clause; empty when the firewall only opens.

    A rule that accepts something more, and an address more in a set, take nothing away. What a changed rule means is
    not weighed: it may.
    """
    found = [*_chains(old, new), *_rules(old, new), *_sets(_part(old, "sets"), _part(new, "sets"))]
    more = f" and {len(found) - _MOST} more" if len(found) > _MOST else ""
    return f"may close {', '.join(found[:_MOST])}{more}" if found else ""


def _chains(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    before, after = _part(old, "chains"), _part(new, "chains")
    for name, base in after.items():
        if before.get(name) != base and not str(base).endswith(" policy accept"):
            yield f"the chain {name}"


def _rules(old: Mapping[str, Json], new: Mapping[str, Json]) -> Iterator[str]:
    before, after = _part(old, "rules"), _part(new, "rules")
    for name in sorted({*before, *after}):
        was, will = _meaning(before.get(name)), _meaning(after.get(name))
        opens = not was and will.endswith(" accept")
        closes_less = not will and was.endswith(" drop")
        if was != will and not opens and not closes_less:
            yield f"the rule {name}"


def _meaning(rule: Json) -> str:
    return "" if rule is None else _COUNTER.sub("", str(rule)).strip()


def _sets(before: Mapping[str, Json], after: Mapping[str, Json]) -> Iterator[str]:
    """Sets that lose addresses; a set that goes altogether goes with its rules."""
    for name, families in after.items():
        lost = [
            address
            for family, addresses in _part(before, name).items()
            for kept in [frozenset(_texts(_part(after, name).get(family)))]
            for address in _texts(addresses)
            if address not in kept
        ]
        if lost and families is not None:
            yield f"what {lost[0] if len(lost) == 1 else f'{len(lost)} addresses'} may do by {name}"


def _part(inputs: Mapping[str, Json], name: str) -> Mapping[str, Json]:
    part = inputs.get(name)
    return part if isinstance(part, Mapping) else {}


def _texts(addresses: Json) -> Sequence[str]:
    return addresses if isinstance(addresses, (list, tuple)) else ()
