"""The picture of a mesh, in every format."""

from __future__ import annotations

import itertools
import json
import math
import re
import shutil
import subprocess
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from swarmctl.cli import run
from swarmctl.errors import ExitCode
from swarmctl.operations import graph as operation
from swarmctl.operations.graph import Node, Picture, Tunnel, picture
from swarmctl.reports.geometry import Box, Point
from swarmctl.reports.graph import render
from swarmctl.reports.graph_layout import label_width, lay_out
from tests.status.world import declared

LARGE = {
    "control": (5, "eu-central", "head"),
    "workers": (140, "eu-central", "worker"),
    "gpu": (200, "us-east", "worker"),
    "edge": (155, "ap-south", "worker"),
}
MIDDLE = {
    "control": (4, "eu", "head"),
    "workers": (9, "eu", "worker"),
    "gpu": (9, "us", "worker"),
    "edge": (8, "ap", "worker"),
}
EVIL = 'a"];\n<script>&\\N#%%{}\x1b\x00'
SVG = "{http://www.w3.org/2000/svg}"


def inside(box: Box, point: Point) -> bool:
    return box.x <= point.x <= box.x + box.width and box.y <= point.y <= box.y + box.height


def seen(pools: Any = None, *, hubs: str = "") -> Picture:
    if pools is LARGE and not hubs:
        return large()
    return picture(declared(hubs=hubs) if pools is None else declared(pools=pools, hubs=hubs))


@cache
def large() -> Picture:
    return picture(declared(pools=LARGE))


def evil() -> Picture:
    nodes = tuple(Node(f"{EVIL}{place}", EVIL, EVIL, EVIL, (EVIL,)) for place in range(2))
    return Picture(EVIL, nodes, (Tunnel(nodes[0].name, nodes[1].name, EVIL),), ())


def test_a_tunnel_is_drawn_once_although_both_ends_have_it() -> None:
    tunnels = seen().tunnels
    assert len(tunnels) == 10
    assert Tunnel("control-0", "workers-2", "backbone") in tunnels


def test_spokes_have_tunnels_to_hubs_only() -> None:
    with_hubs = seen(hubs="control")
    assert {node.name for node in with_hubs.nodes if node.hub} == {"control-0", "control-1"}
    assert len(with_hubs.tunnels) == 7
    assert not any(tunnel.a.startswith("workers") and tunnel.b.startswith("workers") for tunnel in with_hubs.tunnels)


def test_flows_run_between_pools_and_not_from_a_node_to_itself() -> None:
    pools = {"control": (1, "eu", "head"), "workers": (1, "us", "worker")}
    arrows = {(flow.name, one.pool, other.pool) for flow, one, other in seen(pools).flow_bundles()}
    assert arrows == {("ray-head", "workers", "control"), ("metrics", "control", "workers")}


def test_text() -> None:
    assert render(seen(hubs="control"), "text", flows=True) == (
        "lab: 5 nodes, 2 regions, 7 tunnels, 2 hubs\n"
        "\n"
        "region eu-central\n"
        "  pool control, 2 nodes\n"
        "    control-0  10.88.0.1 fd88::1  hub\n"
        "    control-1  10.88.0.2 fd88::2  hub\n"
        "region us-east\n"
        "  pool workers, 3 nodes\n"
        "    workers-0  10.88.0.3 fd88::3\n"
        "    workers-1  10.88.0.4 fd88::4\n"
        "    workers-2  10.88.0.5 fd88::5\n"
        "\n"
        "tunnels\n"
        "  among control: 1\n"
        "  control to workers: 6\n"
        "\n"
        "flows\n"
        "  baseline/ray-head: tcp 6379, 10001-10010 from workers-0, workers-1, workers-2 to control-0, control-1\n"
        "  baseline/metrics: tcp 9100 from control-0, control-1 "
        "to control-0, control-1, workers-0, workers-1, workers-2\n"
        "  baseline/gossip: udp 7946 from workers-0, workers-1, workers-2 to workers-0, workers-1, workers-2\n"
    )


def test_json() -> None:
    document = json.loads(render(seen(), "json", flows=False))
    assert document["schema"] == "swarmctl/graph/v1"
    assert len(document["nodes"]) == 5
    assert document["tunnels"][0] == {"a": "control-0", "b": "control-1", "mesh": "backbone", "use": "direct"}
    assert document["flows"][0]["ports"] == "6379, 10001-10010"


MERMAID = """\
%%{init: {'theme': 'neutral'}}%%
flowchart LR
  %% lab: 5 nodes, 2 regions, 7 tunnels, 2 hubs
  subgraph r0["region eu-central"]
    subgraph p0["pool control; metrics tcp 9100 among them"]
      n0{{"control-0 10.88.0.1 (hub)"}}
      n1{{"control-1 10.88.0.2 (hub)"}}
    end
  end
  subgraph r1["region us-east"]
    subgraph p1["pool workers; gossip udp 7946 among them"]
      n2("workers-0 10.88.0.3")
      n3("workers-1 10.88.0.4")
      n4("workers-2 10.88.0.5")
    end
  end
  n0 --- n1
  n0 --- n2
  n0 --- n3
  n0 --- n4
  n1 --- n2
  n1 --- n3
  n1 --- n4
  p1 -. "ray-head tcp 6379, 10001-10010" .-> p0
  p0 -. "metrics tcp 9100" .-> p1
  classDef hub stroke-width:3px
  class n0,n1 hub
"""


