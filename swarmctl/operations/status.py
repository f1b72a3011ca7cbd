"""Measure the nodes of a stack and the mesh between them, by real traffic. Changes nothing, needs no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from swarmctl.backends.base import Host, HostGone
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Machine, MeshMember
from swarmctl.hosts import probes, reading
from swarmctl.hosts.facts import Facts
from swarmctl.operations.exec import Open, open_machine
from swarmctl.operations.flow_probes import FlowProbe, choose
from swarmctl.operations.flow_traffic import count
from swarmctl.operations.nodes import Declared, declared
from swarmctl.operations.stack import Emit
from swarmctl.operations.status_model import Link, Reading, Status, judge_flows, judge_links, judge_node

MAX_THREADS = 32
"""Machines that are asked at the same time."""
REKEY_TIMEOUT = 5.0
"""Seconds between two tries of a handshake (WireGuard white paper, 6.1; up to a third of a second is added to them)."""
SETTLING_TRIES = 3
"""How often pairs whose tunnel is just being made are measured again: both ends may begin at once more than once."""
MAX_PINGED = 48
"""Other nodes that each node pings, three times each: under the nodes' limit on echo, also when all do it at once. In
a larger mesh every node pings the ones after it, round the end."""


def status(folder: Path, *, emit: Emit, probe: bool = True, open_: Open = open_machine) -> Status:
    """Measure the stack in `folder`; without `probe` only what the machines say about themselves is read.

    Raises NoDocuments and InvalidDeclaration. Machines that are gone or don't answer are part of the result.
    """
    return measure(declared(folder, emit), probe=probe, open_=open_)


def measure(stack: Declared, *, probe: bool, open_: Open, sleep: Callable[[float], None] = time.sleep) -> Status:
    """Read every machine once, in parallel: first probes, so that an idle tunnel has had its handshake, then facts.

    Pairs without an answer are measured again when a tunnel was just being made (see `settling`).
    """
    started = time.monotonic()
    pings = ping_targets(stack.members) if probe else {}
    flows = choose(stack.inventory, stack.machines, stack.members, now=time.time()) if probe else []
    readings = _ask(stack.machines, pings, flows, open_)
    for _ in range(SETTLING_TRIES):
        links = judge_links(stack.members, readings)
        wait = settling(links)
        if wait is None:
            break
        sleep(wait)
        silent = {(link.sender, link.target) for link in links if link.reachable is False}
        senders = {sender for sender, _ in silent}
        again = _ask(
            [machine for machine in stack.machines if machine.name in senders],
            {
                sender: [address for address, ping in readings[sender].pings.items() if not ping.reachable]
                for sender in senders
            },
            [flow for flow in flows if (flow.sender, flow.target) in silent],
            open_,
        )
        readings |= {name: readings[name].renewed(by) for name, by in again.items()}
    return judge(stack, readings, flows, probed=probe, seconds=time.monotonic() - started)


def settling(links: Sequence[Link]) -> float | None:
    """Seconds to wait before silent links are measured again, None when there is nothing to wait for.

    When both ends of a new tunnel begin a handshake at the same moment, each may drop the other's, and WireGuard tries
    again only after `REKEY_TIMEOUT`. So silence proves nothing yet where both ends have the tunnel and its handshake
    was just now, or never.
    """
    by_ends = {(link.mesh, link.sender, link.target): link for link in links}
    young = [
        link
        for link in links
        if link.tunnel
        and link.established
        and link.reachable is False
        and (link.handshake_age is None or link.handshake_age < 2 * REKEY_TIMEOUT)
        and (back := by_ends.get((link.mesh, link.target, link.sender))) is not None
        and back.established
    ]
    if not young:
        return None
    return REKEY_TIMEOUT if any(link.handshake_age is None for link in young) else 0.0


def _ask(
    machines: Sequence[Machine], pings: Mapping[str, Sequence[str]], flows: Sequence[FlowProbe], open_: Open
) -> dict[str, Reading]:
    """Every machine's answers and facts by node name; `pings` and `flows` may be for some of them only."""
    by_sender: dict[str, list[FlowProbe]] = {}
    for flow in flows:
        by_sender.setdefault(flow.sender, []).append(flow)

    def ask(machine: Machine) -> Reading:
        return read_machine(open_(machine), pings.get(machine.name, []), by_sender.get(machine.name, []))

    with ThreadPoolExecutor(max_workers=max(1, min(MAX_THREADS, len(machines)))) as pool:
        return dict(zip((machine.name for machine in machines), pool.map(ask, machines), strict=True))


def read_machine(host: Host, pings: Sequence[str], flows: Sequence[FlowProbe]) -> Reading:
    """Ask one machine; what goes wrong with it becomes part of the answer, so that the others are still shown."""
    try:
        answers = _probe(host, pings, flows) if pings or flows else None
        facts = reading.parse(host.run(reading.ARGV, check=False).stdout, host.name)
    except HostGone:
        return Reading(gone=True)
    except WorldUnreadable as error:
        return Reading(unreadable=error.message)
    return Reading(facts, answers)


def _probe(host: Host, pings: Sequence[str], flows: Sequence[FlowProbe]) -> probes.Answers:
    """Send all probes. Ports that should be open, of targets that answer echo, get a second chance: on a busy machine
    an answer may come too late, and a false alarm is worse than a second and a half."""

    def send(addresses: Sequence[str], ports: Iterable[probes.Port]) -> probes.Answers:
        request = probes.request(addresses, dict.fromkeys(ports))
        return probes.parse(host.run(probes.argv(), stdin=request, timeout=probes.TIMEOUT, check=False).text)

    first = send(pings, (flow.port for flow in flows))
    again = [
        flow.port
        for flow in flows
        if flow.expected is probes.Answer.OPEN
        and first.ports.get(flow.port) is not probes.Answer.OPEN
        and (echo := first.pings.get(flow.port.address)) is not None
        and echo.reachable
    ]
    if not again:
        return first
    return replace(first, ports={**first.ports, **send((), again).ports})


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
        traffic=count(stack.inventory, stack.machines, _facts(readings)),
        seconds=seconds,
    )


def _facts(readings: Mapping[str, Reading]) -> dict[str, Facts]:
    return {name: reading.facts for name, reading in readings.items() if reading.facts is not None}


def ping_targets(members: Sequence[MeshMember]) -> dict[str, list[str]]:
    """The mesh addresses that each node pings, both families, of at most `MAX_PINGED` other nodes of each mesh."""
    found: dict[str, list[str]] = {}
    for mesh in dict.fromkeys(member.mesh for member in members):
        inside = [member for member in members if member.mesh == mesh]
        for place, member in enumerate(inside):
            others = [*inside[place + 1 :], *inside[:place]][:MAX_PINGED]
            found.setdefault(member.node, []).extend(address for other in others for address in other.addresses)
    return found
