"""The picture of a mesh as text, JSON, Mermaid, DOT or SVG. Every renderer is a function of the picture alone."""

from __future__ import annotations

import importlib
import json
from typing import Any

from swarmctl.operations.graph import Group, Node, Picture
from swarmctl.reports.console import amount, names, safe


def render(picture: Picture, format_: str, *, flows: bool) -> str:
    """The picture in one of the formats, ending in a line break: text, json, and what a module `graph_FORMAT` draws."""
    if format_ == "text":
        return text(picture, flows=flows)
    if format_ == "json":
        return json.dumps(to_json(picture), indent=2, ensure_ascii=False) + "\n"
    drawn: str = importlib.import_module(f"{__package__}.graph_{format_}").render(picture, flows=flows)
    return drawn


def summary(picture: Picture) -> str:
    """`5 nodes, 2 regions, 10 tunnels, 2 hubs`."""
    hubs = sum(node.hub for node in picture.nodes)
    counts = [
        amount(len(picture.nodes), "node"),
        amount(len(picture.regions), "region"),
        amount(len(picture.tunnels), "tunnel"),
    ]
    return ", ".join([*counts, *([amount(hubs, "hub")] if hubs else [])])


def node_label(node: Node) -> str:
    """`workers-0 10.88.0.3`, with `(hub)` where it is one."""
    parts = [node.name, *node.addresses[:1], *(["(hub)"] if node.hub else [])]
    return " ".join(parts)


def group_label(group: Group, nodes: list[Node], inside: int) -> str:
    """`workers: 120 nodes, 7,140 tunnels among them`."""
    among = f", {amount(inside, 'tunnel')} among them" if inside else ""
    hubs = sum(node.hub for node in nodes)
    of_these = "" if not hubs else ", all of them hubs" if hubs == len(nodes) else f", {amount(hubs, 'hub')} among them"
    return f"{group.pool}: {amount(len(nodes), 'node')}{of_these}{among}"


def text(picture: Picture, *, flows: bool) -> str:
    """Regions, pools and nodes as an indented list; tunnels counted between pools."""
    lines = [f"{safe(picture.stack)}: {summary(picture)}", ""]
    groups = picture.groups
    for region, inside in picture.regions.items():
        lines.append(f"region {safe(region)}")
        for group in inside:
            lines.append(f"  pool {safe(group.pool)}, {amount(len(groups[group]), 'node')}")
            if picture.crowded:
                lines.append(f"    {safe(names((node.name for node in groups[group]), limit=12))}")
            else:
                width = max(len(node.name) for node in groups[group])
                lines += [
                    f"    {safe(node.name):{width}}  {' '.join(node.addresses)}{'  hub' if node.hub else ''}".rstrip()
                    for node in groups[group]
                ]
    if picture.tunnels:
        lines += ["", "tunnels"]
        lines += [
            f"  among {safe(one.pool)}: {count:,}"
            if one == other
            else f"  {safe(one.pool)} to {safe(other.pool)}: {count:,}"
            for (one, other), count in picture.bundles().items()
        ]
    if flows:
        lines += ["", "flows"]
        for flow in picture.flows:
            ends = f"{names(flow.sources) or 'no node'} to {names(flow.targets) or 'no node'}"
            lines.append(f"  {safe(flow.policy)}/{safe(flow.name)}: {flow.protocol} {flow.ports} from {safe(ends)}")
        lines += [] if picture.flows else ["  none: everything is denied"]
    return "\n".join(lines) + "\n"


def to_json(picture: Picture) -> dict[str, Any]:
    """`swarmctl/graph/v1`. Fields are added, never renamed, within a version."""
    return {
        "schema": "swarmctl/graph/v1",
        "stack": picture.stack,
        "nodes": [
            {
                "name": node.name,
                "cluster": node.cluster,
                "region": node.region,
                "pool": node.pool,
                "addresses": list(node.addresses),
                "hub": node.hub,
            }
            for node in picture.nodes
        ],
        "tunnels": [{"a": tunnel.a, "b": tunnel.b, "mesh": tunnel.mesh} for tunnel in picture.tunnels],
        "flows": [
            {
                "policy": flow.policy,
                "flow": flow.name,
                "protocol": flow.protocol,
                "ports": flow.ports,
                "from": list(flow.sources),
                "to": list(flow.targets),
            }
            for flow in picture.flows
        ],
    }
