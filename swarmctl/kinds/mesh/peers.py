"""`swarm:mesh:Peers`: who one interface has tunnels to. Changed by a delta: sessions that stay are not touched.

Inputs: `machine`, `host`, `node`, `interface`; `peers`, by node name: `publicKey`, `endpoint` (`HOST:PORT`; a DNS name
is looked up by the node when it is set; empty: the peer contacts this node, whose WireGuard learns from where),
`allowedIps`, `persistentKeepalive` (seconds) and, for people only and never compared, `why`. On a node with a failover
agent also `failover`: a list of `networks` and, as `via`, the names of the peers that they may be with, as in the
groups of `swarm:mesh:Failover`. What the agent has moved counts as where it is declared, and stays where it is.

Where preshared keys are declared, each peer has `presharedKey: generated`, and beside `peers` there is `presharedKeys`:
the `folder` of `swarm:mesh:PresharedKeys`, on which this depends, and the node's own `publicKey`; both name the files.
A peer whose key is not there on both ends is not added, and one that is there already stays as it is. Measured, and
never declared, are `missing` and `another` key, and `set` where none is declared.

Who answers a DNS name, and from where a peer contacted this node last, is not compared: of a name, the port must be
right.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from swarmctl.backends.base import HostGone
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.hosts import startup
from swarmctl.hosts.facts import Peer, WireGuard
from swarmctl.hosts.guard import Change
from swarmctl.kinds.base import (
    CONFIRM_WITHIN,
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
)
from swarmctl.kinds.mesh import failover_table, peer_commands, same_key, startup_files, taken
from swarmctl.kinds.mesh.interface import same_order
from swarmctl.kinds.mesh.preshared import shared
from swarmctl.mesh.failover import as_declared, in_place

TIMEOUT = 120.0
"""Seconds for one script: a thousand peers take less than one, names `peer_commands.LOOKUP` each, many at once."""
REPLACE = {"machine": "they go away with their machine", "interface": "peers belong to one interface"}


class EndpointUnresolved(SwarmError):
    """A DNS name of an endpoint leads nowhere, as the node sees it; everything else has been set."""


class PresharedKeyMissing(SwarmError):
    """A tunnel has no preshared key that both ends have; everything else has been set."""


class PeersType:
    """How they are set, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Peer by peer and property by property; reasons are not compared."""
        return [change for change in differences(old, new, replace=REPLACE) if change.path[2:] != ("why",)]

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Set those that are missing or different, remove those that nobody declared.

        Raises `EndpointUnresolved`, `SameKey`. A new interface has none, so the host is not read first: only what is
        found to have peers is compared.
        """
        self.require(inputs)
        script = peer_commands.script(inputs["interface"], None, inputs["peers"].values(), second=_second(inputs))
        if not script or "presharedKeys" in inputs:
            return self._converge(hosts, inputs)
        keys = [peer["publicKey"] for peer in inputs["peers"].values()]
        first = peer_commands.unless_peers(inputs["interface"]) + peer_commands.unless_own(inputs["interface"], keys)
        said = self._run(hosts, inputs, startup.TELL + first + script)
        if peer_commands.HAS_PEERS in said.splitlines():
            return self._converge(hosts, inputs)
        same_key.require_others(inputs, peer_commands.own_key(said))
        if startup.ON_SYSTEMD in said.splitlines():
            self._run(hosts, inputs, startup_files.put_peers(hosts.facts(inputs["host"]), inputs))
        if failed := peer_commands.unresolved(said):
            raise _unresolved(inputs, failed)
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: the difference is taken from what the node has.

        Where the groups of the failover agent change, it pauses until it has the new ones: it would go on moving
        networks to peers that they are no longer declared for.
        """
        before = _peers(old)
        renamed = {
            peer["publicKey"]
            for name, peer in new["peers"].items()
            if name in before and before[name]["endpoint"] != peer["endpoint"]
        }
        hold = ""
        if old.get("failover") and old.get("failover") != new.get("failover"):
            hold = f"rm -f {failover_table.path(old['interface'])}\n"
        return self._converge(hosts, new, renamed, hold, guard=bool(self.guarded(old, new)))

    def require(self, inputs: Mapping[str, Json]) -> None:
        """Raises `SameKey`."""
        same_key.require(inputs)

    def guarded(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
        """Whom it may cut off."""
        return taken.by_peers(old, new)

    def _converge(
        self,
        hosts: Hosts,
        inputs: Mapping[str, Json],
        renamed: Collection[str] = (),
        hold: str = "",
        *,
        guard: bool = False,
    ) -> Mapping[str, Json]:
        self.require(inputs)
        facts = hosts.facts(inputs["host"])
        now = facts.wireguard.get(inputs["interface"])
        same_key.require_others(inputs, now.public_key if now is not None else "")
        peers = inputs["peers"]
        filed = shared.filed(facts, inputs)
        placed = in_place(_allowed(now, peers), _declared(peers), inputs.get("failover", ()))
        wanted = ({**peer, "allowedIps": placed[name]} if name in placed else peer for name, peer in peers.items())
        script = hold + peer_commands.script(inputs["interface"], now, wanted, renamed, filed, _second(inputs))
        script += startup_files.put_peers(facts, inputs)
        if script:
            run = self._guarded if guard else self._run
            failed = peer_commands.unresolved(run(hosts, inputs, script))
            if failed:
                raise _unresolved(inputs, failed)
        if lacking := shared.lacking(inputs, filed):
            raise PresharedKeyMissing(
                f"{inputs['node']} has no preshared key with {lacking}; its other tunnels are set",
                "mend that, then run `swarmctl apply` again; `swarmctl doctor` tells whether age is installed",
            )
        return {}

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the node has them. An interface that is gone has no peers; a peer that nobody declared is `unknown-…`."""
        try:
            facts = hosts.facts(inputs["host"])
        except HostGone:
            return None
        wireguard = facts.wireguard.get(inputs["interface"])
        found = wireguard.peers.values() if wireguard is not None else ()
        wanted = inputs["peers"]
        names = {peer["publicKey"]: name for name, peer in wanted.items()}
        seen = as_declared(_allowed(wireguard, wanted), _declared(wanted), inputs.get("failover", ()))
        peers = {}
        for peer in found:
            name = names.get(peer.public_key) or f"unknown-{peer.public_key[:8]}"
            peers[name] = _observe(peer, seen.get(name, peer.allowed_ips), wanted.get(name))
        wrong = startup.wrong(facts.startup, startup.peers(inputs["interface"]), startup_files.peers(inputs))
        return Observed({**inputs, "peers": peers, **({startup.PROPERTY: wrong} if wrong else {})}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Remove them from the interface, as far as both are still there."""
        try:
            facts = hosts.facts(inputs["host"])
            wireguard = facts.wireguard.get(inputs["interface"])
            keys = [peer["publicKey"] for peer in inputs["peers"].values()]
            present = [key for key in keys if wireguard is not None and key in wireguard.peers]
            script = peer_commands.removal(inputs["interface"], present)
            script += startup.remove(facts.startup, [startup.peers(inputs["interface"])])
            if script:
                self._run(hosts, inputs, script)
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
            elif changes := [it for it in differences(before[name], after[name]) if it.path != ("why",)]:
                words = ", ".join(_changed(change.path[0], before[name], after[name]) for change in changes)
                effects.append(Effect(ChangeKind.UPDATE, f"peer {name} {words}"))
        if old is not None and new is not None and old.get("failover") and old["failover"] != new.get("failover"):
            effects.append(Effect(ChangeKind.UPDATE, "the failover agent pauses until it has its new groups"))
        if old is not None and new is not None and shared.follow(old, new):
            effects.append(Effect(ChangeKind.UPDATE, "preshared keys follow the node's new key"))
        return effects + startup_files.effects("the peers", old, new)

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Tunnels that close or start over; a new peer disturbs nobody."""
        if old is not None and new is not None and any(change.replace for change in self.diff(old, new)):
            return Impact()  # the interface says so
        before, after = _peers(old), _peers(new)
        closed = sorted(name for name in before if name not in after and not name.startswith("unknown-"))
        anew = sorted(
            name
            for name, peer in after.items()
            # A key that is not known yet is made anew with its interface, which says what that disrupts, or rotated.
            if name in before and peer["publicKey"] not in (UNKNOWN, before[name]["publicKey"])
        )
        parts = []
        if closed:
            parts.append(f"closes the tunnel to {_names(closed)}")
        if anew:
            parts.append(f"the tunnel to {_names(anew)} re-handshakes")
        return Impact("; ".join(parts))

    def _guarded(self, hosts: Hosts, inputs: Mapping[str, Json], script: str) -> str:
        interface = inputs["interface"]
        # The agent's table belongs to the peers that it moves networks between.
        files = {f"file.failover-{interface}": failover_table.path(interface)}
        if hosts.facts(inputs["host"]).startup is not None:
            kept = startup.peers(interface)
            files[startup_files.part(kept)] = kept
        change = Change(f"peers.{interface}", inputs.get(CONFIRM_WITHIN, 60), script, files)
        return hosts.guarded(inputs["host"], change)

    def _run(self, hosts: Hosts, inputs: Mapping[str, Json], script: str) -> str:
        host = hosts.open(inputs["host"])
        try:
            return host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=TIMEOUT).text
        finally:
            hosts.changed(inputs["host"])


