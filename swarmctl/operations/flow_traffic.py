"""What came in by each declared flow, and what the mesh dropped, as the nodes' firewalls have counted it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarmctl.declarations.declaration import Inventory
from swarmctl.graph.model import Machine
from swarmctl.hosts.facts import Facts
from swarmctl.mesh import nft
from swarmctl.mesh.firewall import DENIED, flow_set
from swarmctl.mesh.nft import Counter
from swarmctl.operations.flow_probes import rules


@dataclass(frozen=True, slots=True)
class FlowTraffic:
    """What one flow has let in since its counters began: whatever the senders of its connections sent."""

    policy: str
    flow: str
    until: int | None
    """When it ends, Unix time in seconds; None when it doesn't."""
    nodes: Mapping[str, Counter]
    """By the node it came to, without those that have no such counter or could not be read."""

    @property
    def total(self) -> Counter:
        """Over all nodes."""
        return total(self.nodes)


@dataclass(frozen=True, slots=True)
class Traffic:
    """What all firewalls have counted."""

    flows: tuple[FlowTraffic, ...] = ()
    denied: Mapping[str, Counter] = field(default_factory=dict)
    """What came in over the mesh and was dropped because nothing allows it, or no longer; by node."""


def count(inventory: Inventory, machines: Sequence[Machine], facts: Mapping[str, Facts]) -> Traffic:
    """Add up what the nodes in `facts` have counted."""
    tables = {name: table for name, known in facts.items() if (table := _table(known)) is not None}
    flows = tuple(
        FlowTraffic(
            rule.policy,
            rule.flow,
            rule.until,
            {
                machine.name: table.counters[flow_set(rule.flow)]
                for machine in machines
                if machine.name in rule.targets
                and (table := tables.get(machine.name)) is not None
                and table.owner == rule.policy
                and flow_set(rule.flow) in table.counters
            },
        )
        for rule in rules(inventory, machines)
    )
    denied = {
        machine.name: tables[machine.name].counters[DENIED]
        for machine in machines
        if machine.name in tables and DENIED in tables[machine.name].counters
    }
    return Traffic(flows, denied)


def total(nodes: Mapping[str, Counter]) -> Counter:
    """Over all nodes."""
    return Counter(sum(one.packets for one in nodes.values()), sum(one.bytes for one in nodes.values()))


def _table(facts: Facts) -> nft.Table | None:
    """The node's table; None when there is none, or nothing that makes sense: then the node has no firewall either."""
    try:
        return nft.parse(facts.nftables)
    except (ValueError, KeyError, TypeError, AttributeError):
        return None
