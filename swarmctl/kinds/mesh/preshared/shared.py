"""Preshared keys as one node's peers see them: which files they take, and what differs. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts, Peer
from swarmctl.kinds.base import UNKNOWN
from swarmctl.kinds.mesh.preshared import files
from swarmctl.kinds.mesh.preshared.exchange import APART, LEFT

SETTINGS = "presharedKeys"
PEER = "presharedKey"
MISSING, ANOTHER, UNDECLARED = "missing", "another", "set"
_MOST = 3


def filed(facts: Facts, inputs: Mapping[str, Json]) -> dict[str, str]:
    """Files that the node has in place, by public key of the peer; without those known to differ on the other end.

    In a preview an interface may be yet to get its key: nothing is in place for that.
    """
    settings = inputs.get(SETTINGS)
    if not settings:
        return {}
    paths = {
        str(peer["publicKey"]): files.path(settings["folder"], settings["publicKey"], peer["publicKey"])
        for peer in inputs["peers"].values()
        if PEER in peer and UNKNOWN not in (settings["publicKey"], peer["publicKey"])
    }
    apart = APART.get(settings["folder"], frozenset())
    return {key: path for key, path in paths.items() if path in facts.preshared_files and path not in apart}


def lacking(inputs: Mapping[str, Json], filed: Mapping[str, str]) -> str:
    """Names of peers without one that both ends have, each with the reason where it is known; empty when all have."""
    settings = inputs.get(SETTINGS) or {}
    own = LEFT.get((settings.get("folder", ""), inputs["node"]), "")
    names = [name for name, peer in inputs["peers"].items() if PEER in peer and peer["publicKey"] not in filed]
    told = []
    for name in names[:_MOST]:
        why = own or LEFT.get((settings["folder"], name), "")
        told.append(f"{name} ({why[:300]})" if why else name)
    return ", ".join(told) + (f" and {len(names) - _MOST} more" if len(names) > _MOST else "")


def observe(peer: Peer, seen: Mapping[str, Json]) -> dict[str, Json]:
    """What is known of a peer, and its preshared key as the node has it."""
    if PEER not in seen:
        return {**seen, PEER: UNDECLARED} if peer.preshared else {**seen}
    if peer.preshared_filed:
        return {**seen}
    return {**seen, PEER: ANOTHER if peer.preshared else MISSING}


def changed(before: Json, after: Json) -> str:
    """What happens to a peer's preshared key, for people."""
    if not after:
        return f"loses the preshared key{' that nobody declared' if before == UNDECLARED else ''}"
    if before == ANOTHER:
        return "has another preshared key than its file, and gets that"
    return "has lost its preshared key and gets it back" if before == MISSING else "gets a preshared key"


def follow(old: Mapping[str, Json], new: Mapping[str, Json]) -> bool:
    """Whether all preshared keys of a node are others, since its own key is."""
    before, after = old.get(SETTINGS), new.get(SETTINGS)
    return before is not None and after is not None and bool(before["publicKey"] != after["publicKey"])
