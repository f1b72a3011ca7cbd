"""Draws what `swarmctl status` measured: nodes, links, who reaches whom, and whether ports are as declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from swarmctl.hosts.probes import Answer, Port
from swarmctl.hosts.states import ISOLATED, LOST
from swarmctl.kinds.security_policy.spec import moment
from swarmctl.operations.flow_probes import Over
from swarmctl.operations.flow_traffic import total
from swarmctl.operations.status_model import FlowResult, Link, Node, Status
from swarmctl.reports.console import amount, duration, paint, safe
from swarmctl.reports.table import Column, flowing, table

MOST_NODES = 40
"""Nodes shown one by one; of more only those that aren't ready are."""
MOST_LINKS = 24
"""Links shown one by one; of more only those that don't work are."""
MOST_VIOLATIONS = 20

GOOD, BAD, PART, SELF, UNMEASURED = "✓", "✗", "~", "·", "?"
_WORDS = {
    GOOD: "reachable",
    BAD: "no answer",
    PART: "on some of its addresses only",
    SELF: "itself",
    UNMEASURED: "not measured",
}
_COLORS = {GOOD: "green", BAD: "red", PART: "yellow", SELF: "dim", UNMEASURED: "yellow"}


def render(status: Status, *, color: bool, width: int) -> str:
    """Everything as text, a summary first. Marks always come with a word or a legend, so colour only helps."""
    lines = [*_summary(status, color, width), ""]
    if status.nodes and any(node.exists for node in status.nodes):
        for section in (_nodes, _links, _matrix, _flows, _traffic_of_flows):
            drawn = list(section(status, color, width))
            lines += [*drawn, ""] if drawn else []
        if not status.healthy:
            lines += ["`swarmctl drift` says what has moved away from what was applied; `swarmctl apply` heals it.", ""]
    return "\n".join(lines[:-1]) + "\n"


def _summary(status: Status, color: bool, width: int) -> Iterator[str]:
    name = paint(safe(status.stack), "bold", color=color)
    if not status.nodes:
        yield f"{name}: no machines are declared"
    elif status.gone:
        yield f"{name}: the lab is gone: none of its {amount(len(status.nodes), 'machine')} exists any more."
        yield "This computer was started anew, or someone removed them; `swarmctl apply` makes the lab again."
    elif not any(node.exists for node in status.nodes):
        yield f"{name}: not applied; `swarmctl apply` makes its {amount(len(status.nodes), 'machine')}."
    else:
        first, *others = _counts(status, color)
        yield from flowing([f"{name}: {first}", *others], "; ", width=width, indent=0, hang=len(status.stack) + 2)


def _counts(status: Status, color: bool) -> Iterator[str]:
    serving = [node for node in status.nodes if not _aside(node)]
    if serving or not status.nodes:
        yield _count(sum(node.ready for node in serving), len(serving), "nodes ready", color)
    for state in (ISOLATED, LOST):
        if count := sum(node.state == state for node in status.nodes):
            yield paint(f"{count:,} {state}", "yellow", color=color)
    measured = [link for link in status.links if link.reachable is not None]
    if measured:
        yield _count(sum(link.reachable is True for link in measured), len(measured), "links reachable", color)
    judged = [flow for flow in status.flows if flow.ok is not None]
    if judged:
        yield _count(sum(flow.ok is True for flow in judged), len(judged), "ports as declared", color)
    yield f"measured in {duration(status.seconds)}" if status.probed else "not probed: no traffic was sent"


def _aside(node: Node) -> bool:
    """Whether it is declared to take no part: then it does no work, however well that goes."""
    return node.state in (ISOLATED, LOST)


def _count(good: int, all_: int, what: str, color: bool) -> str:
    return paint(f"{good:,} of {all_:,} {what}", "green" if good == all_ else "red", color=color)


