"""Measure the nodes of a stack and the mesh between them, by real traffic. Changes nothing, needs no engine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

from swarmctl.backends import clocks
from swarmctl.backends.base import CommandFailed, Host, HostGone
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Machine, MeshMember
from swarmctl.hosts import probes, reading
from swarmctl.hosts.facts import Facts
from swarmctl.operations import service
from swarmctl.operations.exec import Open, open_machine
from swarmctl.operations.flow_probes import FlowProbe, Untried, choose, untried
from swarmctl.operations.flow_traffic import count
from swarmctl.operations.nodes import Declared, declared
from swarmctl.operations.outages import consequences, explained
from swarmctl.operations.settling import LONGEST, Elapsed, openers, settling, usable
from swarmctl.operations.stack import Emit
from swarmctl.operations.status_model import Link, Reading, Status, judge_flows, judge_links, judge_node, lost_node
from swarmctl.plans.events import Note

MAX_THREADS = 64
"""Machines that are asked at the same time."""
MAX_PINGED = 48
"""Other nodes that each node pings, three times each: under the nodes' limit on echo, also when all do it at once. In
a larger mesh every node pings the ones after it, round the end."""


def status(folder: Path, *, emit: Emit, probe: bool = True, open_: Open = open_machine) -> Status:
    """Measure the stack in `folder`; without `probe` only what the machines say about themselves is read.

    Raises NoDocuments and InvalidDeclaration. Machines that are gone or don't answer are part of the result.
    """
    return measure(declared(folder, emit), probe=probe, open_=open_, emit=emit)


@dataclass(frozen=True, slots=True)
class Question:
    """What one machine is asked."""

    machine: Machine
    pings: Sequence[str] = ()
    flows: Sequence[FlowProbe] = ()
    facts: Facts | None = None
    """Its facts where they are known and need not be read again."""


Ask = Callable[[Host, Question], Reading]
"""Asks one machine; what goes wrong with it is part of the answer."""
Send = Callable[[Host, Sequence[str], Sequence[FlowProbe]], probes.Answers]
"""Sends the probes of one machine: echoes to these addresses, and these flows."""


def measure(
    stack: Declared,
    *,
    probe: bool,
    open_: Open,
    emit: Emit = lambda event: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Status:
    """Read every machine once, and probe (`take`)."""
    started = clock()
    now = time.time()
    flows = choose(stack.inventory, stack.machines, stack.members, now=now) if probe else []
    unsure = untried(stack.inventory, stack.machines, now=now) if probe else []
    pings = ping_targets(stack.members) if probe else None
    readings = take(stack, pings, flows, open_=open_, emit=emit, sleep=sleep, clock=clock)
    wrong = [clocks.wrong(name, facts.now) for name, facts in _facts(readings).items()]
    for text in clocks.some([said for said in wrong if said]):
        emit(Note(text, warning=True))
    out = service.misplaced(stack, [name for name, reading in readings.items() if reading.facts], open_)
    return judge(stack, readings, flows, unsure, out, probed=probe, seconds=clock() - started)


def take(
    stack: Declared,
    pings: Mapping[str, Sequence[str]] | None,
    flows: Sequence[FlowProbe] = (),
    *,
    open_: Open,
    ask: Ask | None = None,
    emit: Emit = lambda event: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> dict[str, Reading]:
    """Read every machine once, in parallel: facts, then probes; facts again where a tunnel had no session before.

    Such tunnels are opened from one end first (`openers`). Pairs without an answer are measured again while their
    tunnel may be just being made (`settling`). Without `pings` only facts are read. `ask` sends the probes of one
    machine, by default `read_machine`.
    """
    readings = _ask([Question(machine) for machine in stack.machines], open_)
    if pings is None:
        return readings
    before = _facts(readings)
    ask = ask or read_machine
    links = judge_links(stack.members, readings)
    _open_tunnels(stack, readings, openers(stack.members, links, pings), open_)
    began = clock()
    unused = {link.sender for link in links if link.tunnel and not usable(link)}
    readings |= _ask(
        [
            Question(
                machine,
                pings.get(machine.name, ()),
                [flow for flow in flows if flow.sender == machine.name],
                None if machine.name in unused else facts,
            )
            for machine in stack.machines
            if (facts := readings[machine.name].facts) is not None
        ],
        open_,
        ask,
    )
    _settle(stack, readings, flows, open_, ask, began=began, emit=emit, sleep=sleep, clock=clock)
    return {name: replace(reading, before=before.get(name)) for name, reading in readings.items()}


def _open_tunnels(
    stack: Declared, readings: Mapping[str, Reading], opening: Mapping[str, Sequence[str]], open_: Open
) -> None:
    """Have `opening` pinged. What comes of it shows when everybody probes."""
    _ask(
        [
            Question(machine, opening[machine.name][:MAX_PINGED], facts=readings[machine.name].facts)
            for machine in stack.machines
            if machine.name in opening
        ],
        open_,
    )


def _settle(
    stack: Declared,
    readings: dict[str, Reading],
    flows: Sequence[FlowProbe],
    open_: Open,
    ask: Ask,
    *,
    began: float,
    emit: Emit,
    sleep: Callable[[float], None],
    clock: Callable[[], float],
) -> None:
    """Measure silent pairs again, and put it into `readings`, until there is nothing to wait for any more."""
    last, rounds, told = began, 0, False
    while True:
        links = judge_links(stack.members, readings)
        now = clock()
        wait = settling(links, Elapsed(now - began, now - last), again=rounds > 0)
        if wait is None:
            return
        if wait and not told:
            text = "a tunnel that is just being made doesn't carry traffic yet: waiting up to"
            emit(Note(f"{text} {LONGEST - (now - began):.0f} s for WireGuard's next handshake"))
            told = True
        sleep(wait)
        last, rounds = clock(), rounds + 1
        silent = {(link.sender, link.target) for link in links if link.reachable is False}
        senders = {sender for sender, _ in silent}
        again = _ask(
            [
                Question(
                    machine,
                    [address for address, ping in readings[machine.name].pings.items() if not ping.reachable],
                    [flow for flow in flows if flow.sender == machine.name and (flow.sender, flow.target) in silent],
                )
                for machine in stack.machines
                if machine.name in senders
            ],
            open_,
            ask,
        )
        readings |= {name: readings[name].renewed(by) for name, by in again.items()}


def _ask(questions: Sequence[Question], open_: Open, ask: Ask | None = None) -> dict[str, Reading]:
    """Every asked machine's answers and facts, by node name."""

    def answer(question: Question) -> Reading:
        return (ask or read_machine)(open_(question.machine), question)

    with ThreadPoolExecutor(max_workers=max(1, min(MAX_THREADS, len(questions)))) as pool:
        return dict(zip((question.machine.name for question in questions), pool.map(answer, questions), strict=True))


