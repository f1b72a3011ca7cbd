"""The declared way through the nodes that pass traffic on. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from swarmctl.graph.model import MeshMember


def relayed(members: Mapping[str, MeshMember], sender: str, target: str) -> tuple[str, ...]:
    """The nodes between two that have no tunnel: a shortest way through nodes that pass traffic on, the first by name
    of several. Empty where there is none."""
    return ways(members, sender, to=target).get(target, ())


def ways(
    members: Mapping[str, MeshMember], sender: str, *, without: Collection[str] = (), to: str = ""
) -> dict[str, tuple[str, ...]]:
    """The nodes between `sender` and every node that it has a way to, through none of `without`; ends when `to` is
    found. Nodes that have a tunnel have none between them."""
    found: dict[str, tuple[str, ...]] = {sender: ()}
    queue = deque([sender])
    while queue:
        node = queue.popleft()
        between = (*found[node], node) if node != sender else ()
        for peer in sorted(members[node].peers):
            if peer in found or peer not in members or peer in without:
                continue
            found[peer] = between
            if peer == to:
                return found
            if members[peer].forwards:
                queue.append(peer)
    return found