def _nodes(status: Status, color: bool, width: int) -> Iterator[str]:
    few = len(status.nodes) <= MOST_NODES
    shown = status.nodes if few else [node for node in status.nodes if not node.ready or _aside(node)][:MOST_NODES]
    yield paint("Nodes", "bold", color=color)
    if shown:
        columns = [
            Column("", [_mark(BAD if not node.ready else SELF if _aside(node) else GOOD, color) for node in shown]),
            Column("NODE", [safe(node.name) for node in shown]),
            Column("STATE", [_state(node) for node in shown]),
            Column("POOL", [safe(node.pool) for node in shown], drop=4),
            Column("REGION", [safe(node.region) for node in shown], drop=2),
            Column("MESH ADDRESS", [node.addresses[0] if node.addresses else "" for node in shown], drop=1),
            Column("TUNNELS UP", [f"{node.handshakes} of {node.tunnels}" for node in shown]),
            Column("RECEIVED", [size(node.received) for node in shown], right=True, drop=3),
            Column("SENT", [size(node.sent) for node in shown], right=True, drop=3),
        ]
        if any(node.managed_ports for node in shown):
            columns.append(Column("MANAGED BY", [_managed(node) for node in shown], drop=5))
        head, *rows = table(columns, width=width, indent=2)
        yield paint(head, "dim", color=color)
        for node, row in zip(shown, rows, strict=True):
            yield row
            yield from (paint(f"      {safe(reason)}", "red", color=color) for reason in node.reasons)
    if not few:
        serving = [node for node in status.nodes if not _aside(node)]
        ready = sum(node.ready for node in serving)
        yield f"  {_mark(GOOD if ready else BAD, color)} {ready:,} of {len(serving):,} nodes are ready"


def _managed(node: Node) -> str:
    """The ports that stay open for whoever manages it."""
    if not node.managed_ports:
        return ""
    ports = f"tcp/{','.join(map(str, node.managed_ports))}"
    more = f" and {len(node.managed_from) - 1} more" if len(node.managed_from) > 1 else ""
    return f"{ports} from {node.managed_from[0]}{more}" if node.managed_from else ports


def _state(node: Node) -> str:
    if node.ready:
        return node.state or "ready"
    return "unreadable" if node.unreadable else "not ready" if node.exists else "missing"


def _links(status: Status, color: bool, width: int) -> Iterator[str]:
    rows = _folded([link for link in status.links if link.established is not None])
    if not rows:
        return
    working = [row for row in rows if _works(row)]
    few = len(rows) <= MOST_LINKS
    shown = rows if few else [row for row in rows if not _works(row)][:MOST_LINKS]
    yield paint("Links", "bold", color=color)
    if shown:
        head, *body = table(list(_link_columns(shown, status.probed, color)), width=width, indent=2)
        yield paint(head, "dim", color=color)
        yield from body
    if not few:
        head = f"{_mark(GOOD if working else BAD, color)} {len(working):,} of {len(rows):,} links work"
        yield from flowing([head, *_extremes(working)], "; ", width=width, indent=2, hang=4)


def _link_columns(rows: Sequence[tuple[Link, ...]], probed: bool, color: bool) -> Iterator[Column]:
    yield Column("", [_mark(GOOD if _works(row) else BAD, color) for row in rows])
    yield Column("LINK", [_ends(row) for row in rows])
    if probed:
        yield Column("TRAFFIC", [_traffic(row) for row in rows])
        yield Column("ROUND TRIP", [_rtt(row) for row in rows], right=True, drop=2)
    yield Column("LAST HANDSHAKE", [_handshake(row) for row in rows])
    yield Column("BYTES", [size(max(link.received + link.sent for link in row)) for row in rows], right=True, drop=1)


def _folded(links: Sequence[Link]) -> list[tuple[Link, ...]]:
    """Both directions as one row where they are the same story."""
    rows: dict[tuple[str, str, str], tuple[Link, ...]] = {}
    for link in links:
        there, back = (link.mesh, link.sender, link.target), (link.mesh, link.target, link.sender)
        if back in rows and _story(rows[back][0]) == _story(link):
            rows[back] = (*rows[back], link)
        else:
            rows[there] = (link,)
    return list(rows.values())


def _works(row: tuple[Link, ...]) -> bool:
    return all(link.works for link in row)


