"""docs/gpu.md says what the tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.gpu.catalogue import Card, Vendor, catalogue, drivers

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "gpu.md").read_text()
VENDORS: tuple[Vendor, ...] = ("nvidia", "amd")


def row(number: str, card: Card) -> str:
    extras = [f"NVLink {card.nvlink}"] if card.nvlink else []
    extras += ["confidential computing"] if card.confidential else []
    extras += [f"MIG `{card.mig}`"] if card.mig else []
    cells = [
        f"`{number}`",
        ", ".join(card.models),
        card.architecture,
        f"{card.memory} GB",
        card.form,
        ", ".join(extras),
    ]
    return f"| {' | '.join(cells)} |"


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_card_is_on_the_page_as_it_is_in_the_table(vendor: Vendor) -> None:
    facts = catalogue(vendor)
    assert [row(number, card) for number, card in facts.cards.items() if row(number, card) not in PAGE] == []


def test_no_other_card_is_on_the_page() -> None:
    rows = {row(number, card) for vendor in VENDORS for number, card in catalogue(vendor).cards.items()}
    there = [line for line in PAGE.splitlines() if line.startswith("| `") and line.count("|") == 7]
    assert [line for line in there if line not in rows] == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_branches_and_sources_are_on_the_page(vendor: Vendor) -> None:
    for name, branch in drivers(vendor).branches.items():
        assert f"| {name} | {branch.version} | {branch.kind} |" in PAGE
    for sources in (catalogue(vendor).sources, drivers(vendor).sources):
        assert [text for text in sources.values() if text not in " ".join(PAGE.split())] == []


def test_profiles_are_on_the_page() -> None:
    for name, table in catalogue("nvidia").mig.items():
        counts = ", ".join(f"{profile} {most}" for profile, most in table.profiles.items())
        assert f"| `{name}` | {table.slices} | {counts} |" in PAGE
