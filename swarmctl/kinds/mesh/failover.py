"""`swarm:mesh:Failover`: an agent on a node that moves networks to the next peer when the one that has them dies.

Inputs: `machine` (identity of the machine), `host`, `node`, `interface`, `mesh`, and `groups`: a list of `networks`,
which stand in the allowed IPs of the first peer, and of the peers that they may be with as `via`, the first one first,
each with `name`, `publicKey`, `address` (of the mesh, to ping), `allowedIps` and `persistentKeepalive`, both as
`swarm:mesh:Peers` has them. That one, on which this depends, gets the same groups with names only, as `failover`.

Once a second the agent pings every such peer through its tunnel. Three misses in a row, at most four seconds, make one
dead, or eight where it has not answered yet: ends that begin at once may need a second handshake, 5 s later
(Rekey-Timeout, WireGuard whitepaper 6.1). Its networks go to the next one in order that answers at that moment. One
that has answered for ten seconds is alive again and gets back what is declared for it. While nobody of a group answers
nothing moves: then it is this node that is cut off. A run of swarmctl needs not be alive for any of this, and the agent
goes on after one that was.

Every node judges for itself. When a hub dies, all of them see it within a second or so of each other, and move alike;
traffic between two of them is lost until both have. When a hub is lost to some nodes only, these go through the next
one, and the others, which still expect them behind the first, drop what comes from there: nodes on different sides of
such a partition do not reach each other until it ends. Nor can a ping tell a hub that answers and forwards nothing.

Inputs that are there only when something is wrong, measured and not chosen: `agent` (gone, another version), `table`
(gone, another).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from pathlib import Path
from shlex import quote
from typing import Any

from swarmctl.backends.base import CommandFailed, Host, HostGone
from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import (
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
    unknown_within,
)
from swarmctl.kinds.mesh import failover_table as tables
from swarmctl.mesh.failover import away

REPLACE = {"machine": "it goes away with its machine", "interface": "it watches one interface"}

INSTALL = """
for program in ping wg; do
  command -v "$program" >/dev/null || { echo "$program is not installed" >&2; exit 1; }
done
umask 077
mkdir -p "$folder"
cat >"$folder/agent.new" <<'END OF AGENT'
"""
INSTALLED = """END OF AGENT
mv "$folder/agent.new" "$folder/agent.sh"
"""
WAIT = """
tries=0
until head -n 1 "$state" 2>/dev/null | grep -q "^agent $digest "; do
  tries=$((tries + 1))
  if [ "$tries" -ge 100 ]; then echo "the failover agent did not start within 5 s" >&2; exit 1; fi
  sleep 0.05
