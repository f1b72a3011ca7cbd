"""`swarm:mesh:Peers`: who one interface has tunnels to. Changed by a delta: sessions that stay are not touched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from shlex import quote

from swarmctl.backends.base import HostGone
from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Peer, WireGuard
from swarmctl.kinds.base import (
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
)
from swarmctl.kinds.mesh.interface import same_order

REPLACE = {"machine": "they go away with their machine", "interface": "peers belong to one interface"}
BATCH = 200
"""Peers per call of `wg`: 200 take about 40 KiB of arguments; Linux allows 128 KiB at the least."""


class PeersType:
    """How they are set, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Peer by peer and property by property."""
        return differences(old, new, replace=REPLACE)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Set those that are missing or different, remove those that nobody declared."""
        facts = hosts.facts(inputs["host"])
        interface = inputs["interface"]
        commands = delta(interface, facts.wireguard.get(interface), inputs["peers"].values())
        if commands:
            self._run(hosts, inputs, commands)
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: the difference is taken from what the node has."""
        return self.create(hosts, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the node has them. An interface that is gone has no peers; a peer that nobody declared is `unknown-…`."""
        try:
            facts = hosts.facts(inputs["host"])
        except HostGone:
            return None
        wireguard = facts.wireguard.get(inputs["interface"])
        found = wireguard.peers.values() if wireguard is not None else ()
        names = {peer["publicKey"]: name for name, peer in inputs["peers"].items()}
        peers = {}
        for peer in found:
            name = names.get(peer.public_key) or f"unknown-{peer.public_key[:8]}"
            peers[name] = _observe(peer, inputs["peers"].get(name))
        return Observed({**inputs, "peers": peers}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Remove them from the interface, as far as both are still there."""
        try:
            wireguard = hosts.facts(inputs["host"]).wireguard.get(inputs["interface"])
            keys = [peer["publicKey"] for peer in inputs["peers"].values()]
            present = [key for key in keys if wireguard is not None and key in wireguard.peers]
            if present:
                self._run(hosts, inputs, _commands(inputs["interface"], map(_removal, present)))
        except HostGone:
            return

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line per peer."""
        if old is not None and new is not None and any(change.replace for change in self.diff(old, new)):
            old = None  # the old ones are gone with their interface
        before, after = _peers(old), _peers(new)
        effects = []
        for name in sorted({*before, *after}):
            if name not in after:
                effects.append(Effect(ChangeKind.DELETE, _describe(name, before[name])))
            elif name not in before:
                effects.append(Effect(ChangeKind.ADD, _describe(name, after[name])))
            elif changes := differences(before[name], after[name]):
                words = ", ".join(_changed(change.path[0], before[name], after[name]) for change in changes)
                effects.append(Effect(ChangeKind.UPDATE, f"peer {name} {words}"))
        return effects

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Tunnels that close or start over; a new peer disturbs nobody."""
        if old is not None and new is not None and any(change.replace for change in self.diff(old, new)):
            return Impact()  # the interface says so
        before, after = _peers(old), _peers(new)
        closed = sorted(name for name in before if name not in after and not name.startswith("unknown-"))
        anew = sorted(
            name
            for name, peer in after.items()
            if name in before and (peer["publicKey"] is UNKNOWN or peer["publicKey"] != before[name]["publicKey"])
        )
        parts = []
        if closed:
            parts.append(f"closes the tunnel to {_names(closed)}")
        if anew:
            parts.append(f"the tunnel to {_names(anew)} re-handshakes")
        return Impact("; ".join(parts))

    def _run(self, hosts: Hosts, inputs: Mapping[str, Json], commands: Iterable[str]) -> None:
        host = hosts.open(inputs["host"])
        try:
            host.run(["sh", "-eu", "-s"], stdin="".join(commands).encode(), timeout=60.0)
        finally:
            hosts.changed(inputs["host"])


def delta(interface: str, now: WireGuard | None, wanted: Iterable[Mapping[str, Json]]) -> list[str]:
    """The commands that bring the interface's peers to what is wanted; none when they are so already."""
    present = dict(now.peers) if now is not None else {}
    settings: list[str] = []
    keys = set()
    for peer in wanted:
        keys.add(peer["publicKey"])
        words = _setting(present.get(peer["publicKey"]), peer)
        if words:
            settings.append(words)
    removals = [_removal(key) for key in present if key not in keys]
    # Removed first, so that an address can move from one peer to another.
    return [*_commands(interface, removals), *_commands(interface, settings)]


def _setting(now: Peer | None, peer: Mapping[str, Json]) -> str:
    """The words after `wg set INTERFACE` that change what differs."""
    words: list[str] = []
    if now is None or now.endpoint != peer["endpoint"]:
        words.append(f"endpoint {quote(peer['endpoint'])}")
    if now is None or set(now.allowed_ips) != set(peer["allowedIps"]):
        words.append(f"allowed-ips {quote(','.join(peer['allowedIps']))}")
    if (0 if now is None else now.keepalive) != peer["persistentKeepalive"]:
        words.append(f"persistent-keepalive {int(peer['persistentKeepalive'])}")
    if now is not None and now.preshared:
        words.append("preshared-key /dev/null")  # wg(8): an empty file takes it away
    return " ".join([f"peer {quote(peer['publicKey'])}", *words]) if words else ""


def _removal(key: str) -> str:
    return f"peer {quote(key)} remove"


def _commands(interface: str, settings: Iterable[str]) -> Iterable[str]:
    rest = iter(settings)
    while batch := list(islice(rest, BATCH)):
        yield f"wg set {quote(interface)} {' '.join(batch)}\n"


def _observe(peer: Peer, wanted: Mapping[str, Json] | None) -> dict[str, Json]:
    allowed = same_order(peer.allowed_ips, wanted["allowedIps"]) if wanted else sorted(peer.allowed_ips)
    seen: dict[str, Json] = {
        "publicKey": peer.public_key,
        "endpoint": peer.endpoint,
        "allowedIps": allowed,
        "persistentKeepalive": peer.keepalive,
    }
    return {**seen, "presharedKey": "set"} if peer.preshared else seen


def _peers(inputs: Mapping[str, Json] | None) -> Mapping[str, Mapping[str, Json]]:
    peers = inputs.get("peers") if inputs is not None else None
    return peers if isinstance(peers, Mapping) else {}


def _describe(name: str, peer: Mapping[str, Json]) -> str:
    keepalive = peer["persistentKeepalive"]
    every = f" (every {keepalive}s)" if keepalive else ""
    return f"peer {name} {_list(peer['allowedIps'])} via {peer['endpoint'] or 'no endpoint'}{every}"


def _changed(name: str, before: Mapping[str, Json], after: Mapping[str, Json]) -> str:
    if name == "publicKey":
        return "has a new key"
    if name == "presharedKey":
        return "loses the preshared key that nobody declared"
    if name == "allowedIps":
        return f"allowed {_list(before[name])} → {_list(after[name])}"
    if name == "persistentKeepalive":
        return f"keepalive {before[name]}s → {after[name]}s"
    return f"via {before[name] or 'no endpoint'} → {after[name]}"


def _list(value: Json) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) and value else "nothing"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} nodes"
