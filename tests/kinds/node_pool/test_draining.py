"""Machines leave service and come back by the hooks of their pool: real programs, whatever becomes of them."""

from __future__ import annotations

import asyncio
import subprocess
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.backends.base import CommandFailed, HostUnreachable
from swarmctl.kinds.node_pool.draining import service as services
from swarmctl.kinds.node_pool.draining.reading import SCRIPT, parse
from swarmctl.kinds.node_pool.draining.resources import DRAIN
from swarmctl.kinds.node_pool.draining.service import DrainFailed
from swarmctl.kinds.node_pool.draining.turn import Turn
from swarmctl.provider.adoption import Adoption
from tests.kinds.node_pool.machine import Machine

if TYPE_CHECKING:
    from swarmctl.provider.steps import Steps


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def bring(machine: Machine, state: str, **more: Any) -> None:
    DRAIN.create(machine.hosts(), machine.inputs(state, **more))


def state(machine: Machine, wanted: str = "active", **more: Any) -> str:
    """As a plan reads it back."""
    found = DRAIN.read(machine.hosts(), machine.inputs(wanted, **more))
    assert found is not None
    return str(found.inputs["state"])


def turn(machine: Machine, declared: str = "active", **more: Any) -> Turn:
    """A change of a machine that is declared so."""
    about = machine.inputs(declared, **more)
    given = {"state": about["state"], "hooks": about["hooks"]}
    return Turn(machine.hosts(), {"host": about["host"], "node": "n1", "drain": given}, "driver")


@pytest.mark.parametrize("check", [{}, {"check": []}], ids=["asked", "by its note"])
def test_a_machine_goes_out_of_service_and_back_and_nothing_is_done_twice(
    machine: Machine, check: dict[str, Any]
) -> None:
    bring(machine, "active", **check)
    assert (machine.log, machine.notes()) == ([], {})
    bring(machine, "cordoned", **check)
    assert machine.log == ["cordon"]
    assert state(machine, "cordoned", **check) == "cordoned"
    bring(machine, "drained", **check)
    assert machine.log == ["cordon", "drain"]
    bring(machine, "drained", **check)
    assert machine.log == []
    assert state(machine, "active", **check) == "drained", "a plan tells it when the word is taken away"
    bring(machine, "cordoned", **check)
    assert machine.log == [], "what is drained is cordoned, too"
    bring(machine, "active", **check)
    assert machine.log == ["uncordon"]
    assert (state(machine, **check), machine.notes()) == ("active", {})


def test_without_a_cordon_hook_drain_does_both(machine: Machine) -> None:
    bring(machine, "drained", cordon=[])
    assert machine.log == ["drain"]


def test_somebody_elses_doing_is_drift(machine: Machine) -> None:
    bring(machine, "drained")
    (machine.folder / "state").write_text("active\n")
    assert state(machine, "drained") == "active"
    (machine.folder / "state").write_text("cordoned\n")
    assert state(machine, "drained") == "cordoned", "work runs there again"
    assert state(machine, "active") == "cordoned"


@pytest.mark.parametrize(
    ("script", "why"),
    [
        (["sh", "-c", "exit 3"], "unknown: `check` ended with status 3"),
        (["/nowhere"], "unknown: `check` ended with status 127"),
        (["echo", "idle\u202e"], "unknown: `check` prints 'idle?'"),
        (["true"], "unknown: `check` prints nothing"),
        (["sh", "-c", "echo drained; echo active"], "unknown: `check` prints 'drained?active'"),
        (["sh", "-c", "yes | head -c 200000"], "unknown: `check` prints too much"),
    ],
)
def test_a_check_that_makes_no_sense_is_told_and_nothing_is_done_on_its_word(
    machine: Machine, script: list[str], why: str
) -> None:
    assert state(machine, check=script) == why
    for wanted in ("active", "drained"):
        with pytest.raises(DrainFailed) as raised:
            bring(machine, wanted, check=script)
        assert raised.value.message == f"n1: whether it is in service is {why}"
    with pytest.raises(DrainFailed):
        turn(machine, check=script).leave()
    assert (machine.log, machine.notes()) == ([], {})


def test_of_a_check_that_prints_without_end_no_more_is_taken_than_can_make_sense() -> None:
    flood = ["sh", "-c", "yes | head -c 3000000; exit 7"]
    done = subprocess.run(["sh", "-c", SCRIPT, "sh", *flood], capture_output=True, check=True)
    assert len(done.stdout) < 1 << 13
    assert parse(done.stdout, True).state == "unknown: `check` prints too much"
    quiet = subprocess.run(["sh", "-c", SCRIPT, "sh", "echo", "active"], capture_output=True, check=True)
    assert parse(quiet.stdout, True).state == "active"


@given(st.binary(max_size=300), st.booleans())
def test_whatever_a_machine_prints_is_parsed_or_unknown(output: bytes, checked: bool) -> None:
    seen = parse(b"\n@@ mark\n" + output, checked)
    assert seen.state in ("active", "cordoned", "drained", "unsettled") or seen.state.startswith("unknown: ")
    assert seen.state.isprintable()
    assert len(seen.state) < 250