def _second(inputs: Mapping[str, Json]) -> frozenset[str]:
    """Public keys of the peers that begin: of the two ends of a tunnel, the one whose node's name comes first."""
    return frozenset(peer["publicKey"] for name, peer in inputs["peers"].items() if name < inputs["node"])


def _unresolved(inputs: Mapping[str, Json], failed: Sequence[tuple[str, str]]) -> EndpointUnresolved:
    """Names the node and, of at most three peers, what they are called and why it did not go."""
    names = {peer["publicKey"]: (name, peer["endpoint"]) for name, peer in inputs["peers"].items()}
    told = []
    for key, said in failed[:3]:
        name, endpoint = names.get(key, ("unknown", ""))
        told.append(f"{name} at {endpoint} ({said[:200]})")
    more = f" and {len(failed) - 3} more" if len(failed) > 3 else ""
    return EndpointUnresolved(
        f"{inputs['node']} cannot look up the endpoint of {', '.join(told)}{more}",
        f"see what `swarmctl exec {inputs['node']} -- getent ahosts NAME` prints; all other peers are set",
    )


def _allowed(now: WireGuard | None, peers: Mapping[str, Mapping[str, Json]]) -> dict[str, tuple[str, ...]]:
    """What the interface allows each of the peers that it has."""
    have = now.peers if now is not None else {}
    return {name: have[p["publicKey"]].allowed_ips for name, p in peers.items() if p["publicKey"] in have}


