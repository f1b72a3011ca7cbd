"""What is said where a machine's own facts contradict what its pool declares: of all of them, or of that one alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from swarmctl.declarations.declaration import Declaration
from swarmctl.diagnostics import Diagnostic
from swarmctl.gpu.model import Refusal
from swarmctl.kinds.node_pool.accelerators.codes import CARDS, PLACES
from swarmctl.kinds.node_pool.accelerators.rules import diagnostic


def of_all(pool: Declaration, indices: Sequence[int], refusal: Refusal, nodes: tuple[str, ...]) -> Diagnostic:
    """What is declared fits no machine of the pool: it is refused, and nothing is done anywhere."""
    found = diagnostic(pool, indices, refusal, nodes)
    if PLACES[refusal.code][0] is not CARDS:
        return found
    return replace(found, help=f"{found.help}; a machine that is at fault is left out by `state: isolated`")


def of_one(
    pool: Declaration, indices: Sequence[int], refusal: Refusal, node: str, lost: Sequence[str], stays: str
) -> Diagnostic:
    """What is declared does not fit this machine; `lost` are cards that it had once, `stays` says what comes of it."""
    found = diagnostic(pool, indices, refusal, (node,))
    gone = f" (gone from the bus: {', '.join(lost)})" if lost else ""
    return replace(found, message=f"{found.message}{gone}; {stays}", help=mend(node, refusal))


def code(refusal: Refusal) -> str:
    """By which `swarmctl explain` knows it."""
    return PLACES[refusal.code][0].id


def mend(node: str, refusal: Refusal, *, told: bool = False) -> str:
    """How the machine is mended without touching those of its pool that fit; `told`: what it has stands beside it."""
    first = f"{refusal.there}; " if refusal.there else ""
    doctor = "" if told else f" (`swarmctl gpu doctor {node}`)"
    return (
        f"{first}declare {node} `state: isolated` until it is mended, `lost` if it is gone for good, or put it into a "
        f"pool that declares what it has{doctor}"
    )
