"""MIG layouts: which have room, and what they come to on a host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.gpu.catalogue import Mig, catalogue
from swarmctl.gpu.mig import COMPUTE, fits, parts
from swarmctl.gpu.model import Wanted
from tests.gpu.hosts import HGX_H100, decided, host

TABLES = catalogue("nvidia").mig


@pytest.mark.parametrize(
    ("table", "layout", "room"),
    [
        ("80", {"1g.10gb": 7}, True),
        ("80", {"4g.40gb": 1, "3g.40gb": 1}, True),
        ("80", {"3g.40gb": 2}, True),
        ("80", {"3g.40gb": 2, "1g.10gb": 1}, False),
        ("80", {"4g.40gb": 1, "2g.20gb": 1, "1g.10gb": 1}, True),
        ("80", {"4g.40gb": 1, "2g.20gb": 2}, False),
        ("80", {"2g.20gb": 3, "1g.10gb": 1}, True),
        ("80", {"2g.20gb": 3, "1g.20gb": 1}, True),
        ("80", {"1g.20gb": 3, "1g.10gb": 3}, False),
        ("80", {"1g.20gb": 3, "1g.10gb": 2}, True),
        ("80", {"7g.80gb": 1, "1g.10gb": 1}, False),
        ("80", {"1g.10gb+me": 1, "1g.10gb": 6}, True),
        ("80", {"1g.10gb+me": 1, "1g.10gb": 7}, False),
        ("a30-24", {"1g.6gb": 2, "2g.12gb": 1}, True),
        ("a30-24", {"2g.12gb+me": 1, "1g.6gb+me": 1}, False),
        ("rtx-pro-6000-96", {"2g.48gb+gfx": 1, "1g.24gb": 2}, True),
        ("rtx-pro-6000-96", {"2g.48gb": 2, "1g.24gb": 1}, False),
    ],
)
def test_layouts_have_room_or_not(table: str, layout: dict[str, int], room: bool) -> None:
    assert fits(layout, TABLES[table]) is room


@st.composite
def layouts(draw: st.DrawFn) -> tuple[Mig, dict[str, int]]:
    table = TABLES[draw(st.sampled_from(sorted(TABLES)))]
    names = st.sampled_from(sorted(table.profiles))
    return table, draw(st.dictionaries(names, st.integers(1, 4), max_size=4))


@given(layouts(), st.data())
def test_what_fits_never_needs_more_than_the_card_has_and_fits_with_less(
    drawn: tuple[Mig, dict[str, int]], data: st.DataObject
) -> None:
    table, layout = drawn
    if not fits(layout, table):
        return
    whole = max(parts(profile)[1] for profile in table.profiles)
    assert sum(parts(profile)[0] * number for profile, number in layout.items()) <= COMPUTE[table.slices]
    assert sum(parts(profile)[1] * number for profile, number in layout.items()) <= whole * 1.03
    if layout:
        less = data.draw(st.sampled_from(sorted(layout)))
        assert fits({**layout, less: layout[less] - 1}, table)


@pytest.mark.parametrize(
    ("wanted", "total"),
    [
        ({"1g.10gb": 7}, {"1g.10gb": 56}),
        ("all-3g.40gb", {"3g.40gb": 16}),
        ("balanced", {"1g.10gb": 16, "2g.20gb": 8, "3g.40gb": 8}),
    ],
)
def test_a_layout_is_resolved_to_devices_of_the_host(wanted: str | dict[str, int], total: dict[str, int]) -> None:
    partitions = decided(host(*HGX_H100), Wanted("nvidia", mig=wanted)).partitions
    assert partitions is not None
    assert partitions.total == total
    assert len(partitions.cards) == 8
    for profile, number in total.items():
        assert sum(dict(each).get(profile, 0) for each in partitions.cards.values()) == number


def test_the_balanced_layout_is_each_cards_own() -> None:
    partitions = decided(host("A30", "H200"), Wanted("nvidia", mig="balanced")).partitions
    assert partitions is not None
    assert partitions.cards == {
        "0000:10:00.0": (("1g.6gb", 2), ("2g.12gb", 1)),
        "0000:11:00.0": (("1g.18gb", 2), ("2g.35gb", 1), ("3g.71gb", 1)),
    }


def test_only_cards_of_the_declared_model_are_divided() -> None:
    partitions = decided(host("H100", "T4"), Wanted("nvidia", "H100", mig="balanced")).partitions
    assert partitions is not None
    assert list(partitions.cards) == ["0000:10:00.0"]
