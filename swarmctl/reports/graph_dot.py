"""The picture in Graphviz's DOT: `swarmctl graph --format dot | dot -Tpdf`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.operations.graph import Group, Picture, Use
from swarmctl.operations.graph_scheme import Count, Scheme, scheme
from swarmctl.reports.graph import (
    USES,
    among_label,
    flow_label,
    group_label,
    knot_label,
    node_label,
    region_told,
    summary,
    title,
    tunnels_label,
)

_HEAD = """  compound=true; rankdir=LR; bgcolor="transparent";
  graph [fontname="Helvetica,Arial,sans-serif"; fontcolor="#57606a"; color="#8c959f"; style=rounded];
  node [fontname="Helvetica,Arial,sans-serif"; fontsize=11; shape=box; style="rounded,filled"; fillcolor="#f6f8fa"; \
color="#57606a"; fontcolor="#1f2328"];
  edge [fontname="Helvetica,Arial,sans-serif"; fontsize=10; color="#6e7781"; fontcolor="#57606a"; dir=none];"""

_SHAPES = {
    "": "",
    "hub": "; peripheries=2",
    "gateway": '; shape=hexagon; style="filled"',
    "relay": '; shape=parallelogram; style="filled"',
    "transit": '; shape=octagon; style="filled"',
}
_LINES = {
    Use.DIRECT: "style=solid",
    Use.THROUGH: 'penwidth=2.2; color="#bf6a02"',
    Use.STANDBY: 'style=dotted; penwidth=1.6; color="#bf6a02"',
}
_SAID = {Use.THROUGH: "thick", Use.STANDBY: "dotted"}


def render(picture: Picture, *, flows: bool) -> str:
    """A digraph whose tunnels have no direction and whose flows have; one box per pool when the mesh is crowded."""
    return "\n".join([f"digraph {_quoted(picture.stack)} {{", _HEAD, *_body(picture, flows), "}", ""])


def _body(picture: Picture, flows: bool) -> Iterator[str]:
    found, crowded = scheme(picture), picture.crowded
    uses = {tunnel.use for tunnel in picture.tunnels} - {Use.DIRECT}
    legend = "".join(f"\n{_SAID[use]}: {USES[use]}" for use in sorted(uses, reverse=True))
    if flows:
        legend += "".join(f"\n{among_label(flow)}" for flow in picture.flows if picture.among_many(flow))
    yield f"  label={_quoted(f'{title(picture)}: {summary(picture)}{legend}', breaks=True)}; labelloc=t;"
    anchors = {
        group: f"pool {place} {group.region}/{group.pool}" if crowded else nodes[0].name
        for place, (group, nodes) in enumerate(picture.groups.items())
    }
    numbers = {group: place for place, group in enumerate(picture.groups)}
    for place, (region, inside) in enumerate(picture.regions.items()):
        told = region_told(found, region) if crowded else ""
        label = _quoted(f"region {region}; {told}" if told else f"region {region}")
        yield f"  subgraph cluster_region{place} {{ label={label};"
        for group in inside:
            nodes = picture.groups[group]
            if crowded:
                label = group_label(group, nodes, found.inside.get(group, Count()).tunnels)
                yield f"    {_quoted(anchors[group])} [label={_quoted(label)}{_shape(group.role, nat=group.nat)}];"
                continue
            yield f"    subgraph cluster_pool{numbers[group]} {{ label={_quoted(f'pool {group.pool}')};"
            for node in nodes:
                shape = _shape(node.role, nat=node.nat)
                yield f"      {_quoted(node.name)} [label={_quoted(node_label(node))}{shape}];"
            yield "    }"
        yield "  }"
    if crowded:
        yield from _bundles(picture, found, anchors)
    else:
        for tunnel in picture.tunnels:
            style = f" [{_LINES[tunnel.use]}]" if tunnel.use else ""
            yield f"  {_quoted(tunnel.a)} -> {_quoted(tunnel.b)}{style};"
    for flow, one, other in picture.flow_bundles(few=True) if flows else ():
        clusters = "" if crowded else f"; ltail=cluster_pool{numbers[one]}; lhead=cluster_pool{numbers[other]}"
        yield (
            f"  {_quoted(anchors[one])} -> {_quoted(anchors[other])} [label={_quoted(flow_label(flow))}; dir=forward; "
            f'style=dashed; color="#0969da"; constraint=false{"" if one == other else clusters}];'
        )


def _bundles(picture: Picture, found: Scheme, anchors: Mapping[Group, str]) -> Iterator[str]:
    sizes = {group: len(nodes) for group, nodes in picture.groups.items()}
    for place, knot in enumerate(found.knots):
        told = _quoted(f"{knot_label(knot, sizes)}: {tunnels_label(knot.count)}")
        yield f"  {_quoted(f'knot {place}')} [label={told}; shape=ellipse];"
        for group in knot.groups:
            yield f"  {_quoted(anchors[group])} -> {_quoted(f'knot {place}')} [{_LINES[knot.count.use]}];"
    for (one, other), count in found.lines.items():
        label = f"label={_quoted(tunnels_label(count))}; {_LINES[count.use]}"
        yield f"  {_quoted(anchors[one])} -> {_quoted(anchors[other])} [{label}];"


def _shape(role: str, *, nat: bool) -> str:
    return _SHAPES[role] + ('; style="rounded,filled,dashed"' if nat else "")


def _quoted(text: str, *, breaks: bool = False) -> str:
    """A DOT string; backslashes are doubled because DOT's labels know escapes such as \\N. `breaks`: keep those."""
    kept = "".join(
        character if character.isprintable() or (breaks and character == "\n") else " " for character in text
    )
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
