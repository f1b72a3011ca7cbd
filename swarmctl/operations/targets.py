"""`--target`: some addresses and what they need; everything else is left as it is."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Container, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from swarmctl.errors import UsageError
from swarmctl.state.checkpoint import address_of, latest

if TYPE_CHECKING:
    from swarmctl.graph.model import Graph
    from swarmctl.operations.stack import Stack


def held(stack: Stack, targets: Sequence[str]) -> frozenset[str]:
    """The addresses, declared or recorded, that a run for `targets` must not touch.

    A target is an address (`nodepool/workers[0]`) or a declaration (`nodepool/workers`, all of it). With it comes what
    it depends on, and what that depends on; with one that has left the declarations, what depended on it and has left
    them, too. Raises UsageError for one that names nothing.
    """
    if not targets:
        return frozenset()
    needs = _needs(stack.graph)
    stood_on = _stood_on(stack, needs)
    everything = {*needs, *stack.snapshot.resources}
    wanted: set[str] = set()
    for target in targets:
        named = [address for address in everything if address == target or address.startswith(f"{target}[")]
        if not named:
            raise UsageError(f"--target: {target} is neither declared nor in the state", _near(target, everything))
        wanted |= _closure(named, {**needs, **stood_on})
    return frozenset(everything - wanted)


def _stood_on(stack: Stack, declared: Container[str]) -> Mapping[str, set[str]]:
    """What stands on what has left the declarations, and has left them, too, by the address that it stands on: nothing
    may go before what needs it."""
    found: dict[str, set[str]] = {}
    resources = latest(stack.published.checkpoint).get("resources") or () if stack.published else ()
    for resource in resources:
        address = address_of(resource["urn"])
        for need in map(address_of, resource.get("dependencies") or ()):
            if need not in declared and address not in declared:
                found.setdefault(need, set()).add(address)
    return found


def _needs(graph: Graph) -> Mapping[str, set[str]]:
    """Addresses by the address that depends on them."""
    return {str(address): set(map(str, resource.needs())) for address, resource in graph.resources.items()}


def _closure(start: Sequence[str], needs: Mapping[str, set[str]]) -> set[str]:
    found: set[str] = set()
    open_ = list(start)
    while open_:
        address = open_.pop()
        if address not in found:
            found.add(address)
            open_ += needs.get(address, ())
    return found


def _near(target: str, everything: Collection[str]) -> str:
    names = sorted({*everything, *_declarations(everything)})
    near = difflib.get_close_matches(target, names, n=3)
    return f"did you mean {' or '.join(near)}?" if near else "`swarmctl state list` lists what there is"


def _declarations(addresses: Collection[str]) -> Iterator[str]:
    for address in addresses:
        yield address.partition("[")[0]
