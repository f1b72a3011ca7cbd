"""What a change of an interface or of its peers may take away: then it is guarded, see `hosts.guard`. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from swarmctl.graph.model import Json
from swarmctl.kinds.base import UNKNOWN
from swarmctl.kinds.mesh.preshared import shared

_MOST = 3
_HARMLESS = {"persistentKeepalive", "publicKey", "why"}
"""Of a peer: what may change without anybody being cut off. The key follows the other end's, which has it already: a
rotation has told both ends, or there is no tunnel that could be lost."""


def by_interface(old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    """A clause such as "changes the MTU of wg0"; empty when nothing is taken away.

    What is down, gone or without its key has nothing that could be taken away.
    """
    if old.get("state") != "up" or old.get("key", "installed") != "installed":
        return ""
    what = [words for name, words in _INTERFACE.items() if old.get(name) != new.get(name)]
    if any(address not in (new.get("addresses") or ()) for address in old.get("addresses") or ()):
        what.append("addresses")
    if old.get("forwarding") is True and not new.get("forwarding"):
        what.append("forwarding")
    return f"changes the {' and the '.join(what)} of {new['interface']}" if what else ""


_INTERFACE = {"listenPort": "port", "mtu": "MTU"}


def by_peers(old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    """A clause such as "removes the peer a-1"; empty when peers only come."""
    before, after = _peers(old), _peers(new)
    removed = [name for name in before if name not in after]
    changed = [
        name
        for name, peer in before.items()
        if name in after and (_loses(peer, after[name]) or _shares(peer, after[name]))
    ]
    found = [f"{verb} {_named(names)}" for verb, names in (("removes", removed), ("changes", changed)) if names]
    if old.get("failover", ()) != new.get("failover", ()):
        found.append("changes which peers stand in for others")
    if shared.follow(old, new):
        found.append("changes its preshared keys")
    return " and ".join(found)


def _loses(before: Mapping[str, Json], after: Mapping[str, Json]) -> bool:
    return any(_part_loses(name, value, after.get(name)) for name, value in before.items() if name not in _HARMLESS)


def _shares(before: Mapping[str, Json], after: Mapping[str, Json]) -> bool:
    """Whether it gets another preshared key: one that the other end has not would end the tunnel in minutes."""
    if "presharedKey" not in after:
        return False
    return any(before.get(name) != after.get(name) for name in ("presharedKey", "publicKey"))


def _part_loses(name: str, before: Json, after: Json) -> bool:
    if after is UNKNOWN:
        return True
    if name == "allowedIps":
        return any(network not in (after or ()) for network in before or ())
    return bool(before) and bool(before != after)


def _peers(inputs: Mapping[str, Json]) -> Mapping[str, Mapping[str, Json]]:
    peers = inputs.get("peers")
    return peers if isinstance(peers, Mapping) else {}


def _named(names: Sequence[str]) -> str:
    listed = list(_first(sorted(names)))
    return f"the {'peer' if len(names) == 1 else 'peers'} {', '.join(listed)}"


def _first(names: Sequence[str]) -> Iterator[str]:
    yield from names[:_MOST]
    if len(names) > _MOST:
        yield f"and {len(names) - _MOST} more"
