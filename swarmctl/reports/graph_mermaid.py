"""The picture as Mermaid, for Markdown: GitHub, GitLab and others draw it."""

from __future__ import annotations

from swarmctl.operations.graph import Picture
from swarmctl.reports.graph import group_label, node_label, summary

INIT = "%%{init: {'theme': 'neutral'}}%%"
"""A theme that is legible on light and dark pages."""


def render(picture: Picture, *, flows: bool) -> str:
    """A flowchart with a box per region and pool. A crowded mesh is drawn with one box per pool and counted tunnels,
    because Mermaid draws no more than 500 lines."""
    crowded = picture.crowded
    groups, bundles = picture.groups, picture.bundles()
    ids = {node.name: f"n{place}" for place, node in enumerate(picture.nodes)}
    group_ids = {group: f"p{place}" for place, group in enumerate(groups)}
    arrows = picture.flow_bundles() if flows else []
    lines = [INIT, "flowchart LR", f"  %% {_comment(picture.stack)}: {summary(picture)}"]
    for place, (region, inside) in enumerate(picture.regions.items()):
        lines.append(f'  subgraph r{place}["region {_quoted(region)}"]')
        for group in inside:
            if crowded:
                label = group_label(group, groups[group], bundles.get((group, group), 0))
                lines.append(f'    {group_ids[group]}["{_quoted(label)}"]')
                continue
            among = [
                f"{flow.name} {flow.protocol} {flow.ports}" for flow, one, other in arrows if one == other == group
            ]
            label = "; ".join([f"pool {group.pool}", *(f"{flow} among them" for flow in among)])
            lines.append(f'    subgraph {group_ids[group]}["{_quoted(label)}"]')
            for node in groups[group]:
                left, right = ("{{", "}}") if node.hub else ("(", ")")
                lines.append(f'      {ids[node.name]}{left}"{_quoted(node_label(node))}"{right}')
            lines.append("    end")
        lines.append("  end")
    if crowded:
        lines += [
            f'  {group_ids[one]} ---|"{count:,} tunnels"| {group_ids[other]}'
            for (one, other), count in bundles.items()
            if one != other
        ]
    else:
        lines += [f"  {ids[tunnel.a]} --- {ids[tunnel.b]}" for tunnel in picture.tunnels]
    lines += [
        f'  {group_ids[one]} -. "{_quoted(f"{flow.name} {flow.protocol} {flow.ports}")}" .-> {group_ids[other]}'
        for flow, one, other in arrows
        # Mermaid can't draw an arrow from a box of nodes to itself: what flows among them stands in the box's title.
        if crowded or one != other
    ]
    hubs = [ids[node.name] for node in picture.nodes if node.hub and not crowded]
    if hubs:
        lines += ["  classDef hub stroke-width:3px", f"  class {','.join(hubs)} hub"]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """Text for a quoted label: Mermaid takes entities written with # in place of &."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return kept.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _comment(text: str) -> str:
    return "".join(character for character in text if character.isprintable() and character not in '"{}<>')
