"""What baselines have left on machines, found by their records alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.graph.model import Json
from swarmctl.kinds.base import Hosts, Marked
from swarmctl.kinds.host_baseline.reading import READING


def marked(stack: str, machines: Mapping[str, Mapping[str, Json]], hosts: Hosts) -> Iterator[Marked]:
    """Aspects. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    for node, host in machines.items():
        for baseline, aspect in sorted(hosts.look(host, READING).records):
            inputs = {"node": node, "host": dict(host), "baseline": baseline}
            text = f"{aspect} of the HostBaseline {baseline}"
            yield Marked(f"swarm:hostbaseline:{aspect.capitalize()}", inputs, ("node", "baseline"), text)
