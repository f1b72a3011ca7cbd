"""The picture of a mesh as text, JSON, Mermaid, DOT or SVG. Every renderer is a function of the picture alone."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from typing import Any

from swarmctl.kinds.security_policy.spec import moment
from swarmctl.operations.graph import ROLES, Flow, Group, Node, Picture, Use
from swarmctl.operations.graph_scheme import Count, Knot, Scheme, scheme
from swarmctl.reports.console import amount, names, safe

BEHIND = "behind NAT"
MOST_ELSE = 5
"""Nodes that are named as standing by."""
USES = {
    Use.DIRECT: "tunnel",
    Use.THROUGH: "tunnel that also carries for others",
    Use.STANDBY: "tunnel that stands by for that",
}
"""What is said of each of the three ways in which tunnels are drawn."""


def render(picture: Picture, format_: str, *, flows: bool) -> str:
    """The picture in one of the formats, ending in a line break: text, json, and what a module `graph_FORMAT` draws."""
    if format_ == "text":
        return text(picture, flows=flows)
    if format_ == "json":
        return json.dumps(to_json(picture), indent=2, ensure_ascii=False) + "\n"
    drawn: str = importlib.import_module(f"{__package__}.graph_{format_}").render(picture, flows=flows)
    return drawn


def title(picture: Picture) -> str:
    """The stack's name, and the node's where the picture is about one."""
    return f"{picture.stack}, {picture.focus}" if picture.focus else picture.stack


def summary(picture: Picture) -> str:
    """`5 nodes, 2 regions, 10 tunnels, 2 hubs, 1 behind NAT`."""
    counts = [
        amount(len(picture.nodes), "node"),
        amount(len(picture.regions), "region"),
        amount(len(picture.tunnels), "tunnel"),
    ]
    having = [(word, sum(node.role == word for node in picture.nodes)) for word in ROLES.values()]
    counts += [amount(count, noun(word), plural(word)) for word, count in having if count]
    hidden = sum(node.nat for node in picture.nodes)
    return ", ".join([*counts, *([f"{hidden:,} {BEHIND}"] if hidden else [])])


def noun(role: str) -> str:
    """What a node with this role is called."""
    return f"{role} node" if role == ROLES["link"] else role or "node"


def plural(role: str) -> str:
    """Several of them."""
    return f"{noun(role)}s"


def traits(role: str, *, nat: bool) -> list[str]:
    """What is to be said of a node: its role, and that it is behind NAT."""
    return [*([role] if role else []), *([BEHIND] if nat else [])]


def node_label(node: Node) -> str:
    """`workers-0 10.88.0.3`, with `(hub)` where it is one."""
    told = traits(node.role, nat=node.nat)
    return " ".join([node.name, *node.addresses[:1], *([f"({', '.join(told)})"] if told else [])])


def group_name(group: Group) -> str:
    """The pool, or what stands for it."""
    return group.node or group.pool or f"all of {group.region}"


def group_label(group: Group, nodes: list[Node], inside: int) -> str:
    """`workers: 120 nodes, 7,140 tunnels among them`."""
    among = f", {amount(inside, 'tunnel')} among them" if inside else ""
    return f"{group_name(group)}: {group_size(group, len(nodes))}{among}"


def group_size(group: Group, count: int) -> str:
    """`120 nodes`, `2 gateways`, `30 nodes behind NAT`."""
    return f"{amount(count, noun(group.role), plural(group.role))}{f' {BEHIND}' if group.nat else ''}"


def knot_label(knot: Knot, sizes: dict[Group, int]) -> str:
    """`full mesh of 120 nodes`, `each of 3 hubs with each of 200 nodes`."""
    if not knot.others:
        roles = {group.role for group in knot.members}
        role = roles.pop() if len(roles) == 1 else ""
        return f"full mesh of {amount(knot.nodes, noun(role), plural(role))}"
    ends = []
    for groups in (knot.members, knot.others):
        count, roles = sum(sizes[group] for group in groups), {group.role for group in groups}
        ends.append(amount(count, noun("".join(roles) if len(roles) == 1 else ""), ""))
    return f"each of {ends[0]} with each of {ends[1]}"


def tunnels_label(count: Count) -> str:
    """`450 tunnels: 150 carrying for others, 300 standing by`."""
    return ": ".join([amount(count.tunnels, "tunnel"), *_uses(count)])


def _uses(count: Count) -> list[str]:
    told = [(count.through, "carrying for others"), (count.standby, "standing by")]
    return [", ".join(f"{number:,} {words}" for number, words in told if number)] if any(of for of, _ in told) else []


def region_told(scheme: Scheme, region: str) -> str:
    """What is said of a region beside its name."""
    return f"full mesh, {amount(scheme.regions[region].tunnels, 'tunnel')}" if region in scheme.regions else ""


def flow_label(flow: Flow) -> str:
    """`metrics tcp 9100 until 2026-12-01T00:00:00Z`."""
    ends = [f"until {moment(flow.until)}"] if flow.until is not None else []
    return " ".join([flow.name, flow.protocol, flow.ports, *ends])


def among_label(flow: Flow) -> str:
    """What is said of a flow that has no arrows."""
    return f"{flow_label(flow)} among {names(flow.sources, limit=3)}"


def text(picture: Picture, *, flows: bool) -> str:
    """Regions, pools and nodes as an indented list; tunnels counted between pools."""
    lines = [f"{safe(title(picture))}: {summary(picture)}", ""]
    groups = picture.groups
    for region, inside in picture.regions.items():
        lines.append(f"region {safe(region)}")
        for group in inside:
            lines.append(f"  pool {safe(group.pool)}, {group_size(group, len(groups[group]))}")
            lines += (_names if picture.crowded else _each)(groups[group])
    lines += _tunnels(picture, scheme(picture))
    lines += _ways(picture)
    if flows:
        lines += ["", "flows", *_flows(picture)]
    return "\n".join(lines) + "\n"


def _names(nodes: list[Node]) -> list[str]:
    return [f"    {safe(names((node.name for node in nodes), limit=12))}"]


def _each(nodes: list[Node]) -> list[str]:
    width = max(len(node.name) for node in nodes)
    return [
        "  ".join(
            [f"    {safe(node.name):{width}}", " ".join(node.addresses), *traits(node.role, nat=node.nat)]
        ).rstrip()
        for node in nodes
    ]


def _tunnels(picture: Picture, found: Scheme) -> Iterator[str]:
    if not picture.tunnels:
        return
    sizes = {group: len(nodes) for group, nodes in picture.groups.items()}
    yield from ("", "tunnels")
    told = {group for knot in found.knots if not knot.others for group in knot.members}
    told |= {group for group in picture.groups if group.region in found.regions}
    for knot in found.knots:
        yield f"  {knot_label(knot, sizes)}: {_count(knot.count)}"
        yield f"    {safe(_ends(knot.members))}"
        if knot.others:
            yield f"    with {safe(_ends(knot.others))}"
    for region, count in found.regions.items():
        yield f"  full mesh in {safe(region)}: {_count(count)}"
    for group, count in found.inside.items():
        if group not in told:
            yield f"  among {safe(_ends((group,)))}: {_count(count)}"
    for (one, other), count in found.lines.items():
        yield f"  {safe(_ends((one,)))} to {safe(_ends((other,)))}: {_count(count)}"


def _count(count: Count) -> str:
    return ", of these ".join([f"{count.tunnels:,}", *_uses(count)])


def _ends(groups: tuple[Group, ...]) -> str:
    """The groups by name; those that are more than a pool say what they are."""
    return ", ".join(f"{group_name(group)}{f' ({told})' if (told := _trait(group)) else ''}" for group in groups)


def _trait(group: Group) -> str:
    return ", ".join(traits(group.role, nat=group.nat)) if not group.node else ""


def _ways(picture: Picture) -> Iterator[str]:
    """Who reaches nodes without a tunnel through whom; nodes with the same ways together."""
    found: dict[tuple[tuple[str, ...], ...], list[str]] = {}
    for node in picture.nodes:
        if node.ways and picture.focus in ("", node.name):
            found.setdefault(node.ways, []).append(node.name)
    if found:
        yield from ("", "to nodes without a tunnel")
    for ways, nodes in found.items():
        yield f"  {safe(names(nodes))}: {safe('; '.join(_way(way) for way in ways))}"


def _way(way: tuple[str, ...]) -> str:
    first, *others = way
    more = f" and {len(others) - MOST_ELSE:,} more" if len(others) > MOST_ELSE else ""
    return f"through {first}" + (f", else {', '.join(others[:MOST_ELSE])}{more}" if others else "")


def _flows(picture: Picture) -> Iterator[str]:
    for flow in picture.flows:
        ends = f"{names(flow.sources) or 'no node'} to {names(flow.targets) or 'no node'}"
        until = f", until {moment(flow.until)}" if flow.until is not None else ""
        yield f"  {safe(flow.policy)}/{safe(flow.name)}: {flow.protocol} {flow.ports} from {safe(ends)}{until}"
    if not picture.flows:
        yield "  none: everything is denied" if not picture.focus else "  none"


def to_json(picture: Picture) -> dict[str, Any]:
    """`swarmctl/graph/v1`. Fields are added, never renamed, within a version."""
    return {
        "schema": "swarmctl/graph/v1",
        "stack": picture.stack,
        "node": picture.focus or None,
        "nodes": [
            {
                "name": node.name,
                "cluster": node.cluster,
                "region": node.region,
                "pool": node.pool,
                "addresses": list(node.addresses),
                "hub": node.hub,
                "role": node.role or None,
                "behindNat": node.nat,
                "ways": [list(way) for way in node.ways],
            }
            for node in picture.nodes
        ],
        "tunnels": [
            {"a": tunnel.a, "b": tunnel.b, "mesh": tunnel.mesh, "use": tunnel.use.name.lower()}
            for tunnel in picture.tunnels
        ],
        "flows": [
            {
                "policy": flow.policy,
                "flow": flow.name,
                "protocol": flow.protocol,
                "ports": flow.ports,
                "from": list(flow.sources),
                "to": list(flow.targets),
                "until": None if flow.until is None else moment(flow.until),
            }
            for flow in picture.flows
        ],
    }