def test_mermaid() -> None:
    assert render(seen(hubs="control"), "mermaid", flows=True) == MERMAID


@pytest.mark.parametrize("pools", [None, MIDDLE, LARGE], ids=["small", "middle", "large"])
def test_mermaid_closes_what_it_opens_and_stays_under_mermaids_limit(pools: Any) -> None:
    lines = [line.strip() for line in render(seen(pools), "mermaid", flows=True).splitlines()]
    assert sum(line.startswith("subgraph") for line in lines) == lines.count("end")
    edges = [line for line in lines if re.match(r"\w+ (---|-\.)", line)]
    assert 0 < len(edges) <= 500
    known = set(re.findall(r"\b([nprk]\d+)(?=[\[({])", "\n".join(lines)))
    for line in edges:
        assert {line.split()[0], line.split()[-1]} <= known, line


def test_labels_cannot_break_out_of_mermaid() -> None:
    drawn = render(evil(), "mermaid", flows=False)
    assert "\x1b" not in drawn
    assert "<script" not in drawn
    for line in drawn.splitlines():
        assert line.count('"') in (0, 2), line


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize("pools", [None, LARGE], ids=["small", "large"])
def test_dot_is_what_graphviz_reads(pools: Any, flows: bool) -> None:
    drawn = render(seen(pools, hubs="control"), "dot", flows=flows)
    run_ = subprocess.run(["dot", "-Tplain"], input=drawn, capture_output=True, text=True, check=True)
    assert run_.stderr == ""
    kinds = Counter(line.split()[0] for line in run_.stdout.splitlines())
    assert kinds["node"] == (5 if pools is None else 4)
    assert kinds["edge"] >= (7 if pools is None else 3)


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_labels_cannot_break_out_of_dot() -> None:
    drawn = render(evil(), "dot", flows=True)
    run_ = subprocess.run(["dot", "-Tplain"], input=drawn, capture_output=True, text=True, check=True)
    assert Counter(line.split()[0] for line in run_.stdout.splitlines())["node"] == 2


@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize("pools", [None, MIDDLE, LARGE], ids=["small", "middle", "large"])
def test_svg_is_well_formed_accessible_and_shows_every_node(pools: Any, flows: bool) -> None:
    shown = seen(pools)
    root = ElementTree.fromstring(render(shown, "svg", flows=flows))
    assert root.get("role") == "img"
    assert root.findtext(f"{SVG}title") == "Mesh of lab"
    assert str(len(shown.nodes)) in (root.findtext(f"{SVG}desc") or "")
    tips = [element.text or "" for element in root.iter(f"{SVG}title")]
    assert {node.name for node in shown.nodes} <= {tip.split(",")[0] for tip in tips}
    words = {element.text for element in root.iter(f"{SVG}text")}
    assert {f"pool {node.pool}" for node in shown.nodes} | set(shown.regions) <= words
    assert bool(list(root.iter(f"{SVG}path"))) is True


def test_svg_draws_every_tunnel_of_a_small_mesh_and_numbers_the_bundles_of_a_large_one() -> None:
    small = render(seen(), "svg", flows=False)
    assert len(re.findall(r'<path d="M[\d. -]+L', small)) == 10
    root = ElementTree.fromstring(render(seen(LARGE), "svg", flows=False))
    words = [element.text or "" for element in root.iter(f"{SVG}text")]
    assert {"full mesh of 500 nodes", "124,750 tunnels"} <= set(words)
    assert "workers, 140 nodes" in words
    assert len(render(seen(LARGE), "svg", flows=True)) < 200_000


def test_svg_marks_hubs_and_says_so() -> None:
    drawn = render(seen(hubs="control"), "svg", flows=False)
    assert drawn.count('class="ring"') == 3, "two nodes and the legend"
    assert ">hub 10.88.0.1<" in drawn


def test_labels_cannot_break_out_of_svg() -> None:
    root = ElementTree.fromstring(render(evil(), "svg", flows=True))
    assert not list(root.iter(f"{SVG}script"))
    assert any("<script>" in (element.text or "") for element in root.iter(f"{SVG}text"))


@pytest.mark.parametrize("count", [1, 2, 3, 4, 7, 12])
def test_regions_never_overlap_and_nodes_stay_inside_of_theirs(count: int) -> None:
    pools = {f"p{region}": (1 + region % 3, f"region-{region}", "worker") for region in range(count)}
    shown = seen(pools)
    layout = lay_out(shown)
    arcs = sorted(layout.region_arcs.values(), key=lambda arc: arc.begin)
    assert all(one.end < other.begin for one, other in itertools.pairwise(arcs))
    assert arcs[-1].end < arcs[0].begin + math.tau
    for node in shown.nodes:
        point, arc = layout.spots[node.name].point, layout.region_arcs[node.region]
        assert math.hypot(point.x, point.y) == pytest.approx(layout.radius)
        assert any(layout.on_ring(angle) == point for angle in (arc.begin, arc.middle, arc.end))


