"""The picture in Graphviz's DOT: `swarmctl graph --format dot | dot -Tpdf`."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.operations.graph import Picture
from swarmctl.reports.graph import group_label, node_label, summary

_HEAD = """  compound=true; rankdir=LR; bgcolor="transparent";
  graph [fontname="Helvetica,Arial,sans-serif"; fontcolor="#57606a"; color="#8c959f"; style=rounded];
  node [fontname="Helvetica,Arial,sans-serif"; fontsize=11; shape=box; style="rounded,filled"; fillcolor="#f6f8fa"; \
color="#57606a"; fontcolor="#1f2328"];
  edge [fontname="Helvetica,Arial,sans-serif"; fontsize=10; color="#6e7781"; fontcolor="#57606a"; dir=none];"""


def render(picture: Picture, *, flows: bool) -> str:
    """A digraph whose tunnels have no direction and whose flows have; one box per pool when the mesh is crowded."""
    return "\n".join([f"digraph {_quoted(picture.stack)} {{", _HEAD, *_body(picture, flows), "}", ""])


def _body(picture: Picture, flows: bool) -> Iterator[str]:
    groups, bundles, crowded = picture.groups, picture.bundles(), picture.crowded
    yield f"  label={_quoted(f'{picture.stack}: {summary(picture)}')}; labelloc=t;"
    anchors = {
        group: f"pool {group.region}/{group.pool}" if crowded else nodes[0].name for group, nodes in groups.items()
    }
    numbers = {group: place for place, group in enumerate(groups)}
    for place, (region, inside) in enumerate(picture.regions.items()):
        yield f"  subgraph cluster_region{place} {{ label={_quoted(f'region {region}')};"
        for group in inside:
            nodes = groups[group]
            if crowded:
                label = group_label(group, nodes, bundles.get((group, group), 0))
                yield f"    {_quoted(anchors[group])} [label={_quoted(label)}];"
                continue
            yield f"    subgraph cluster_pool{numbers[group]} {{ label={_quoted(f'pool {group.pool}')};"
            for node in nodes:
                hub = "; peripheries=2" if node.hub else ""
                yield f"      {_quoted(node.name)} [label={_quoted(node_label(node))}{hub}];"
            yield "    }"
        yield "  }"
    if crowded:
        for (one, other), count in bundles.items():
            if one != other:
                ends = f"{_quoted(anchors[one])} -> {_quoted(anchors[other])}"
                yield f"  {ends} [label={_quoted(f'{count:,} tunnels')}];"
    else:
        for tunnel in picture.tunnels:
            yield f"  {_quoted(tunnel.a)} -> {_quoted(tunnel.b)};"
    if flows:
        for flow, one, other in picture.flow_bundles():
            clusters = "" if crowded else f"; ltail=cluster_pool{numbers[one]}; lhead=cluster_pool{numbers[other]}"
            same = one == other
            label = _quoted(f"{flow.name} {flow.protocol} {flow.ports}")
            yield (
                f"  {_quoted(anchors[one])} -> {_quoted(anchors[other])} [label={label}; dir=forward; style=dashed; "
                f'color="#0969da"; constraint=false{"" if same else clusters}];'
            )


def _quoted(text: str) -> str:
    """A DOT string; backslashes are doubled because DOT's labels know escapes such as \\N."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return '"' + kept.replace("\\", "\\\\").replace('"', '\\"') + '"'
