"""What holds of every host and every declaration that can be drawn from the tables."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from swarmctl.gpu import amd
from swarmctl.gpu.branch import fitting, obstacle
from swarmctl.gpu.catalogue import Vendor, catalogue, drivers, tables
from swarmctl.gpu.decide import decide
from swarmctl.gpu.lockstep import contrary, mismatches
from swarmctl.gpu.model import Cards, Decision, Device, Host, Wanted

SYSTEMS = [
    ("debian", "12"),
    ("debian", "13"),
    ("ubuntu", "22.04"),
    ("ubuntu", "24.04"),
    ("rhel", "8.10"),
    ("ol", "9"),
    ("rocky", "9.6"),
    ("rocky", "10.0"),
]


UNKNOWN = "ffff"
"""The PCI id of a card that is in no table."""
MIXED = {"amdgpu-dkms": "1:6.12.12.60404-2202139.24.04", "rocm-core": "6.4.4.60404-129~24.04"}
"""Of a release from before those that are known."""


@st.composite
def hosts(draw: st.DrawFn, vendor: Vendor) -> Host:
    facts = catalogue(vendor)
    cpu = draw(st.sampled_from(["x86_64", "aarch64"]))
    able = [number for number, card in facts.cards.items() if facts.architecture(card).cpu in ("", cpu)]
    numbers = draw(st.lists(st.sampled_from(able), min_size=1, max_size=8))
    switches = draw(st.lists(st.sampled_from(sorted(facts.switches)), max_size=6)) if facts.switches else []
    found = [
        Device(f"0000:{place:02x}:00.0", facts.vendor, number, "0302" if place < len(numbers) else "0680")
        for place, number in enumerate([*numbers, *switches])
    ]
    found += [
        Device(f"0000:e{number}:00.0", facts.vendor, UNKNOWN, "0300") for number in range(draw(st.integers(0, 2)))
    ]
    name, release = draw(st.sampled_from(SYSTEMS))
    options = st.sampled_from([None, True, False])
    return Host(tuple(draw(st.permutations(found))), cpu, name, release, draw(options), draw(options))


@st.composite
def cases(draw: st.DrawFn) -> tuple[Host, Wanted]:
    vendor: Vendor = draw(st.sampled_from(["nvidia", "nvidia", "amd"]))
    driver = draw(st.sampled_from(["auto", *drivers(vendor).branches]))
    modules: list[Literal["auto", "open", "proprietary"]] = ["auto", "open", "proprietary"]
    module = draw(st.sampled_from(modules))
    mig = draw(st.sampled_from(["", "", "balanced"]))
    host = draw(hosts(vendor))
    facts = catalogue(vendor)
    models = sorted({facts.cards[one.device].models[0] for one in host.devices if one.device in facts.cards})
    # One item for whatever is there, or one for each of the first models.
    named = draw(st.sampled_from([[""], models, models[:2]]))
    beside = tuple(Cards(model) for model in named[1:])
    return host, Wanted(vendor, named[0], driver=driver, kernel_module=module, mig=mig, beside=beside)


@given(cases())
def test_no_decision_contradicts_the_table(case: tuple[Host, Wanted]) -> None:
    host, wanted = case
    decision = decide(host, wanted)
    if not isinstance(decision, Decision):
        return
    known = tables(wanted.vendor)
    cards = [known.catalogue.cards[each.device] for each in host.devices if each.device in known.catalogue.cards]
    for card in cards:
        assert obstacle(card, decision.branch, decision.version, known) == ""
        assert decision.flavour in known.catalogue.architecture(card).flavours
    assert wanted.driver in ("auto", decision.branch)
    assert wanted.kernel_module in ("auto", decision.flavour)
    assert len(decision.models) == len(cards)
    told = " ".join(reason.clause for reason in decision.warnings)
    assert [one.address for one in host.devices if one.device == UNKNOWN and one.address not in told] == []
    assert len(set(decision.held)) == len(decision.held) > 0
    assert [reason for reason in (*decision.reasons, *decision.warnings) if not (reason.clause and reason.source)] == []


@given(cases())
def test_lockstep_is_always_equal(case: tuple[Host, Wanted]) -> None:
    decision = decide(*case)
    if not isinstance(decision, Decision):
        return
    if decision.vendor == "amd":
        rocm = drivers("amd").branches[decision.branch].rocm
        for package in decision.packages:
            ends = amd.code(decision.version) if "dkms" in package.name else amd.rocm_code(rocm)
            if package.name == amd.DKMS and case[0].os not in ("debian", "ubuntu"):
                ends = drivers("amd").branches[decision.branch].module.partition(".")[2]
            assert not package.lockstep or (package.version or "").endswith(f".{ends}")
        assert contrary({each.name: each.version or "" for each in decision.packages}, dict(MIXED))
        assert sum(package.lockstep for package in decision.packages) == 5
        return
    assert {package.version for package in decision.packages if package.lockstep} <= {decision.version}
    assert mismatches(decision.version, {each.name: each.version or "" for each in decision.packages}) == ()
    needs = {"nvidia-fabricmanager.service", "nvidia-imex.service"} & set(decision.services)
    there = {name.partition(".")[0].replace("fabric-manager", "fabricmanager") for name in decision.held}
    assert all(any(name.startswith(unit.partition(".")[0]) for name in there) for unit in needs)


@given(cases())
def test_a_card_that_is_not_known_changes_nothing_but_what_is_told(case: tuple[Host, Wanted]) -> None:
    host, wanted = case
    known = tuple(one for one in host.devices if one.device != UNKNOWN)
    outcome, without = decide(host, wanted), decide(replace(host, devices=known), wanted)
    if not isinstance(outcome, Decision) or not isinstance(without, Decision):
        # What is declared here is always there; a count or a model that is missing has tests of its own.
        assert outcome == without
        return
    assert replace(outcome, warnings=()) == replace(without, warnings=())
    assert len(outcome.warnings) == len(without.warnings) + len(host.devices) - len(known)


@given(cases())
def test_a_refusal_says_why_and_what_to_do(case: tuple[Host, Wanted]) -> None:
    outcome = decide(*case)
    if isinstance(outcome, Decision):
        return
    assert len(set(outcome)) == len(outcome) > 0
    for refusal in outcome:
        assert refusal.code
        assert refusal.source
        assert not refusal.reason.endswith(".")
        assert not refusal.mend.endswith(".")


@given(cases(), st.randoms(use_true_random=False))
def test_the_order_of_devices_changes_nothing_and_nor_does_asking_again(
    case: tuple[Host, Wanted], shuffler: random.Random
) -> None:
    host, wanted = case
    devices = list(host.devices)
    shuffler.shuffle(devices)
    again = Host(tuple(devices), host.cpu, host.os, host.release, host.secure_boot, host.switch_management)
    assert decide(host, wanted) == decide(host, wanted) == decide(again, wanted)


@given(st.sampled_from(["nvidia", "amd"]), st.data())
def test_another_card_never_widens_the_branches(vendor: Vendor, data: st.DataObject) -> None:
    known = tables(vendor)
    cards = data.draw(st.lists(st.sampled_from(list(known.catalogue.cards.values())), min_size=1, max_size=6))
    assert set(fitting(cards, known)) <= set(fitting(cards[1:], known))
    assert set(fitting([], known)) == set(known.drivers.branches)


@given(st.text(max_size=40), st.text(max_size=20), st.text(max_size=12), st.text(max_size=30), st.text(max_size=30))
def test_whatever_is_declared_or_read_ends_in_a_decision_or_a_refusal(
    model: str, driver: str, system: str, version: str, mig: str
) -> None:
    there = Host((Device("0000:10:00.0", "10de", "2330"),), "x86_64", system, version, None, held={model: version})
    outcome = decide(there, Wanted("nvidia", model, driver=driver, version=version, mig={mig: 1}))
    assert isinstance(outcome, Decision) or outcome