def test_a_hook_that_fails_is_told_by_its_last_line(machine: Machine) -> None:
    (machine.folder / "stuck").touch()
    with pytest.raises(DrainFailed) as raised:
        bring(machine, "drained")
    assert raised.value.message == "n1: the hook `drain` failed: job 7 does not end (status 3)"
    assert raised.value.hint
    assert (state(machine, "drained"), machine.log) == ("cordoned", ["cordon", "drain"])
    (machine.folder / "stuck").unlink()
    bring(machine, "drained")
    assert state(machine, "drained") == "drained"


def test_a_hook_that_hangs_is_ended(machine: Machine) -> None:
    (machine.folder / "slow").write_text("60")
    begun = time.monotonic()
    with pytest.raises(DrainFailed) as raised:
        bring(machine, "drained", timeout=1)
    assert raised.value.message == "n1: the hook `drain` did not end within 1s"
    assert time.monotonic() - begun < 20


def test_hooks_that_end_well_and_did_nothing_are_found_out(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(services, "SETTLING", 0.1)
    monkeypatch.setattr(services, "PAUSE", 0.05)
    with pytest.raises(DrainFailed) as raised:
        bring(machine, "drained", drain=["true"])
    assert raised.value.message == "n1: its hooks have ended well, and it is not drained but cordoned"


def test_words_of_a_hook_mean_nothing_to_any_shell(machine: Machine) -> None:
    odd = ["sh", "-c", 'printf "%s|" "$@" >"$0"; exit 1', str(machine.folder / "words"), "a b", "$(id)", "'; id", "-x"]
    with pytest.raises(DrainFailed):
        bring(machine, "drained", drain=odd)
    assert (machine.folder / "words").read_text() == "a b|$(id)|'; id|-x|"


@pytest.mark.parametrize("hook", ["cordon", "drain"])
def test_without_check_a_run_that_was_cut_off_is_seen_from_its_note(machine: Machine, hook: str) -> None:
    machine.cut = hook
    with pytest.raises(HostUnreachable):
        bring(machine, "drained", check=[])
    machine.cut, machine.is_cut = "", False
    assert state(machine, "active", check=[]) == {"cordon": "unsettled", "drain": "cordoned"}[hook]
    bring(machine, "active", check=[])
    assert machine.log[-1] == "uncordon"
    assert machine.notes() == {}


def test_a_change_takes_its_machine_out_and_back(machine: Machine) -> None:
    change = turn(machine)
    change.leave()
    change.begin()
    assert (machine.log, machine.notes()["turns/driver"]) == (["cordon", "drain"], "changing")
    assert state(machine) == "active", "the change itself tells that it is open"
    change.back()
    assert (machine.log, machine.notes()) == (["uncordon"], {})


@pytest.mark.parametrize(("declared", "before"), [("cordoned", ["cordon"]), ("drained", ["cordon", "drain"])])
def test_a_machine_that_is_declared_out_of_service_stays_so_after_a_change(
    machine: Machine, declared: str, before: list[str]
) -> None:
    bring(machine, declared)
    assert machine.log == before
    change = turn(machine, declared)
    change.leave()
    change.begin()
    change.back()
    assert "uncordon" not in machine.log
    assert state(machine, declared) == declared
    assert "turns/driver" not in machine.notes()


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [("stuck", "", "failed: job 7 does not end (status 3)"), ("slow", "60", "did not end within 1s")],
)
def test_where_draining_fails_nothing_is_begun_and_the_machine_is_back(
    machine: Machine, file: str, content: str, said: str
) -> None:
    (machine.folder / file).write_text(content)
    with pytest.raises(DrainFailed) as raised:
        turn(machine, timeout=1).leave()
    assert raised.value.message == f"n1: the hook `drain` {said}; nothing was begun, and it is as declared again"
    assert (machine.log, machine.notes()) == (["cordon", "drain", "uncordon"], {})
    assert state(machine) == "active"


def test_where_coming_back_fails_too_both_are_told_and_the_next_run_goes_on(machine: Machine) -> None:
    (machine.folder / "stuck").touch()
    (machine.folder / "shut").touch()
    with pytest.raises(DrainFailed) as raised:
        turn(machine).leave()
    assert raised.value.message.startswith("n1: the hook `drain` failed: job 7")
    assert raised.value.message.endswith(
        "bringing it back into service failed, too: the hook `uncordon` failed: the scheduler is away (status 4)"
    )
    assert machine.notes()["turns/driver"] == "leaving"
    (machine.folder / "shut").unlink()
    turn(machine).back()
    assert (state(machine), machine.notes()) == ("active", {})