def labels_of(shown: Picture) -> list[Box]:
    """What the nodes' labels take up in the ring."""
    layout = lay_out(shown)
    room = [layout.spots[node.name].label_box(label_width(node)) for node in shown.nodes]
    return [box for box in room if box is not None]


@pytest.mark.parametrize("split", ["one region", "two regions", "four regions"])
@pytest.mark.parametrize("count", [4, 5, 6, 7, 9, 12, 13, 16, 20, 23, 27, 30])
def test_labels_of_a_ring_never_overlap_and_stay_inside_of_the_picture(count: int, split: str) -> None:
    regions = {"one region": 1, "two regions": 2, "four regions": 4}[split]
    sizes = [count // regions + (count % regions > place) for place in range(regions)]
    shown = seen({f"workers{place}": (size, f"r{place}", "worker") for place, size in enumerate(sizes)})
    layout = lay_out(shown)
    boxes = [*labels_of(shown), *layout.titles.values()]
    assert len(boxes) == count + regions
    assert not any(one.meets(other) for place, one in enumerate(boxes) for other in boxes[place + 1 :])
    for box in boxes:
        assert inside(layout.bounds, Point(box.x, box.y))
        assert inside(layout.bounds, Point(box.x + box.width, box.y + box.height))


@pytest.mark.parametrize("count", [2, 3, 4, 5, 7, 12, 18, 23, 30])
def test_no_label_reaches_into_the_ring_where_tunnels_and_flows_run(count: int) -> None:
    shown = seen({"control": (1, "eu", "head"), "workers": (count - 1, "us", "worker")})
    radius = lay_out(shown).radius
    for box in labels_of(shown):
        nearest = Point(max(box.x, min(0.0, box.x + box.width)), max(box.y, min(0.0, box.y + box.height)))
        assert math.hypot(nearest.x, nearest.y) > radius


def test_a_label_that_had_to_move_away_is_joined_to_its_node() -> None:
    assert 'class="leader"' not in render(seen(), "svg", flows=False)
    drawn = render(seen(MIDDLE), "svg", flows=False)
    starts = {(float(x), float(y)) for x, y in re.findall(r'class="leader" d="M([-\d.]+) ([-\d.]+)L', drawn)}
    spots = lay_out(seen(MIDDLE)).spots
    assert (round(spots["control-0"].point.x, 1), round(spots["control-0"].point.y, 1)) in starts
    assert len(starts) < len(spots) / 2


@pytest.mark.parametrize("pools", [None, MIDDLE, LARGE], ids=["small", "middle", "large"])
def test_every_flow_is_drawn_and_named_those_within_a_pool_too(pools: Any) -> None:
    shown = seen(pools)
    root = ElementTree.fromstring(render(shown, "svg", flows=True))
    words = Counter((element.text or "").removesuffix(" \u21bb") for element in root.iter(f"{SVG}text"))
    for flow, count in Counter(flow.name for flow, _, _ in shown.flow_bundles(few=True)).items():
        assert words[flow] == count
    paths = [element.get("d") for element in root.iter(f"{SVG}path") if element.get("class") == "flow"]
    told = sum(not shown.among_many(flow) for flow in shown.flows)
    assert len(set(paths)) == len(paths) - told + 1, "each has its own way; those of the legend are equal"


def test_flows_between_the_same_pools_keep_apart() -> None:
    shown = seen()
    root = ElementTree.fromstring(render(shown, "svg", flows=True))
    grounds = [
        Box(*(float(element.get(key, "")) for key in ("x", "y", "width", "height")))
        for element in root.iter(f"{SVG}rect")
        if element.get("class") == "count"
    ]
    assert len(grounds) == 4
    assert not any(one.meets(other) for place, one in enumerate(grounds) for other in grounds[place + 1 :])


def test_boxes_know_when_they_meet() -> None:
    assert Box(0, 0, 10, 10).meets(Box(9, 9, 5, 5))
    assert not Box(0, 0, 10, 10).meets(Box(11, 0, 5, 5))
    assert Box(0, 0, 10, 10).meets(Box(11, 0, 5, 5), gap=2)


@pytest.mark.parametrize("format_", ["text", "json", "mermaid", "dot", "svg"])
def test_a_stack_without_machines_can_be_drawn(format_: str) -> None:
    assert render(seen({}), format_, flows=True)


def test_the_command_writes_a_file_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(operation, "declared", lambda folder, emit: declared())
    file = tmp_path / "mesh.svg"
    assert run(["-C", str(tmp_path), "graph", "--format", "svg", "--output", str(file)]) == 0
    assert file.read_text().startswith("<svg")
    assert capsys.readouterr().out == ""
    assert run(["-C", str(tmp_path), "graph", "-o", str(tmp_path / "no" / "mesh.svg")]) == ExitCode.FAILED
    assert "cannot be written: No such file or directory" in capsys.readouterr().err
