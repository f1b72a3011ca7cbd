"""What is protected: refused before anything is changed, and shown when protection itself changes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from swarmctl.engine.outcome import Protected
from swarmctl.engine.program import Record
from swarmctl.graph.model import Address, Graph
from swarmctl.plans.model import Action, Change

_NAMED = 20


def changed(graph: Graph, recorded: Mapping[str, Record], moved: Mapping[Address, str]) -> dict[str, tuple[bool, bool]]:
    """What is recorded and whose protection is another one now: before and after, by address."""
    found: dict[str, tuple[bool, bool]] = {}
    for address, resource in graph.resources.items():
        record = recorded.get(moved.get(address) or str(address))
        if record is not None and record.protect != resource.protect:
            found[str(address)] = (record.protect, resource.protect)
    return found


def refuse_changes(changes: Iterable[Change], graph: Graph, recorded: Mapping[str, Record]) -> None:
    """Raises `Protected` when a planned change deletes or makes anew what is protected.

    What is declared goes by its declaration: whoever takes protection away may make it anew in the same run.
    """
    refused = []
    for change in changes:
        resource = graph.resources.get(Address.parse(change.address)) if change.action in _ENDING else None
        record = recorded.get(change.address)
        protected = resource.protect if resource is not None else record is not None and record.protect
        if change.action in _ENDING and protected:
            done = "would be made anew" if change.action is Action.REPLACE else "would be deleted"
            why = ", ".join(dict.fromkeys(it.path for it in change.properties if it.replaces))
            refused.append(f"{change.address} {done}{f', because of {why}' if why else ''}")
    _refuse(refused)


def refuse_leaving(graph: Graph | None, recorded: Mapping[str, Record], staying: Collection[str]) -> None:
    """Raises `Protected` when something recorded is protected and neither declared nor among the `staying`; without a
    graph everything recorded goes."""
    declared = set() if graph is None else {str(address) for address in graph.resources}
    _refuse(
        [
            f"{address} would be deleted"
            for address, record in sorted(recorded.items())
            if record.protect and address not in declared and address not in staying
        ]
    )


_ENDING = frozenset({Action.DELETE, Action.REPLACE})


def _refuse(lines: list[str]) -> None:
    if not lines:
        return
    what = f"{len(lines)} protected resources" if len(lines) > 1 else "a protected resource"
    more = [f"and {len(lines) - _NAMED} more"] if len(lines) > _NAMED else []
    raise Protected(
        f"{what} would go; nothing was changed",
        "declare what is named here, if it is gone from the files, with `metadata.protect: false` and apply that; "
        "then it may go",
        details=[*lines[:_NAMED], *more],
    )
