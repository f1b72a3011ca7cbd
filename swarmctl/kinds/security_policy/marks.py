"""What a policy leaves on nodes: the one table of swarmctl's name."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.graph.model import Json
from swarmctl.kinds.base import Hosts, Marked
from swarmctl.kinds.security_policy.resources import table_of

TYPE = "swarm:securitypolicy:Firewall"


def marked(stack: str, machines: Mapping[str, Mapping[str, Json]], hosts: Hosts) -> Iterator[Marked]:
    """Tables. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    for node, host in machines.items():
        table = table_of(hosts.facts(host), node)
        if table is None:
            continue
        inputs = {"node": node, "host": dict(host), "policy": table.owner, "chains": {}, "rules": {}}
        whose = f"of the policy {table.owner}" if table.owner else "that does not say of which policy it is"
        yield Marked(TYPE, inputs, ("node", "policy") if table.owner else ("node",), f"firewall {whose}")
