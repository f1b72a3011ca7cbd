"""The state of a lab is lost, and things stand in it that nobody declared: found, taken over, removed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.processes import environments
from swarmctl.state.runs import VARIABLE

from .lab import Lab, footprint, make

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("remains")]

NODES = ("control-0", "control-1", "workers-0", "workers-1", "workers-2")


@pytest.fixture(scope="module")
def lab(engine: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """The lab stack, applied."""
    made = make(tmp_path_factory.mktemp("remains"))
    try:
        made("apply", "--yes")
        yield made
    finally:
        made("destroy", "--yes", code=None)
    assert footprint(made.root) == {"processes": [], "mounts": [], "files": []}


def keys(lab: Lab) -> list[str]:
    return [lab.on(node, "wg show wg0 public-key") for node in NODES[1:3]]


def processes(lab: Lab) -> list[str]:
    """Marks of the nodes with their first processes, which are others once a node was made again."""
    return [next((lab.data / "lab").glob(f"*/nodes/{node}/node.json")).read_text() for node in NODES]


def lose_the_state(lab: Lab) -> None:
    shutil.rmtree(lab.data / "stacks")


def test_nothing_of_a_runs_environment_reaches_what_it_leaves_running(lab: Lab) -> None:
    start = f"{VARIABLE}={lab.root}".encode()
    leaking = [process for process, environment in environments() if any(it.startswith(start) for it in environment)]
    assert leaking == []
    assert VARIABLE not in lab.on("workers-0", "cat /proc/[0-9]*/environ | tr '\\0' '\\n'")


def test_a_world_as_the_state_has_it(lab: Lab) -> None:
    run = lab("doctor", "--stack")
    assert run.out == "All of lab that exists is in the state, and all of the state exists.\n"


def test_what_a_living_exec_runs_is_no_remains_and_what_a_dead_one_left_is(lab: Lab) -> None:
    running = lab.start("exec", "workers-0", "--", "sh", "-c", "echo begun; exec sleep 60")
    try:
        assert running.stdout is not None
        assert running.stdout.readline() == "begun\n"
        assert "exists is in the state" in lab("doctor", "--stack").out
        lab("doctor", "--stack", "--remove", "--yes")
        assert running.poll() is None
    finally:
        running.kill()
        running.communicate()
    found = lab("doctor", "--stack", "--remove", "--yes", "--format", "json").json["findings"]
    assert [(it["what"].partition(":")[0], it["done"]) for it in found] == [
        ("processes that no node of the lab has", "removed")
    ]
    lab("doctor", "--stack")


def test_apply_takes_over_what_a_lost_state_knew_and_makes_nothing_again(lab: Lab) -> None:
    before = keys(lab), processes(lab)
    lose_the_state(lab)
    found = lab("doctor", "--stack", "--format", "json", code=1).json
    assert len(found["findings"]) == 21
    assert all(it["standing"] == "unknown" and it["declared"] and it["adoptable"] for it in found["findings"])
    assert {it["owner"] for it in found["findings"] if it["backend"] == "lab"} != {None}
    plan = lab("plan", "--format", "json").json
    assert {change["action"] for change in plan["changes"]} == {"adopt"}
    lab("apply", "--yes")
    assert (keys(lab), processes(lab)) == before
    assert "nothing to change" in lab("plan").out


def test_doctor_adopts_what_a_lost_state_knew_and_touches_nothing(lab: Lab) -> None:
    before = keys(lab), processes(lab)
    lose_the_state(lab)
    run = lab("doctor", "--stack", "--adopt")
    assert "21 things recorded as found; nothing in the world was changed" in run.out
    assert (keys(lab), processes(lab)) == before
    assert "nothing to change" in lab("plan").out
    assert "Nothing to change" in lab("apply", "--yes").out
    assert "no state knows" not in lab("doctor", "--stack").out


def test_what_nobody_declared_is_found_and_removed_and_what_is_gone_is_told(lab: Lab) -> None:
    lab.on("workers-0", "umask 077; mkdir -p /etc/swarmctl/mesh/lost; wg genkey >/etc/swarmctl/mesh/lost/private.key")
    lab.on("workers-1", "nft delete table inet swarmctl")
    found = lab("doctor", "--stack", "--format", "json", code=1).json["findings"]
    assert [(it["standing"], it["node"], it["declared"]) for it in found] == [
        ("unknown", "workers-0", False),
        ("missing", "workers-1", True),
    ]
    assert "--yes" in lab("doctor", "--stack", "--remove", code=2).err
    gone = lab("doctor", "--stack", "--remove", "--yes", "--format", "json", code=1).json["findings"]
    assert [it["done"] for it in gone] == ["removed", None]
    assert lab.on("workers-0", "ls /etc/swarmctl/mesh").split() == ["backbone"]
    lab("apply", "--yes")
    lab("doctor", "--stack")


def test_a_mark_that_leads_elsewhere_has_nothing_removed_there(lab: Lab) -> None:
    lab.on("workers-0", "mkdir -p /etc/victim/data; echo x >/etc/victim/data/file")
    lab.on("workers-0", "ip link set lo alias swarmctl:../../victim/data")
    found = lab("doctor", "--stack", "--remove", "--yes", "--format", "json", code=1).json["findings"]
    assert [(it["node"], it["done"], it["reason"]) for it in found] == [
        ("workers-0", None, "swarmctl makes no such mark: it is left alone")
    ]
    assert lab.on("workers-0", "cat /etc/victim/data/file") == "x\n"
    lab.on("workers-0", "ip link set lo alias ''")


def test_everything_of_a_lost_state_can_be_removed(lab: Lab) -> None:
    lose_the_state(lab)
    run = lab("doctor", "--stack", "--remove", "--yes")
    assert "21 things removed" in run.out
    assert footprint(lab.root)["processes"] == []
    lab("doctor", "--stack")