def _declared(peers: Mapping[str, Mapping[str, Json]]) -> dict[str, Sequence[str]]:
    return {name: peer["allowedIps"] for name, peer in peers.items()}


def _observe(peer: Peer, allowed: Sequence[str], wanted: Mapping[str, Json] | None) -> dict[str, Json]:
    """A peer in the shape of a declared one; what is only said and not set is as declared."""
    seen: dict[str, Json] = {**wanted} if wanted else {}
    seen |= {
        "publicKey": peer.public_key,
        "endpoint": peer.endpoint,
        "allowedIps": same_order(allowed, wanted["allowedIps"]) if wanted else sorted(allowed),
        "persistentKeepalive": peer.keepalive,
    }
    if wanted and peer_commands.same_endpoint(peer, wanted["endpoint"]):
        seen["endpoint"] = wanted["endpoint"]
    return shared.observe(peer, seen)


def _peers(inputs: Mapping[str, Json] | None) -> Mapping[str, Mapping[str, Json]]:
    peers = inputs.get("peers") if inputs is not None else None
    return peers if isinstance(peers, Mapping) else {}


def _describe(name: str, peer: Mapping[str, Json]) -> str:
    keepalive = peer["persistentKeepalive"]
    every = f" (every {keepalive}s)" if keepalive else ""
    why = f": {peer['why']}" if peer.get("why") else ""
    return f"peer {name} {_list(peer['allowedIps'])} via {peer['endpoint'] or 'no endpoint'}{every}{why}"


def _changed(name: str, before: Mapping[str, Json], after: Mapping[str, Json]) -> str:
    if name == "publicKey":
        return "has a new key"
    if name == "presharedKey":
        return shared.changed(before.get(name), after.get(name))
    if name == "allowedIps":
        return f"allowed {_list(before[name])} → {_list(after[name])}"
    if name == "persistentKeepalive":
        return f"keepalive {before[name]}s → {after[name]}s"
    return f"via {before[name] or 'no endpoint'} → {after[name]}"


def _list(value: Json) -> str:
    return ", ".join(value) if isinstance(value, (list, tuple)) and value else "nothing"


def _names(names: Sequence[str]) -> str:
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} nodes"
