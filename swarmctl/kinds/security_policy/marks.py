"""What a policy leaves on nodes: the one table of swarmctl's name, and the file that brings it back after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.graph.model import Json
from swarmctl.hosts import startup
from swarmctl.kinds.base import Hosts, Marked
from swarmctl.kinds.security_policy.resources import table_of

TYPE = "swarm:securitypolicy:Firewall"


def marked(stack: str, machines: Mapping[str, Mapping[str, Json]], hosts: Hosts) -> Iterator[Marked]:
    """Tables. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    for node, host in machines.items():
        facts = hosts.facts(host)
        table = table_of(facts, node)
        if table is None and startup.FIREWALL not in (facts.startup or ()):
            continue
        owner = table.owner if table is not None else ""
        inputs = {"node": node, "host": dict(host), "policy": owner, "chains": {}, "rules": {}}
        whose = f"of the policy {owner}" if owner else "that does not say of which policy it is"
        yield Marked(TYPE, inputs, ("node", "policy") if owner else ("node",), f"firewall {whose}")