def read_machine(host: Host, question: Question, send: Send | None = None) -> Reading:
    """Ask one machine; what goes wrong with it becomes part of the answer, so that the others are still shown.

    `send` sends the probes, by default echoes and flows.
    """
    try:
        answers = (send or _probe)(host, question.pings, question.flows) if question.pings or question.flows else None
        facts = question.facts or reading.parse(host.run(reading.ARGV, check=False).stdout, host.name)
    except HostGone:
        return Reading(gone=True)
    except (WorldUnreadable, CommandFailed) as error:  # the second, too: of a machine without room for its input
        return Reading(unreadable=error.message.removeprefix(f"{question.machine.name}: "))
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
    stack: Declared,
    readings: Mapping[str, Reading],
    flows: Sequence[FlowProbe],
    unsure: Sequence[Untried] = (),
    out: Mapping[str, str] = MappingProxyType({}),
    *,
    probed: bool,
    seconds: float = 0.0,
) -> Status:
    """Turn what the machines told into one picture; `out`: who is not in service as declared, and how. Pure."""
    links = explained(stack.members, readings, judge_links(stack.members, readings))
    does = consequences(links)
    outgoing: dict[str, list[Link]] = {}
    for link in links:
        outgoing.setdefault(link.sender, []).append(link)
    memberships: dict[str, list[MeshMember]] = {}
    for member in stack.members:
        memberships.setdefault(member.node, []).append(member)
    nodes = (
        judge_node(
            machine,
            readings[machine.name],
            memberships.get(machine.name, []),
            outgoing.get(machine.name, []),
            does=does.get(machine.name, ""),
            service=out.get(machine.name, ""),
        )
        for machine in stack.machines
    )
    return Status(
        stack=stack.name,
        applied=any(str(machine.address) in stack.recorded for machine in stack.machines),
        probed=probed,
        nodes=(*nodes, *map(lost_node, stack.lost)),
        links=tuple(links),
        flows=tuple(judge_flows(flows, readings)),
        untried=tuple(unsure),
        # As it was before the probes, so that these are not shown as traffic.
        traffic=count(
            stack.inventory,
            stack.machines,
            {name: readings[name].before or facts for name, facts in _facts(readings).items()},
        ),
        seconds=seconds,
    )


def _facts(readings: Mapping[str, Reading]) -> dict[str, Facts]:
    return {name: reading.facts for name, reading in readings.items() if reading.facts is not None}


def ping_targets(members: Sequence[MeshMember], most: int = MAX_PINGED) -> dict[str, list[str]]:
    """The mesh addresses that each node pings, both families, of at most `most` other nodes of each mesh."""
    found: dict[str, list[str]] = {}
    for mesh in dict.fromkeys(member.mesh for member in members):
        inside = [member for member in members if member.mesh == mesh]
        for place, member in enumerate(inside):
            others = [*inside[place + 1 :], *inside[:place]][:most]
            found.setdefault(member.node, []).extend(address for other in others for address in other.addresses)
    return found
