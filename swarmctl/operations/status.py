"""Measure the nodes of a stack and the mesh between them, by real traffic. Changes nothing, needs no engine."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from swarmctl.backends.base import Host, HostGone
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Machine, MeshMember
from swarmctl.hosts import probes, reading
from swarmctl.operations.exec import Open, open_machine
from swarmctl.operations.flow_probes import FlowProbe, choose
from swarmctl.operations.nodes import Declared, declared
from swarmctl.operations.status_model import Link, Reading, Status, judge_flows, judge_links, judge_node

MAX_THREADS = 32
"""Machines that are asked at the same time."""
MAX_PINGED = 64
"""Other nodes that each node pings; in a larger mesh every node pings the ones after it, round the end."""


def status(folder: Path, *, probe: bool = True, open_: Open = open_machine) -> Status:
    """Measure the stack in `folder`; without `probe` only what the machines say about themselves is read.

    Raises NoDocuments and InvalidDeclaration. Machines that are gone or don't answer are part of the result.
    """
    return measure(declared(folder), probe=probe, open_=open_)


def measure(stack: Declared, *, probe: bool, open_: Open) -> Status:
    """Read every machine once, in parallel: first probes, so that an idle tunnel has had its handshake, then facts."""
    started = time.monotonic()
    pings = ping_targets(stack.members) if probe else {}
    flows = choose(stack.inventory, stack.machines, stack.members) if probe else []
    by_sender: dict[str, list[FlowProbe]] = {}
    for flow in flows:
        by_sender.setdefault(flow.sender, []).append(flow)

    def ask(machine: Machine) -> Reading:
        mine = by_sender.get(machine.name, [])
        return read_machine(open_(machine), pings.get(machine.name, []), mine)

    with ThreadPoolExecutor(max_workers=max(1, min(MAX_THREADS, len(stack.machines)))) as pool:
        readings = dict(zip((machine.name for machine in stack.machines), pool.map(ask, stack.machines), strict=True))
    return judge(stack, readings, flows, probed=probe, seconds=time.monotonic() - started)


def read_machine(host: Host, pings: Sequence[str], flows: Sequence[FlowProbe]) -> Reading:
    """Ask one machine; what goes wrong with it becomes part of the answer, so that the others are still shown."""
    try:
        answers = None
        if pings or flows:
            request = probes.request(pings, dict.fromkeys(flow.port for flow in flows))
            answers = probes.parse(host.run(probes.argv(), stdin=request, timeout=probes.TIMEOUT, check=False).text)
        facts = reading.parse(host.run(reading.ARGV, check=False).stdout, host.name)
    except HostGone:
        return Reading(gone=True)
    except WorldUnreadable as error:
        return Reading(unreadable=error.message)
    return Reading(facts, answers)


def judge(
    stack: Declared, readings: Mapping[str, Reading], flows: Sequence[FlowProbe], *, probed: bool, seconds: float = 0.0
) -> Status:
    """Turn what the machines told into one picture. Pure."""
    links = judge_links(stack.members, readings)
    outgoing: dict[str, list[Link]] = {}
    for link in links:
        outgoing.setdefault(link.sender, []).append(link)
    memberships: dict[str, list[MeshMember]] = {}
    for member in stack.members:
        memberships.setdefault(member.node, []).append(member)
    away = {name for name, told in readings.items() if told.facts is None}
    nodes = (
        judge_node(
            machine,
            readings[machine.name],
            memberships.get(machine.name, []),
            outgoing.get(machine.name, []),
            away=away,
        )
        for machine in stack.machines
    )
    return Status(
        stack=stack.name,
        applied=any(str(machine.address) in stack.recorded for machine in stack.machines),
        probed=probed,
        nodes=tuple(nodes),
        links=tuple(links),
        flows=tuple(judge_flows(flows, readings)),
        seconds=seconds,
    )


def ping_targets(members: Sequence[MeshMember]) -> dict[str, list[str]]:
    """The mesh addresses that each node pings, both families, of at most `MAX_PINGED` other nodes of each mesh."""
    found: dict[str, list[str]] = {}
    for mesh in dict.fromkeys(member.mesh for member in members):
        inside = [member for member in members if member.mesh == mesh]
        for place, member in enumerate(inside):
            others = [*inside[place + 1 :], *inside[:place]][:MAX_PINGED]
            found.setdefault(member.node, []).extend(address for other in others for address in other.addresses)
    return found