def _story(link: Link) -> tuple[object, ...]:
    """What must be the same for two directions to share a row."""
    if link.works:
        return True, link.tunnel
    return False, link.tunnel, link.reachable, link.established, link.fresh, link.cut_by


def _ends(row: tuple[Link, ...]) -> str:
    return f"{safe(row[0].sender)} {'⇄' if len(row) == 2 else '→'} {safe(row[0].target)}"


def _traffic(row: tuple[Link, ...]) -> str:
    answers = [ping.reachable for link in row for ping in link.pings.values()]
    if not answers:
        return _WORDS[UNMEASURED]
    return _WORDS[GOOD] if all(answers) else "in part" if any(answers) else _WORDS[BAD]


def _rtt(row: tuple[Link, ...]) -> str:
    times = [link.rtt for link in row if link.rtt is not None]
    return f"{max(times):.1f} ms" if times else "-"


def _handshake(row: tuple[Link, ...]) -> str:
    if not row[0].tunnel:
        return _way(row[0])
    if not row[0].established:
        return "no tunnel"
    ages = [link.handshake_age for link in row if link.handshake_age is not None]
    # Both ends keep the time of the same handshake, the younger figure is of the one that is in use.
    return f"{duration(min(ages)) if min(ages) >= 10 else f'{min(ages)}s'} ago" if ages else "never"


def _way(link: Link) -> str:
    """How a pair without a tunnel is to reach each other."""
    if link.cut_by or not link.via:
        return "no way"
    return f"through a {link.role if link.role in ('hub', 'gateway', 'relay') else 'node'}"


def _extremes(rows: Sequence[tuple[Link, ...]]) -> Iterator[str]:
    links = [link for row in rows for link in row]
    slowest = max((link for link in links if link.rtt is not None), key=lambda link: link.rtt or 0.0, default=None)
    oldest = max((link.handshake_age for link in links if link.handshake_age is not None), default=None)
    if slowest is not None:
        yield f"slowest {slowest.rtt:.1f} ms, {safe(slowest.sender)} → {safe(slowest.target)}"
    if oldest is not None:
        yield f"oldest handshake {oldest}s ago"


def _matrix(status: Status, color: bool, width: int) -> Iterator[str]:
    """Rows reach columns. Left out when it doesn't fit or nothing was measured."""
    names = [node.name for node in status.nodes if node.addresses]
    if not status.probed or not status.links:
        return
    cells = {(link.sender, link.target): _cell(link) for link in status.links}
    digits, label = len(str(len(names))), max(len(name) for name in names)
    left = 2 + digits + 1 + label + 2
    gap = " " if left + 2 * len(names) <= width else ""
    yield paint("Who reaches whom", "bold", color=color) + "  (row to column, echo over the mesh, every address)"
    if left + len(names) > width:
        yield f"  left out: {len(names):,} columns don't fit here; --format json has every pair"
        return
    for digit in range(digits):  # column numbers, read from top to bottom
        numbers = (f"{place:>{digits}}"[digit] for place in range(1, len(names) + 1))
        yield paint((" " * left + gap.join(numbers)).rstrip(), "dim", color=color)
    used: Counter[str] = Counter()
    for place, sender in enumerate(names, 1):
        row = [SELF if target == sender else cells.get((sender, target), UNMEASURED) for target in names]
        used.update(row)
        drawn = gap.join(_mark(mark, color) for mark in row)
        yield f"  {place:>{digits}} {safe(sender):{label}}  {drawn}"
    legend = [f"{_mark(mark, color)} {word}" for mark, word in _WORDS.items() if used[mark]]
    yield from flowing(legend, "   ", width=width, indent=2)


def _cell(link: Link) -> str:
    if link.reachable is None:
        return UNMEASURED
    if link.reachable:
        return GOOD
    return PART if any(ping.reachable for ping in link.pings.values()) else BAD