def test_a_change_that_was_cut_off_keeps_its_machine_out_until_it_works(machine: Machine) -> None:
    first = turn(machine)
    first.leave()
    first.begin()
    second = turn(machine)
    (machine.folder / "state").write_text("cordoned\n")
    (machine.folder / "stuck").touch()
    with pytest.raises(DrainFailed) as raised:
        second.leave()
    assert raised.value.message.endswith("it stays out of service until it works")
    assert "uncordon" not in machine.log
    (machine.folder / "stuck").unlink()
    third = turn(machine)
    third.leave()
    failed = CommandFailed("n1: sh failed", "mend it")
    assert third.back_after(failed).message == "n1: sh failed; it stays out of service until it works"
    assert "uncordon" not in machine.log
    assert third.back_after(failed, works=True).message == "n1: sh failed"
    assert machine.log == ["uncordon"]


def test_a_change_without_hooks_does_nothing(machine: Machine) -> None:
    change = Turn(machine.hosts(), {"host": {"backend": "lab", "stack": "s", "node": "n1"}, "node": "n1"}, "driver")
    change.leave()
    change.begin()
    change.back()
    failed = CommandFailed("n1: sh failed")
    assert change.stays_after(failed) is failed
    assert change.back_after(failed) is failed
    assert (machine.log, machine.notes()) == ([], {})


def test_two_changes_of_one_machine_bring_it_back_once(machine: Machine) -> None:
    first = turn(machine)
    first.leave()
    other = Turn(machine.hosts(), {"host": {"node": "n1"}, "node": "n1", "drain": machine.inputs()}, "firmware")
    other.leave()
    other.begin()
    first.back()
    assert "uncordon" not in machine.log
    other.back()
    assert machine.log == ["uncordon"]


def test_forgetting_a_machine_leaves_it_as_it_was_declared(machine: Machine) -> None:
    bring(machine, "drained")
    DRAIN.delete(machine.hosts(), machine.inputs("drained"))
    assert (machine.log, machine.notes()) == (["cordon", "drain"], {}), "nobody brings it back by accident"
    (machine.folder / "state").write_text("active\n")
    turn(machine).leave()
    DRAIN.delete(machine.hosts(), machine.inputs("active"))
    assert machine.log[-1] == "uncordon", "only a change that was cut off had it out"
    assert machine.notes() == {}


def test_a_plan_says_who_leaves_service_and_who_comes_back(machine: Machine) -> None:
    active, drained = machine.inputs("active"), machine.inputs("drained")
    assert DRAIN.impact(active, drained).text.startswith("n1 is drained: the work there ends")
    assert DRAIN.impact(drained, active).text.startswith("n1 is in service: ")
    assert DRAIN.impact(None, active).text == ""
    assert [effect.text for effect in DRAIN.effects(active, drained)] == ["active → drained"]
    assert DRAIN.impact(drained, None).text == "n1 is drained when it leaves, and stays so"
    changed = machine.inputs("active", timeout=7)
    assert [effect.text for effect in DRAIN.effects(active, changed)] == ["hooks.timeout changes"]
    senseless = {**active, "state": state(machine, check=["echo", "idle"])}
    assert DRAIN.impact(senseless, active).text == (
        "whether n1 is in service is unknown: `check` prints 'idle'; nothing is done there until that is mended"
    )
    unsettled = {**machine.inputs("active", check=[]), "state": "unsettled"}
    assert DRAIN.impact(unsettled, active).text.startswith("n1 is in service: "), "`uncordon` settles it"


def test_a_plan_of_a_new_machine_tells_what_is_declared_and_not_that_it_is_so(machine: Machine) -> None:
    (machine.folder / "state").write_text("drained\n")
    for wanted, more, told in (
        ("active", {}, "declared active, so `uncordon` runs where `check` says that it is not"),
        ("active", {"check": []}, "declared active"),
        ("cordoned", {}, "declared cordoned"),
    ):
        (effect,) = DRAIN.effects(None, machine.inputs(wanted, **more))
        assert effect.text == f"in and out of service by commands of the pool; {told}"
    bring(machine, "active")
    assert machine.log == ["uncordon"], "and that is what apply does"


class Now:
    """Steps that are taken at once."""

    async def run(self, step: object, work: Any) -> Any:
        return work()


def taken_over(machine: Machine, wanted: str, **more: Any) -> bool:
    """Whether a preview says that what is to be made is there already."""
    inputs = machine.inputs(wanted, **more)
    looking = Adoption(lambda backend, stack: frozenset({"n1"})).look(
        cast("Steps", Now()), machine.hosts(), DRAIN, "urn:pulumi:s::p::t::n", inputs
    )
    return asyncio.run(looking) is not None


@pytest.mark.parametrize("check", [{}, {"check": []}])
@pytest.mark.parametrize("wanted", ["active", "cordoned", "drained"])
def test_a_machine_that_nobody_took_out_of_service_has_nothing_to_take_over(
    machine: Machine, wanted: str, check: dict[str, Any]
) -> None:
    assert not taken_over(machine, wanted, **check)
    bring(machine, "drained", **check)
    assert taken_over(machine, wanted, **check), "a state that was lost finds it again"


def test_what_others_have_drained_is_taken_over(machine: Machine) -> None:
    (machine.folder / "state").write_text("drained\n")
    assert taken_over(machine, "drained")
    assert machine.log == []
