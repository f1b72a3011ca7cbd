"""How what nodes told becomes the checks of `mesh verify`. Pure.

A check that could not be made is never "ok": without tcpdump, without a packet of WireGuard in a capture, or with
packets that the kernel could not hand over, nothing is proved about the underlay.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from swarmctl.declarations.duration import roughly
from swarmctl.graph.model import MeshMember
from swarmctl.hosts.facts import Facts
from swarmctl.hosts.mesh_probes import HEADERS, MOST_PACKETS, Capture
from swarmctl.operations.mesh_verify_keys import key_files, peers
from swarmctl.operations.mesh_verify_model import (
    CIPHER,
    Check,
    Finding,
    MeshReport,
    Name,
    Pair,
    Verdict,
    Verification,
    Way,
)
from swarmctl.operations.mesh_verify_seen import Mesh, Seen, Wanted
from swarmctl.operations.nodes import Declared
from swarmctl.operations.status_model import FRESH, Link, Reading, judge_links
from swarmctl.operations.ways import relayed


def judge(
    stack: Declared,
    readings: Mapping[str, Reading],
    seen: Mapping[str, Seen],
    declared: Mapping[str, Wanted],
    *,
    seconds: float = 0.0,
) -> Verification:
    """Turn what the machines told into one picture."""
    links = judge_links(stack.members, readings)
    meshes = []
    for name in dict.fromkeys(member.mesh for member in stack.members):
        members = [member for member in stack.members if member.mesh == name]
        own = [link for link in links if link.mesh == name]
        meshes.append(_report(Mesh(name, members, readings, seen, declared, own, _pairs(members, own, seen))))
    return Verification(
        stack.name,
        applied=any(str(machine.address) in stack.recorded for machine in stack.machines),
        meshes=tuple(meshes),
        unreadable=any(reading.unreadable for reading in readings.values()),
        seconds=seconds,
    )


def _report(mesh: Mesh) -> MeshReport:
    first = mesh.wanted[mesh.members[0].node]
    ages = {member.node: _key_age(wanted, facts) for member, wanted, facts in mesh.facts()}
    return MeshReport(
        mesh.name,
        first.mtu,
        tuple(member.node for member in mesh.members),
        tuple(mesh.pairs),
        tuple(check(mesh) for check in CHECKS),
        {node: age for node, age in ages.items() if age is not None},
        first.rotate_every,
        sum(capture.wireguard for member in mesh.members for capture in _captures(mesh, member)),
    )


def _pairs(members: Sequence[MeshMember], links: Sequence[Link], seen: Mapping[str, Seen]) -> list[Pair]:
    by_name = {member.node: member for member in members}
    nothing = Seen()
    found = []
    for link in links:
        known = seen.get(link.sender, nothing)
        ways = [
            Way(address, family, known.echoes[address], None if payload is None else payload + HEADERS[family])
            for address in by_name[link.target].addresses
            if address in known.echoes
            for family in [6 if ":" in address else 4]
            for payload in [known.payloads.get(address)]
        ]
        via = () if link.tunnel else relayed(by_name, link.sender, link.target)
        found.append(Pair(link.sender, link.target, link.tunnel, via, link.handshake_age, tuple(ways)))
    return found


def _nodes(mesh: Mesh) -> Check:
    def findings() -> Iterator[Finding]:
        for member in mesh.members:
            reading = mesh.readings[member.node]
            if reading.gone:
                yield Finding(member.node, "the machine does not exist")
            elif reading.facts is None:
                yield Finding(member.node, reading.unreadable, Verdict.UNMEASURED)
            elif member.interface not in reading.facts.wireguard:
                yield Finding(member.node, f"no WireGuard on {member.interface}")
            elif not reading.facts.interfaces[member.interface].up:
                yield Finding(member.node, f"interface {member.interface} is down")

    return Check(Name.NODES, len(mesh.members), f"{len(mesh.members)} nodes have their interface", tuple(findings()))


def _tunnels(mesh: Mesh) -> Check:
    tunnels = [link for link in mesh.links if link.tunnel and link.established is not None]
    ages = [link.handshake_age for link in tunnels if link.handshake_age is not None]

    def findings() -> Iterator[Finding]:
        for link in tunnels:
            if not link.established:
                yield Finding(link.sender, f"no tunnel to {link.target}")
            elif not link.alive:
                yield Finding(link.sender, f"no handshake with {link.target} within {FRESH} s, and no answer")

    oldest = f", the last handshake {max(ages)} s ago at the most" if ages else ""
    return Check(Name.TUNNELS, len(tunnels), f"{len(tunnels)} ends of tunnels{oldest}", tuple(findings()))


def _reachability(mesh: Mesh) -> Check:
    measured = [pair for pair in mesh.pairs if pair.ways]
    families = sorted({way.family for pair in measured for way in pair.ways})

    def findings() -> Iterator[Finding]:
        for pair in measured:
            for way in pair.ways:
                if not way.echo.received:
                    yield Finding(pair.sender, f"no answer from {pair.target} at {way.address}")
        yield from _unasked(mesh)

    over = " and ".join(f"IPv{family}" for family in families)
    said = f"{len(measured)} directed pairs, over {over}" if measured else "no pair was measured"
    return Check(Name.REACHABILITY, len(measured), said, tuple(findings()))


def _unasked(mesh: Mesh) -> Iterator[Finding]:
    """Nodes that could be read and yet measured nothing."""
    if len(mesh.members) < 2:
        return
    for member, _, _ in mesh.facts():
        answers = mesh.readings[member.node].answers
        if answers is None or not answers.complete:
            yield Finding(member.node, "bash, fping or ping does not work there", Verdict.UNMEASURED)


def _loss(mesh: Mesh) -> Check:
    ways = [(pair, way) for pair in mesh.pairs for way in pair.ways if way.echo.received]
    sent, received = sum(way.echo.sent for _, way in ways), sum(way.echo.received for _, way in ways)
    times = [way.echo.most for _, way in ways if way.echo.most is not None]
    findings = [
        Finding(
            pair.sender,
            f"{way.echo.sent - way.echo.received} of {way.echo.sent} echoes to {pair.target} at {way.address} are lost",
        )
        for pair, way in ways
        if way.echo.lossy
    ]
    slowest = f", the slowest answer after {max(times):.1f} ms" if times else ""
    silent = sum(not way.echo.received for pair in mesh.pairs for way in pair.ways)
    # Who answers nothing at all is another check's: without a word, "all came back" would stand beside "no answer".
    among = f" from the {len(ways):,} addresses that answer, {silent:,} do not (reachability)" if silent else ""
    return Check(Name.LOSS, len(ways), f"{received:,} of {sent:,} echoes came back{among}{slowest}", tuple(findings))


def _path_mtu(mesh: Mesh) -> Check:
    ways = [(pair, way) for pair in mesh.pairs for way in pair.ways if way.echo.received]
    mtu = mesh.wanted[mesh.members[0].node].mtu

    def findings() -> Iterator[Finding]:
        # A node with another MTU first: what its pairs show comes of it.
        for member, _, facts in mesh.facts():
            link = facts.interfaces.get(member.interface)
            if link is not None and link.mtu != mtu:
                yield Finding(member.node, f"{member.interface} has an MTU of {link.mtu}, not {mtu}")
            elif member.node in mesh.seen and any(mesh.seen[member.node].larger.values()):
                yield Finding(member.node, f"a packet of {mtu + 1} bytes, not to be fragmented, comes through")
            if cut := sum(capture.fragments for capture in _captures(mesh, member)):
                text = f"{cut} packets of WireGuard in fragments: the underlay does not carry {mtu} bytes in a tunnel"
                yield Finding(member.node, text)
        for pair, way in ways:
            if way.mtu is None:
                text = f"packets of {mtu} bytes don't come back from {pair.target} at {way.address}, small ones do"
                yield Finding(pair.sender, text)
            elif way.mtu < mtu:
                text = f"the largest packet that comes back from {pair.target} at {way.address} has {way.mtu} bytes"
                yield Finding(pair.sender, f"{text}, not {mtu}")

    return Check(Name.PATH_MTU, len(ways), f"packets of {mtu} bytes pass whole, larger ones not", tuple(findings()))


def _cipher(mesh: Mesh) -> Check:
    ends = sum(member.interface in facts.wireguard for member, _, facts in mesh.facts())
    return Check(Name.CIPHER, ends, f"{CIPHER}: WireGuard has no other, and all {ends} interfaces are WireGuard")


def _key_age(wanted: Wanted, facts: Facts) -> int | None:
    trail = facts.key_trails.get(wanted.key_path)
    return None if trail is None or not trail.aged else max(0, facts.now - trail.made)


def _key_ages(mesh: Mesh) -> Check:
    every = mesh.wanted[mesh.members[0].node].rotate_every
    ages: dict[str, int] = {}
    adopted = 0
    findings = []
    for member, wanted, facts in mesh.facts():
        age, trail = _key_age(wanted, facts), facts.key_trails.get(wanted.key_path)
        if trail is None:
            findings.append(Finding(member.node, f"no key at {wanted.key_path}", Verdict.UNMEASURED))
            continue
        if age is None:
            adopted += 1
        else:
            ages[member.node] = age
        since = max(0, facts.now - trail.made)
        if every and since > every:
            old = f"is {roughly(since)} old" if age is not None else f"was taken over {roughly(since)} ago"
            findings.append(Finding(member.node, f"its key {old}, and due after {roughly(every)}"))
    return Check(Name.KEY_AGE, len(ages) + adopted, _ages_words(ages, adopted, every), tuple(findings))


def _ages_words(ages: Mapping[str, int], adopted: int, every: int) -> str:
    due = f"due after {roughly(every)}" if every else "never due by age"
    unknown = f"{adopted} taken over, how old they are nobody knows" if adopted else ""
    if not ages:
        return f"keys: {unknown}, {due}" if adopted else "no key was found"
    oldest = f"the oldest key is {roughly(max(ages.values()))} old, {due}"
    return f"{oldest}; {unknown}" if adopted else oldest


def _preshared(mesh: Mesh) -> Check:
    count = 0
    findings = []
    for member, wanted, facts in mesh.facts():
        wireguard = facts.wireguard.get(member.interface)
        for key, peer in wireguard.peers.items() if wireguard else ():
            count += 1
            if peer.preshared != wanted.preshared:
                has = "no preshared key, and one is declared" if wanted.preshared else "a preshared key, and none is"
                findings.append(Finding(member.node, f"the peer {key} has {has}"))
    said = "as declared: one for every tunnel" if mesh.wanted[mesh.members[0].node].preshared else "as declared: none"
    alone = len(mesh.members) == 1
    return Check(Name.PRESHARED_KEYS, count or alone, said, tuple(findings))


def _captures(mesh: Mesh, member: MeshMember) -> Sequence[Capture]:
    known = mesh.seen.get(member.node)
    return known.captures if known else ()


def _plaintext(mesh: Mesh) -> Check:
    findings: list[Finding] = []
    proved = packets = 0
    for member, _, _ in mesh.facts():
        captures = _captures(mesh, member)
        wrong = list(_leaks(member.node, captures))
        if not wrong and (why := _unproved(captures, mesh.seen.get(member.node))):
            wrong.append(Finding(member.node, why, Verdict.UNMEASURED))
        findings += wrong
        proved += not wrong
        packets += sum(capture.wireguard for capture in captures)
    said = f"captures on {proved} nodes saw {packets:,} packets of WireGuard, and nothing of the mesh in clear"
    return Check(Name.PLAINTEXT, proved, said, tuple(findings))


def _leaks(node: str, captures: Sequence[Capture]) -> Iterator[Finding]:
    for capture in captures:
        if capture.clear:
            sample = f": {capture.samples[0]}" if capture.samples else ""
            yield Finding(node, f"{capture.clear} packets of the mesh in clear on {capture.device}{sample}")
        elif capture.pattern:
            yield Finding(node, f"what was sent over the mesh is seen in clear on {capture.device}")


def _unproved(captures: Sequence[Capture], seen: Seen | None) -> str:
    """Why a capture that shows nothing proves nothing; empty when it does."""
    if seen is not None and "tcpdump" in seen.missing:
        return "tcpdump is not installed there"
    if not captures:
        return "nothing was captured"
    for capture in captures:
        if capture.failed:
            return f"{capture.device} could not be captured: {capture.failed}"
        if capture.dropped:
            return f"{capture.dropped} packets on {capture.device} came too fast to be captured"
        if capture.captured >= MOST_PACKETS:
            return f"more than {MOST_PACKETS:,} packets on {capture.device}: what came after them was not captured"
    return "" if any(capture.wireguard for capture in captures) else "the capture saw no packet of WireGuard"


CHECKS: tuple[Callable[[Mesh], Check], ...] = (
    _nodes,
    _tunnels,
    _reachability,
    _loss,
    _path_mtu,
    _cipher,
    _key_ages,
    _preshared,
    key_files,
    peers,
    _plaintext,
)
"""In the order of `Name`."""
