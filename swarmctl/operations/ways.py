"""The declared way through the nodes that pass traffic on. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping

from swarmctl.graph.model import MeshMember


def relayed(members: Mapping[str, MeshMember], sender: str, target: str) -> tuple[str, ...]:
    """The nodes between two that have no tunnel: a shortest way through nodes that pass traffic on, the first by name
    of several. Empty where there is none."""
    before: dict[str, str] = {sender: ""}
    queue = deque([sender])
    while queue:
        node = queue.popleft()
        for peer in sorted(members[node].peers):
            if peer in before or peer not in members:
                continue
            before[peer] = node
            if peer == target:
                way = []
                while (node := before[target]) != sender:
                    way.append(node)
                    target = node
                return tuple(reversed(way))
            if members[peer].forwards:
                queue.append(peer)
    return ()
