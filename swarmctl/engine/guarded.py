"""Guarded changes that a run made, by its journal: each is confirmed or undone before the state is published."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from swarmctl.state.checkpoint import address_of
from swarmctl.state.journal import Intent, Record


@dataclass(frozen=True, slots=True)
class Made:
    """One guarded change that was begun, and may or may not have been made."""

    address: str
    node: str
    host: Mapping[str, Any]
    """The input that names the host."""
    seconds: int
    """After which it is undone."""


Settle = Callable[[Sequence[Made], bool], Collection[str]]
"""Called with what was made, and whether the run has come to an orderly end; confirms it or has it undone. Returns the
addresses of what is undone, or will be."""


def made(records: Iterable[Record]) -> list[Made]:
    """All that were begun, by address; the last one of each."""
    found = {
        address_of(it.urn): Made(
            address_of(it.urn), str(it.inputs.get("node") or ""), it.inputs["host"], _seconds(it.inputs)
        )
        for it in records
        if isinstance(it, Intent) and it.guarded and isinstance(it.inputs.get("host"), Mapping)
    }
    return [found[address] for address in sorted(found)]


def settled(
    records: Sequence[Record], settle: Settle | None, failed: Collection[str], *, orderly: bool
) -> frozenset[str]:
    """Have what was made confirmed or undone; returns the addresses of what does not stay. `failed`: addresses of all
    that failed."""
    found = made(records)
    if not found or settle is None:
        return frozenset(it.address for it in found)
    return frozenset(settle(found, orderly and not cut_off(records, failed)))


def cut_off(records: Iterable[Record], failed: Collection[str]) -> bool:
    """Whether who makes the changes has died: one of those that are guarded was begun and nobody knows how it ended,
    or something failed that nobody had begun."""
    open_: set[int] = set()
    begun: set[str] = set()
    for it in records:
        if isinstance(it, Intent):
            begun.add(address_of(it.urn))
            if it.guarded:
                open_.add(it.n)
        else:
            open_.discard(it.n)
    return bool(open_) or not begun.issuperset(failed)


def _seconds(inputs: Mapping[str, Any]) -> int:
    seconds = inputs.get("confirmWithin")
    return seconds if isinstance(seconds, int) and seconds > 0 else 60
