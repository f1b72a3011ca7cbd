"""The shipped tables: each line in itself, and what they say together."""

from __future__ import annotations

import re

import msgspec
import pytest

from swarmctl.gpu import catalogue as module
from swarmctl.gpu.catalogue import Card, Catalogue, Mig, Vendor, catalogue, drivers, is_model, version_key
from swarmctl.gpu.mig import COMPUTE, STARTS, fits, parts
from tests.gpu.hosts import ALL

VENDORS: tuple[Vendor, ...] = ("nvidia", "amd")
MIGS = sorted(catalogue("nvidia").mig.items())


@pytest.mark.parametrize("vendor", VENDORS)
def test_ids_are_unique_and_written_as_pci_tells_them(vendor: Vendor) -> None:
    facts = catalogue(vendor)  # TOML itself refuses a key that is there twice
    assert module.VENDORS[facts.vendor] == vendor
    numbers = [*facts.cards, *facts.switches]
    assert len(numbers) == len(set(numbers))
    assert [number for number in numbers if not re.fullmatch(r"[0-9a-f]{4}", number)] == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_every_fact_names_its_source(vendor: Vendor) -> None:
    facts = catalogue(vendor)
    used = {"id", "memory", "minimum"}
    for card in facts.cards.values():
        used |= {name for name in ("nvlink", "confidential", "mig") if getattr(card, name)}
    if facts.switches:
        used.add("switches")
    assert used == set(facts.sources)
    assert {"version", "auto"} <= set(drivers(vendor).sources)
    assert [text for text in facts.sources.values() if len(text) < 10] == []


@pytest.mark.parametrize("vendor", VENDORS)
def test_cards_refer_to_what_is_there_and_nothing_there_is_unused(vendor: Vendor) -> None:
    facts = catalogue(vendor)
    assert {card.architecture for card in facts.cards.values()} == set(facts.architectures)
    assert {card.mig for card in facts.cards.values()} - {""} == set(facts.mig)


@pytest.mark.parametrize(("vendor", "number", "card"), ALL, ids=[f"{v}:{n}" for v, n, _ in ALL])
def test_each_card_is_plausible(vendor: Vendor, number: str, card: Card) -> None:
    assert 4 <= card.memory <= 512
    if card.form in ("SXM", "superchip"):
        assert card.nvlink >= 1
    for model in card.models:
        assert is_model(model, card)
        assert is_model(f"{vendor} {model.lower()}", card)
        said = re.search(r"(\d+)GB", model)
        # of a GH200 the names tell the memory of the processor
        assert said is None or int(said[1]) == card.memory or model.startswith("GH200")
    minimum = catalogue(vendor).minimum(card)
    assert minimum == "" or version_key(minimum)


@pytest.mark.parametrize(("name", "table"), MIGS)
def test_profiles_are_of_the_memory_of_their_cards(name: str, table: Mig) -> None:
    biggest = max(table.profiles, key=lambda profile: parts(profile)[1])
    assert parts(biggest)[0] == COMPUTE[table.slices]
    for card in catalogue("nvidia").cards.values():
        if card.mig == name:
            assert 0.9 * card.memory <= parts(biggest)[1] <= card.memory
    for profile, most in table.profiles.items():
        compute, memory, _ = parts(profile)
        assert compute in STARTS[table.slices]
        assert compute * most <= COMPUTE[table.slices]
        assert memory * most <= parts(biggest)[1] * 1.03  # each is rounded by itself


@pytest.mark.parametrize(("name", "table"), MIGS)
def test_as_many_as_the_table_says_fit_and_not_one_more(name: str, table: Mig) -> None:
    for profile, most in table.profiles.items():
        assert fits({profile: most}, table)
        plain = parts(profile)[2] in ("", "+me")
        assert not plain or not fits({profile: most + 1}, table)
    assert fits(table.balanced, table)


@pytest.mark.parametrize("vendor", VENDORS)
def test_branches_are_of_their_versions(vendor: Vendor) -> None:
    facts = drivers(vendor).branches
    for name, branch in facts.items():
        assert version_key(branch.version)[: len(version_key(name))] == version_key(name)
        assert not (branch.ended and branch.auto), "auto never takes a branch without security fixes"
        assert branch.ends == "" or re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", branch.ends)
    order = [branch.auto for branch in facts.values() if branch.auto is not None]
    assert sorted(order) == list(range(1, len(order) + 1))


def test_a_table_with_a_mistake_is_not_taken() -> None:
    good = msgspec.to_builtins(catalogue("amd"))
    msgspec.convert(good, Catalogue)
    with pytest.raises(msgspec.ValidationError, match="unknown field `nvlnk`"):
        msgspec.convert({**good, "cards": {"74a1": {**good["cards"]["74a1"], "nvlnk": 4}}}, Catalogue)


@pytest.mark.parametrize(
    ("wanted", "number", "named"),
    [
        ("H100", "2330", True),
        ("h100 80gb", "2330", True),
        ("NVIDIA H100 SXM", "2330", True),
        ("H100 PCIe", "2330", False),
        ("H100 94GB", "2330", False),
        ("H10", "2330", False),
        ("A2", "25b6", True),
        ("a16", "25b6", True),
        ("RTX 6000", "2bb5", False),
        ("RTX PRO 6000", "2bb5", True),
        ("RTX 6000", "26b1", True),
        ("RTX 4090", "2684", True),
        ("Tesla T4", "1eb8", True),
        ("nvidia", "1eb8", False),
        ("80GB", "2330", False),
    ],
)
def test_models_are_named_as_people_write_them(wanted: str, number: str, named: bool) -> None:
    assert is_model(wanted, catalogue("nvidia").cards[number]) is named


@pytest.mark.parametrize("text", ["", "580.", "580-1", "v580", "580.1.2.3.4.5", "5801234567", "٥٨٠"])
def test_what_is_no_version_is_no_version(text: str) -> None:
    with pytest.raises(ValueError, match="not a driver version"):
        version_key(text)
