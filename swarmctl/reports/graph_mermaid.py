"""The picture as Mermaid, for Markdown: GitHub, GitLab and others draw it."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.operations.graph import Group, Picture, Use
from swarmctl.operations.graph_scheme import Count, scheme
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

INIT = "%%{init: {'theme': 'neutral'}}%%"
"""A theme that is legible on light and dark pages."""
SHAPES = {"": ("(", ")"), "hub": ("{{", "}}"), "gateway": ("[[", "]]"), "relay": ("[/", "/]"), "transit": ("([", "])")}
"""Of nodes by their role."""
LINES = {Use.DIRECT: "---", Use.THROUGH: "===", Use.STANDBY: "-.-"}


def render(picture: Picture, *, flows: bool) -> str:
    """A flowchart with a box per region and pool. A crowded mesh is drawn with one box per pool and counted tunnels,
    because Mermaid draws no more than 500 lines."""
    return "\n".join(_Chart(picture, flows).lines()) + "\n"


class _Chart:
    def __init__(self, picture: Picture, flows: bool) -> None:
        self.picture = picture
        self.nodes = {node.name: f"n{place}" for place, node in enumerate(picture.nodes)}
        self.groups = {group: f"p{place}" for place, group in enumerate(picture.groups)}
        self.scheme = scheme(picture)
        self.arrows = picture.flow_bundles(few=True) if flows else []
        self.told = [among_label(flow) for flow in picture.flows if flows and picture.among_many(flow)]

    def lines(self) -> Iterator[str]:
        """Everything."""
        yield from (INIT, "flowchart LR", f"  %% {_comment(title(self.picture))}: {summary(self.picture)}")
        for place, (region, inside) in enumerate(self.picture.regions.items()):
            told = region_told(self.scheme, region) if self.picture.crowded else ""
            yield f'  subgraph r{place}["{_quoted("; ".join([f"region {region}", *([told] if told else [])]))}"]'
            for group in inside:
                yield from self._pool(group) if self.picture.crowded else self._members(group)
            yield "  end"
        yield from self._bundles() if self.picture.crowded else self._tunnels()
        yield from self._flows()
        yield from self._legend()
        yield from self._classes()

    def _pool(self, group: Group) -> Iterator[str]:
        inside = self.scheme.inside.get(group, Count()).tunnels
        left, right = SHAPES[group.role] if group.role else ("[", "]")
        label = group_label(group, self.picture.groups[group], inside)
        yield f'    {self.groups[group]}{left}"{_quoted(label)}"{right}'

    def _members(self, group: Group) -> Iterator[str]:
        among = [flow_label(flow) for flow, one, other in self.arrows if one == other == group]
        label = "; ".join([f"pool {group.pool}", *(f"{flow} among them" for flow in among)])
        yield f'    subgraph {self.groups[group]}["{_quoted(label)}"]'
        for node in self.picture.groups[group]:
            left, right = SHAPES[node.role]
            yield f'      {self.nodes[node.name]}{left}"{_quoted(node_label(node))}"{right}'
        yield "    end"

    def _tunnels(self) -> Iterator[str]:
        for tunnel in self.picture.tunnels:
            yield f"  {self.nodes[tunnel.a]} {LINES[tunnel.use]} {self.nodes[tunnel.b]}"

    def _bundles(self) -> Iterator[str]:
        sizes = {group: len(nodes) for group, nodes in self.picture.groups.items()}
        for place, knot in enumerate(self.scheme.knots):
            told = f"{knot_label(knot, sizes)}: {tunnels_label(knot.count)}"
            yield f'  k{place}(["{_quoted(told)}"])'
            for group in knot.groups:
                yield f"  {self.groups[group]} {LINES[knot.count.use]} k{place}"
        for (one, other), count in self.scheme.lines.items():
            told = _quoted(tunnels_label(count))
            yield f'  {self.groups[one]} {LINES[count.use]}|"{told}"| {self.groups[other]}'

    def _flows(self) -> Iterator[str]:
        for flow, one, other in self.arrows:
            # Mermaid can't draw an arrow from a box of nodes to itself: what flows among them stands in its title.
            if self.picture.crowded or one != other:
                yield f'  {self.groups[one]} -. "{_quoted(flow_label(flow))}" .-> {self.groups[other]}'

    def _legend(self) -> Iterator[str]:
        """What lines mean that are no plain tunnels, and flows without arrows; shapes need none: labels say it all."""
        uses = {tunnel.use for tunnel in self.picture.tunnels} - {Use.DIRECT}
        if uses or self.told:
            yield '  subgraph legend["legend"]'
            for use in sorted(uses, reverse=True):
                yield f'    l{use}a[" "] {LINES[use]}|"{USES[use]}"| l{use}b[" "]'
            for place, told in enumerate(self.told):
                yield f'    f{place}["{_quoted(told)}"]'
            yield "  end"

    def _classes(self) -> Iterator[str]:
        drawn = [(node.role, node.nat, self.nodes[node.name]) for node in self.picture.nodes]
        if self.picture.crowded:
            drawn = [(group.role, group.nat, known) for group, known in self.groups.items()]
        passing = [known for role, _, known in drawn if role]
        hidden = [known for _, nat, known in drawn if nat]
        if passing:
            yield from ("  classDef hub stroke-width:3px", f"  class {','.join(passing)} hub")
        if hidden:
            yield from ("  classDef nat stroke-dasharray:4 3", f"  class {','.join(hidden)} nat")


def _quoted(text: str) -> str:
    """Text for a quoted label: Mermaid takes entities written with # in place of &."""
    kept = "".join(character if character.isprintable() else " " for character in text)
    return kept.replace("#", "#35;").replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")


def _comment(text: str) -> str:
    return "".join(character for character in text if character.isprintable() and character not in '"{}<>')