def _flows(status: Status, color: bool, width: int) -> Iterator[str]:
    """One line per declared flow and per kind of closed port, then every violation."""
    if not status.flows and not status.untried:
        return
    yield paint("Flows", "bold", color=color) + f"  ({amount(len(status.flows), 'port')} tried)"
    groups: dict[str, list[FlowResult]] = {}
    for flow in status.flows:
        groups.setdefault(_group(flow), []).append(flow)
    left = {f"{flow.policy}/{flow.flow}": flow for flow in status.untried}
    label = max(len(name) for name in [*groups, *left])
    for name, flows in groups.items():
        good, unknown = sum(flow.ok is True for flow in flows), sum(flow.ok is None for flow in flows)
        mark = BAD if any(flow.ok is False for flow in flows) else UNMEASURED if good == 0 else GOOD
        told = f"{good:,} of {len(flows):,} {flows[0].probe.expected}" + (f", {unknown:,} unknown" if unknown else "")
        yield f"  {_mark(mark, color)} {safe(name):{label}}  {told}"
    for name, untried in left.items():
        yield f"  {_mark(UNMEASURED, color)} {safe(name):{label}}  not tried"
        yield f"      {safe(untried.why)}"
    if any(flow.ok is None for flow in status.flows):
        yield "  unknown: nothing came back, and something on the target may have taken it in and kept quiet"
    wrong = list(_violations(status.violations))
    yield from (paint(f"    {BAD} {line}", "red", color=color) for line in wrong[:MOST_VIOLATIONS])
    if len(wrong) > MOST_VIOLATIONS:
        yield f"    … and {len(wrong) - MOST_VIOLATIONS:,} more; --format json has them all"


def _violations(flows: Sequence[FlowResult]) -> Iterator[str]:
    """A line per pair of nodes, protocol and network; what is open and must be closed comes first."""
    groups: dict[tuple[Answer, str, str, str, Over], list[Port]] = {}
    for flow in sorted(flows, key=lambda flow: flow.observed is not Answer.OPEN):
        probe = flow.probe
        key = (flow.observed, probe.sender, probe.target, probe.port.protocol, probe.over)
        groups.setdefault(key, []).append(probe.port)
    for (observed, sender, target, protocol, _), ports in groups.items():
        numbers = ", ".join(str(number) for number in dict.fromkeys(port.number for port in ports))
        addresses = " and ".join(dict.fromkeys(port.address for port in ports))
        wanted = "closed" if observed is Answer.OPEN else "open"
        yield f"{safe(sender)} → {safe(target)}: {protocol} {numbers} {observed}, must be {wanted}, on {addresses}"


def _traffic_of_flows(status: Status, color: bool, width: int) -> Iterator[str]:
    """What came in by each flow, and what was dropped; nothing where no firewall counts."""
    rows = [(f"{flow.policy}/{flow.flow}", flow.total, flow.nodes, flow.until) for flow in status.traffic.flows]
    rows = [row for row in rows if row[2]]
    if status.traffic.denied:
        rows.append(("denied", total(status.traffic.denied), status.traffic.denied, None))
    if not rows:
        return
    yield paint("Traffic", "bold", color=color) + "  (came in over the mesh since the firewalls began to count)"
    columns = [
        Column("FLOW", [safe(name) for name, *_ in rows]),
        Column("PACKETS", [f"{count.packets:,}" for _, count, *_ in rows], right=True),
        Column("BYTES", [size(count.bytes) for _, count, *_ in rows], right=True),
        Column("NODES", [f"{sum(one.packets > 0 for one in nodes.values()):,}" for *_, nodes, _ in rows], right=True),
    ]
    if any(until is not None for *_, until in rows):
        columns.append(Column("UNTIL", ["" if until is None else moment(until) for *_, until in rows]))
    head, *body = table(columns, width=width, indent=2)
    yield paint(head, "dim", color=color)
    yield from body


def _group(flow: FlowResult) -> str:
    if flow.probe.flow is not None:
        return f"{flow.probe.policy}/{flow.probe.flow}"
    return "undeclared on the mesh" if flow.probe.over is Over.MESH else "outside of the mesh"


def _mark(mark: str, color: bool) -> str:
    return paint(mark, _COLORS[mark], color=color)


def size(count: int) -> str:
    """`0 B`, `1.5 KiB`, `12.0 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{count} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