done
"""


class FailoverType:
    """How it is set up, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property; the groups are one."""
        return differences(old, new, replace=REPLACE)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Put the table there and keep the agent running, or find both so."""
        facts = hosts.facts(inputs["host"])
        host = hosts.open(inputs["host"])
        interface, table = inputs["interface"], tables.render(inputs["interface"], inputs["groups"])
        found = facts.failover.get(interface)
        put = found is None or found.table != tables.digest(table)
        start = found is None or found.agent != version()
        try:
            if start:
                script = f"folder={quote(f'{tables.FOLDER}/{interface}')}\n{INSTALL}{program()}{INSTALLED}"
                host.run(["sh", "-eu", "-s"], stdin=script.encode())
            if put:
                host.put(tables.path(interface), table.encode(), mode=0o600)
            if start:
                _start(host, interface)
        finally:
            if put or start:
                hosts.changed(inputs["host"])
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: an agent that runs takes a new table in by itself."""
        return self.create(hosts, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the node has it. None when nothing is left of it, or the node is gone."""
        try:
            facts = hosts.facts(inputs["host"])
        except HostGone:
            return None
        found = facts.failover.get(inputs["interface"])
        if found is None or not (found.table or found.agent):
            return None
        seen = dict(inputs)
        if found.agent != version():
            seen["agent"] = "another version" if found.agent else "gone"
        # Nobody has the table yet in which a key stands that is yet to be made.
        to_come = unknown_within(inputs["groups"])
        if to_come or found.table != tables.digest(tables.render(inputs["interface"], inputs["groups"])):
            seen["table"] = "another" if found.table else "gone"
        return Observed(seen, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """End the agent, put what it moved back, and remove its files."""
        try:
            host = hosts.open(inputs["host"])
            interface = inputs["interface"]
            host.stop_service(service(interface))
            hosts.changed(inputs["host"])
            facts = hosts.facts(inputs["host"])
            files = f"{quote(f'{tables.FOLDER}/{interface}')} {quote(f'{tables.STATE}/{interface}')}"
            script = f"{_back(facts, inputs)}rm -rf {files}\nrmdir {tables.FOLDER} {tables.STATE} 2>/dev/null || :\n"
            host.run(["sh", "-eu", "-s"], stdin=script.encode())
        except HostGone:
            return
        hosts.changed(inputs["host"])

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line for the agent when it comes or goes, and one per group that comes, goes or changes."""
        replaced = old is not None and new is not None and any(change.replace for change in self.diff(old, new))
        before = [] if old is None or replaced else _words(old)
        after = [] if new is None else _words(new)
        effects = []
        if old is None or new is None or replaced:
            kind = ChangeKind.DELETE if new is None else ChangeKind.ADD
            effects.append(Effect(kind, f"failover agent on {(new or old or {})['interface']}"))
        else:
            effects += [Effect(ChangeKind.UPDATE, text) for text in _mended(old)]
        effects += [Effect(ChangeKind.DELETE, text) for text in before if text not in after]
        return effects + [Effect(ChangeKind.ADD, text) for text in after if text not in before]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Nothing but, when it goes, what it would have done."""
        if new is None and old is not None:
            return Impact(f"nothing takes over on {old['node']} when a peer dies")
        return Impact()


@cache
def program() -> str:
    """The agent, as it is shipped."""
    return Path(__file__).with_name("failover.sh").read_text("utf-8")


@cache
def version() -> str:
    """Which agent it is, by its text."""
    return sha256(program().encode()).hexdigest()[:16]


def service(interface: str) -> str:
    """Name of the service that keeps the agent running."""
    return f"failover-{interface}"


def _start(host: Host, interface: str) -> None:
    """Start it and see that it runs. Raises `CommandFailed` with its last words."""
    state = f"{tables.STATE}/{interface}"
    path = f"{tables.FOLDER}/{interface}/agent.sh"
    host.start_service(service(interface), ["sh", path, tables.path(interface), state, version()])
    try:
        host.run(["sh", "-eu", "-s"], stdin=f"state={quote(state)}\ndigest={version()}\n{WAIT}".encode())
    except CommandFailed as error:
        said = [line.strip() for name, line in host.logs(tail=5) if name == service(interface) and line.strip()]
        raise CommandFailed(f"{error.message}; its last words: {said[-1][:500]}") from None if said else error


def _back(facts: Facts, inputs: Mapping[str, Json]) -> str:
    """Commands that give networks which were moved back to the first of their group.

    None where the table is gone: then its groups were taken from the agent, and what is on the node is declared so.
    """
    interface = inputs["interface"]
    wireguard, found = facts.wireguard.get(interface), facts.failover.get(interface)
    if wireguard is None or found is None or not found.table:
        return ""
    via = {one["name"]: one for group in inputs["groups"] for one in group["via"]}
    have = {
        name: wireguard.peers[one["publicKey"]].allowed_ips
        for name, one in via.items()
        if one["publicKey"] in wireguard.peers
    }
    groups = [{**group, "via": [one["name"] for one in group["via"]]} for group in inputs["groups"]]
    commands = []
    for name in away(have, groups):
        allowed = ",".join(via[name]["allowedIps"])
        commands.append(
            f"wg set {quote(interface)} peer {quote(via[name]['publicKey'])} allowed-ips {quote(allowed)}\n"
        )
    return "".join(commands)


def _words(inputs: Mapping[str, Any]) -> list[str]:
    """One line per group."""
    groups = inputs["groups"]
    if groups is UNKNOWN:
        return []
    return [f"{_some(group['networks'])} via {', else '.join(one['name'] for one in group['via'])}" for group in groups]


def _some(networks: Sequence[str]) -> str:
    return ", ".join(networks) if len(networks) <= 4 else f"{', '.join(networks[:3])} and {len(networks) - 3} more"


def _mended(old: Mapping[str, Json]) -> list[str]:
    """What a reading found wrong."""
    said = {
        ("agent", "gone"): "the failover agent does not run and is started again",
        ("agent", "another version"): "the failover agent is another version and is replaced",
        ("table", "gone"): "the failover agent's table is gone and is written again",
        ("table", "another"): "the failover agent's table is put right",
    }
    return [text for (name, value), text in said.items() if old.get(name) == value]
