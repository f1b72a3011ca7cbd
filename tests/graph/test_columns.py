"""Where things stand in the drawing of a crowded mesh."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import combinations
from xml.etree import ElementTree

import pytest

from swarmctl.operations.graph import focused
from swarmctl.reports.geometry import Box, Point
from swarmctl.reports.graph import render
from swarmctl.reports.graph_svg_cards import Cards
from swarmctl.reports.svg import MOST_ARROWS
from tests.graph.topologies import TOPOLOGIES, params, seen

SVG = "{http://www.w3.org/2000/svg}"
WIDE = 0.62
"""Width of a character as a part of its height, in a wide font; bold ones take a tenth more."""
CROWDED = [(topology, size) for topology in TOPOLOGIES for size in (50, 500)]
CROWDED += [("full", 0), ("regions", 0), ("relays", 0)]


@cache
def drawn(topology: str, size: int, *, flows: bool) -> Cards:
    return Cards(seen(topology, size), flows=flows)


def within(box: Box, other: Box) -> bool:
    return (
        box.x >= other.x - 0.01
        and box.y >= other.y - 0.01
        and box.x + box.width <= other.x + other.width + 0.01
        and box.y + box.height <= other.y + other.height + 0.01
    )


@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize(("topology", "size"), params(*CROWDED))
def test_nothing_overlaps_and_no_line_crosses_a_card(topology: str, size: int, flows: bool) -> None:
    cards = drawn(topology, size, flows=flows)
    layout = cards.layout
    assert not any(one.meets(other) for one, other in combinations(layout.cards.values(), 2))
    assert not any(one.meets(other) for one, other in combinations(layout.regions.values(), 2))
    assert not any(one.meets(other, 8) for one, other in combinations(layout.knots, 2))
    for group, card in layout.cards.items():
        assert within(card, layout.regions[group.region])
    for node in cards.picture.nodes:
        at = layout.spots[node.name]
        assert within(Box(at.x - 8, at.y - 8, 16, 16), layout.cards[cards.picture.where[node.name]])
    for curve in cards.curves:
        # All of a curve lies between the points that it is made of.
        for point in (curve.start, curve.first, curve.second, curve.end):
            assert layout.strip.x - 0.01 <= point.x <= layout.strip.x + layout.strip.width + 0.01
        assert within(Box(curve.start.x, curve.start.y, 0, 0), layout.bounds)
    for card in [*layout.cards.values(), *layout.knots]:
        assert within(card, layout.bounds)
        assert not card.meets(layout.strip, -0.01) or card in layout.knots


@pytest.mark.parametrize(("topology", "size"), params(*CROWDED))
def test_the_ends_of_a_knot_run_behind_no_other_knot(topology: str, size: int) -> None:
    cards = drawn(topology, size, flows=False)
    for (_, end), curve in zip(cards.ends, cards.curves, strict=True):
        if isinstance(end, int):
            inner = [Box(box.x + 1, box.y, box.width - 2, box.height) for box in cards.layout.knots]
            assert not any(box.around(point, 0) for box in inner for point in curve.points())


@pytest.mark.parametrize(("topology", "size"), params(*CROWDED))
def test_lines_leave_a_card_apart(topology: str, size: int) -> None:
    cards = drawn(topology, size, flows=False)
    starts = [(curve.start.x, curve.start.y) for curve in cards.curves]
    assert len(set(starts)) == len(starts)


@pytest.mark.parametrize("flows", [False, True])
@pytest.mark.parametrize(("topology", "size"), params(*CROWDED))
def test_words_fit_where_they_stand(topology: str, size: int, flows: bool) -> None:
    root = ElementTree.fromstring(render(seen(topology, size), "svg", flows=flows))
    page = Box(0, 0, float(root.get("width", "")), float(root.get("height", "")))
    cards = drawn(topology, size, flows=flows)
    found = list(words(root, Point(0, 0)))
    assert len(found) > 10
    for text, box in found:
        assert within(box, page), text
    moved = cards.layout
    offset = next(
        Point(*map(float, element.get("transform", "")[10:-1].split()))
        for element in root.iter(f"{SVG}g")
        if element.get("transform")
    )
    for group, card in moved.cards.items():
        place = Box(card.x + offset.x, card.y + offset.y, card.width, card.height)
        inside = [(text, box) for text, box in found if place.around(Point(box.x, box.y + box.height), 0)]
        assert inside, group
        for text, box in inside:
            assert within(box, place) or text.endswith("\u21bb"), text


def words(element: ElementTree.Element, offset: Point) -> Iterator[tuple[str, Box]]:
    """Every text with about what it takes up."""
    if (moved := element.get("transform", "")).startswith("translate("):
        right, _, down = moved[10:-1].partition(" ")
        offset = offset + Point(float(right), float(down or 0))
    if element.tag == f"{SVG}text":
        style = element.get("class", "").split()
        high = 22.0 if "title" in style else 11.0 if "small" in style else 12.0
        width = len(element.text or "") * high * WIDE * (1.1 if {"name", "title", "strong"} & set(style) else 1.0)
        x = float(element.get("x", "")) - (width / 2 if element.get("text-anchor") == "middle" else 0)
        yield element.text or "", Box(offset.x + x, offset.y + float(element.get("y", "")) - high, width, high)
    for child in element:
        yield from words(child, offset)


def test_arrows_that_are_too_many_are_told_and_not_drawn() -> None:
    cards = Cards(seen("hubs", 500), flows=True)
    assert cards.left_out > MOST_ARROWS
    assert not cards.arrows
    drawn = render(seen("hubs", 500), "svg", flows=True)
    assert f"{cards.left_out} arrows between pools are too many to be drawn" in drawn
    assert "until 2099-12-01T00:00:00Z" in drawn


@pytest.mark.slow
def test_one_node_among_many_is_drawn() -> None:
    drawn = render(focused(seen("full", 500), "workers-us-7"), "svg", flows=False)
    assert ">lab, workers-us-7<" in drawn
    assert ">139<" in drawn
    assert "among them<" not in drawn, "of others only what they have to do with the node is known here"
