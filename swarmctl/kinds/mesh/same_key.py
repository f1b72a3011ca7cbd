"""Two nodes of a mesh that tell the same public key: one is a copy of the other, or lies. Pure.

WireGuard knows a peer by its key, so a node takes the two for one, and what is meant for one goes to the other.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json


class SameKey(SwarmError):
    """Nothing can be right while two nodes have one key, so nothing is changed."""


def require(inputs: Mapping[str, Json]) -> None:
    """Raises `SameKey` when two peers have one key; those that are not known yet are not compared."""
    owner: dict[str, str] = {}
    peers = inputs.get("peers")
    for name, peer in sorted(peers.items()) if isinstance(peers, Mapping) else ():
        key = peer.get("publicKey")
        if isinstance(key, str) and key and owner.setdefault(key, name) != name:
            raise _same(owner[key], name, key)


def require_others(inputs: Mapping[str, Json], own: str) -> None:
    """Raises `SameKey` when a peer has the node's own key."""
    for name, peer in sorted(inputs["peers"].items()):
        if own and peer["publicKey"] == own:
            raise _same(str(inputs["node"]), name, own)


def _same(one: str, other: str, key: str) -> SameKey:
    one, other = sorted((one, other))
    return SameKey(
        f"{one} and {other} have the same WireGuard key ({key[:8]}…), so one is a copy of the other, or lies; their "
        "peers are left as they are",
        f"remove the key file of the one that is the copy, or keep it out of the mesh: `swarmctl exec {other} -- ls "
        "/etc/swarmctl/mesh/*`; apply makes it a key of its own",
    )
