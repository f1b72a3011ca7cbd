"""One machine whose facts contradict what fits others of its pool is left alone in that, and stops nobody else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from swarmctl.backends import ways
from swarmctl.errors import InvalidDeclaration, NothingDone, PartlyDone, WorldUnreadable
from swarmctl.gpu.model import Host
from swarmctl.graph.model import Graph, Machine, Unfit
from swarmctl.hosts.system import SystemFacts
from swarmctl.kinds.compile import compile_graph
from swarmctl.operations import silent, unfit
from swarmctl.operations.load import LoadedStack, load_stack
from tests.declarations.stacks import BASE, HEAD
from tests.gpu import hosts as composed
from tests.gpu.test_accelerators import GOOD, HGX, Facts, compiled, drivers, facts

LOST = replace(HGX, devices=tuple(it for it in HGX.devices if it.address != "0000:12:00.0"))
"""A card has left the bus."""


@pytest.fixture(autouse=True)
def _forgotten() -> Iterator[None]:
    yield
    ways.declare("s", [])


def stack(folder: Path, *, states: Mapping[str, str] | None = None, accelerators: str = GOOD) -> LoadedStack:
    """Machines n1, n2 and n3 in one pool."""
    for kind, text in BASE.items():
        if kind != "NodePool":
            (folder / f"{kind}.yaml").write_text(text)
    hosts = "".join(
        f"      - {{name: n{number}, address: 192.0.2.{number}, hostKeys: [{KEY}{number}]"
        f"{', state: ' + state if (state := (states or {}).get(f'n{number}')) else ''}}}\n"
        for number in (1, 2, 3)
    )
    (folder / "pool.yaml").write_text(
        f"{HEAD}kind: NodePool\nmetadata: {{name: gpu}}\nspec:\n  accelerators: [{accelerators}]\n"
        f'  drain: {{cordon: ["true"], drain: ["true"], uncordon: ["true"]}}\n'
        f"  ssh:\n    user: worker\n    key: /k\n    hosts:\n{hosts}"
    )
    return load_stack(folder)


KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI" + "A" * 42
WELL = {"n1": HGX, "n2": HGX, "n3": HGX}


def left(graph: Graph) -> dict[str, Unfit]:
    return {it.node: it for it in graph.exported(Unfit)}


def test_it_keeps_what_was_decided_untouched_and_the_others_go_on(tmp_path: Path) -> None:
    declared = stack(tmp_path)
    before = compiled(declared, Facts(WELL))
    newer = stack(tmp_path, accelerators=GOOD.replace("branch: auto", 'branch: "580"'))
    after = compiled(newer, Facts(WELL | {"n2": LOST}), before.resources)
    (one,) = left(after).values()
    assert one.node == "n2"
    assert one.problem.code.id == "SW3254"
    assert one.problem.message == (
        "n2: 8 H100 are declared, and by its PCI ids this host has 7 x H100 SXM5 80GB "
        "(gone from the bus: 0000:12:00.0); its driver is left as it is"
    )
    assert one.problem.range is not None
    assert (Path(one.problem.range.file).name, one.problem.range.start.line) == ("pool.yaml", 5)
    assert "declare 7" not in one.problem.help, "that would break the others"
    assert one.problem.help.startswith("look for the card that has left the bus")
    assert "declare n2 `state: isolated`" in one.problem.help
    assert after.frozen == {one.address}
    said = {it.node: it.inputs["branch"] for it in drivers(after).values()}
    assert said == {"n1": "580", "n2": "595", "n3": "580"}
    assert drivers(after)[one.address] == drivers(before)[one.address]


def test_a_new_one_gets_no_driver(tmp_path: Path) -> None:
    graph = compiled(stack(tmp_path), Facts(WELL | {"n2": LOST}))
    assert {it.node for it in drivers(graph).values()} == {"n1", "n3"}
    (one,) = left(graph).values()
    assert one.problem.message.endswith("; its driver is not made")
    assert not graph.frozen


@pytest.mark.parametrize("known", [WELL | {"n2": replace(HGX, os="debian", release="11")}, {"n1": HGX, "n2": LOST}])
def test_whatever_it_is_that_only_one_contradicts(tmp_path: Path, known: Mapping[str, Host]) -> None:
    assert set(left(compiled(stack(tmp_path), Facts(known)))) == {"n2"}


def test_what_fits_none_of_them_is_refused_for_all(tmp_path: Path) -> None:
    before = compiled(stack(tmp_path), Facts(WELL)).resources
    wrong = stack(tmp_path, accelerators=GOOD.replace("count: 8", "count: 9"))
    with pytest.raises(InvalidDeclaration) as raised:
        compiled(wrong, Facts(WELL), before)
    (found,) = raised.value.diagnostics
    assert found.message.startswith("n1, n2, n3: 9 H100 are declared")
    assert found.help.startswith("declare 8, or look for ")
    assert found.help.endswith("a machine that is at fault is left out by `state: isolated`")


@pytest.mark.parametrize("now", [GOOD, GOOD.replace("branch: auto", 'branch: "580"'), "{vendor: nvidia, count: 8}"])
def test_cards_that_were_there_speak_for_the_declaration(tmp_path: Path, now: str) -> None:
    """Also where no machine is left that it fits: it has fitted, and what is declared now would have."""
    before = compiled(stack(tmp_path), Facts(WELL)).resources
    graph = compiled(stack(tmp_path, accelerators=now), Facts(dict.fromkeys(WELL, LOST)), before)
    assert set(left(graph)) == {"n1", "n2", "n3"}
    assert len(graph.frozen) == 3


def test_drivers_of_machines_that_can_t_be_read_speak_for_it_too(tmp_path: Path) -> None:
    declared = stack(tmp_path)
    before = {
        address: it for address, it in compiled(declared, Facts(WELL)).resources.items() if it.node in ("n1", "n3")
    }
    graph = compiled(declared, Facts({"n2": LOST}, {"n1": "silent", "n3": "silent"}), before)
    assert set(left(graph)) == {"n2"}


DEBIAN = replace(HGX, os="debian", release="13")
MIRROR = "{vendor: nvidia, source: mirror, mirror: {url: 'https://m.example/repos', fingerprint: " + "A" * 40 + "}}"


@pytest.mark.parametrize("how", ["isolated", "silent", "lost a card"])
@pytest.mark.parametrize(
    ("there", "right", "wrong", "mend"),
    [
        (HGX, GOOD, GOOD.replace("count: 8", "count: 9"), "declare 8, or look for "),
        (HGX, GOOD, GOOD.replace("H100", "H100-PCIe"), "declare the model H100 SXM5 80GB, or take "),
        (HGX, "{vendor: nvidia}", "{vendor: nvidia, mig: {1g.6gb: 4}}", "declare some of 1g.10gb, "),
        (DEBIAN, MIRROR, "{vendor: nvidia, source: distribution, driver: {version: 580.173.02}}", "packages that "),
        (DEBIAN, MIRROR, "{vendor: nvidia}", "declare `source: mirror`"),
    ],
    ids=["count", "model", "mig", "system", "key"],
)
def test_what_never_fitted_a_machine_is_not_spoken_for_by_it(
    tmp_path: Path, there: Host, right: str, wrong: str, mend: str, how: str
) -> None:
    """Or a mistake in the pool would be told as a fault of each of the other machines, with a mend that is none."""
    before = compiled(stack(tmp_path, accelerators=right), Facts(dict.fromkeys(WELL, there))).resources
    declared = stack(tmp_path, accelerators=wrong, states={"n3": "isolated"} if how == "isolated" else {})
    known = {"n1": there, "n2": there}
    if how == "lost a card":
        known["n3"] = replace(there, devices=LOST.devices)
    with pytest.raises(InvalidDeclaration) as raised:
        compiled(declared, Facts(known, {} if "n3" in known else {"n3": "quiet"}), before)
    told = [it for it in raised.value.diagnostics if it.message.startswith("n1, n2")]
    assert told
    assert told[0].help.startswith(mend)


@pytest.mark.parametrize("state", ["drained", "cordoned"])
def test_one_out_of_service_is_left_alone_whatever_the_others_are(tmp_path: Path, state: str) -> None:
    declared = stack(tmp_path, states={"n2": state})
    graph = compiled(declared, Facts({"n2": LOST}))
    assert set(left(graph)) == {"n2"}
    assert any(it.type == "swarm:nodepool:Drain" and it.node == "n2" for it in graph.resources.values())


class Asking(Facts):
    """Notes who is asked."""

    asked: list[str]

    def __call__(self, machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        wanted = list(machines)
        self.asked = [machine.name for machine in wanted]
        return super().__call__(wanted)


@pytest.mark.parametrize("applied", [True, False])
def test_an_isolated_one_is_not_even_asked(tmp_path: Path, applied: bool) -> None:
    before = compiled(stack(tmp_path), Facts(WELL)).resources if applied else {}
    asking = Asking(WELL | {"n2": LOST})
    graph = compiled(stack(tmp_path, states={"n2": "isolated"}), asking, before)
    assert asking.asked == ["n1", "n3"]
    assert not left(graph)
    recorded = {address: it for address, it in drivers(graph).items() if it.node == "n2"}
    assert len(recorded) == applied
    assert set(recorded) <= graph.frozen
    assert [note for note in graph.notes if "driver" in note] == []


def test_the_note_on_isolated_machines_names_no_other(tmp_path: Path) -> None:
    before = compiled(stack(tmp_path), Facts(WELL)).resources
    graph = compiled(stack(tmp_path, states={"n1": "isolated"}), Facts(WELL | {"n2": LOST}), before)
    (note,) = (note for note in graph.notes if "isolated" in note)
    assert note.startswith("n1 is isolated: ")


def test_what_was_mended_since_it_was_read_is_read_once_more(tmp_path: Path) -> None:
    declared = stack(tmp_path)
    asked: list[str] = []

    def anew(machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        asked.extend(machine.name for machine in machines)
        return {"n2": facts(HGX)}

    graph = compile_graph(
        declared.inventory, "s", lambda address: None, system=Facts(WELL | {"n2": LOST, "n3": LOST}), anew=anew
    )
    assert asked == ["n2", "n3"]
    assert set(left(graph)) == {"n3"}
    assert {it.node for it in drivers(graph).values()} == {"n1", "n2"}


def test_another_vendor_s_cards_in_the_machine_have_their_driver(tmp_path: Path) -> None:
    both = replace(HGX, devices=(*HGX.devices, *composed.devices("740f", vendor="1002")))
    moved = replace(
        both,
        devices=tuple(
            replace(it, address=f"0001{it.address[4:]}") if it.vendor == "1002" else it for it in both.devices
        ),
    )
    lost = replace(moved, devices=tuple(it for it in moved.devices if it.address != "0000:12:00.0"))
    declared = stack(tmp_path, accelerators=f"{GOOD}, {{vendor: amd, model: MI210, count: 1}}")
    graph = compiled(declared, Facts(dict.fromkeys(WELL, moved) | {"n2": lost}))
    assert left(graph)["n2"].problem.message.endswith("; its driver of nvidia is not made")
    assert [str(it) for it, made in drivers(graph).items() if made.node == "n2"] == ["nodepool/gpu[n2/driver-amd]"]


def found(tmp_path: Path) -> tuple[Unfit, ...]:
    return unfit.of(compiled(stack(tmp_path), Facts(WELL | {"n2": LOST})))


def test_it_ends_the_run_as_failed_or_partly_done(tmp_path: Path) -> None:
    amiss = found(tmp_path)
    with pytest.raises(NothingDone) as plain:
        unfit.judge(amiss, lambda: None)
    assert plain.value.exit_code == 1
    assert plain.value.details[0].startswith(f"{tmp_path}/pool.yaml:5:")
    assert plain.value.details[0].endswith("its driver is not made (SW3254)")
    with pytest.raises(PartlyDone):
        unfit.judge(amiss, lambda: None, done=True)
    unfit.judge((), lambda: None, done=True)


@pytest.mark.parametrize(("done", "code"), [(False, 8), (True, 7)])
def test_of_two_errors_the_first_by_its_code_ends_the_run_and_tells_both(tmp_path: Path, done: bool, code: int) -> None:
    amiss = found(tmp_path)
    quiet = {"n3": WorldUnreadable("n3 did not answer", "see whether it is up")}
    with pytest.raises((WorldUnreadable, PartlyDone)) as raised:
        unfit.judge(amiss, lambda: silent.judge(quiet), done=done)
    assert raised.value.exit_code == code
    told = "\n".join(raised.value.details)
    assert "n3 did not answer" in told
    assert "(SW3254)" in told


def test_a_run_for_others_has_nothing_to_do_with_it(tmp_path: Path) -> None:
    before = compiled(stack(tmp_path), Facts(WELL))
    for recorded in ({}, before.resources):
        graph = compiled(stack(tmp_path), Facts(WELL | {"n2": LOST}), recorded)
        own, other = "nodepool/gpu[n2/driver]", "nodepool/gpu[n1/driver]"
        everything = {str(address) for address in graph.resources}
        assert unfit.of(graph, (other,), everything - {other}) == ()
        assert len(unfit.of(graph, (own,), everything - {own})) == 1
        assert len(unfit.of(graph, ("nodepool/gpu",), ())) == 1
