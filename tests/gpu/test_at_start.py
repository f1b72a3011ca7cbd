"""A machine that restarts has its cards divided again before anything uses them, by a unit that apply has left."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl.hosts import startup
from swarmctl.hosts.packages import Packages
from swarmctl.kinds.node_pool.accelerators import at_start, turn
from swarmctl.kinds.node_pool.accelerators.errors import DriverUnverified
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER, observed
from swarmctl.kinds.node_pool.accelerators.services import CDI, PERSISTENCE
from swarmctl.kinds.node_pool.accelerators.vendors import VENDORS
from tests.gpu.below import Below, Driven

VERSION = "595.91.07"
CARDS = ["0000:10:00.0", "0000:af:00.0"]
SEVEN = {card: {"1g.10gb": 7} for card in CARDS}
MIXED = {CARDS[1]: {"3g.40gb": 1, "1g.10gb": 2}}
SMI = r"""
# A mode is a file, with a line for each instance; `refuses` is a card that does not take its mode.
mig=$ROOT/mig
mode() { if [ -e "$mig/$1" ]; then echo Enabled; else echo Disabled; fi; }
[ ! -e "$ROOT/fails" ] || { echo 'NVIDIA-SMI has failed'; exit 9; }
case "$*" in
  --query-gpu=index,*)
    index=0
    while read -r card; do
      echo "$index, 0000$(echo "$card" | tr a-f A-F), 595.91.07, $(mode "$card")"; index=$((index + 1))
    done <"$ROOT/cards" ;;
  -L)
    index=0
    while read -r card; do
      echo "GPU $index: NVIDIA H100 80GB HBM3 (UUID: GPU-$card)"; index=$((index + 1))
      [ -e "$mig/$card" ] || continue
      while read -r profile; do printf '  MIG %-15s Device  0: (UUID: MIG-x)\n' "$profile"; done <"$mig/$card"
    done <"$ROOT/cards" ;;
  --query-compute-apps=*) if [ -e "$ROOT/apps" ]; then cat "$ROOT/apps"; fi ;;
  "mig -dci "* | "mig -dgi "*) [ ! -e "$mig/$4" ] || : >"$mig/$4" ;;
  "-i "*" -mig 1")
    if [ -e "$ROOT/units/nvidia-persistenced.service.runs" ]; then echo 'in use by another client'; exit 1; fi
    mkdir -p "$mig"; [ -e "$ROOT/refuses" ] || [ -e "$mig/$2" ] || : >"$mig/$2" ;;
  "-i "*" -mig 0") rm -f "$mig/$2" ;;
  "-i "*" --query-gpu=mig.mode.current,"*) echo "$(mode "$2"), $(mode "$2")" ;;
  "mig -i "*" -cgi "*) [ -e "$mig/$3" ] || exit 1; echo "$5" | tr ',' '\n' >"$mig/$3" ;;
esac
"""


class World(Driven):
    """A machine with two cards, whose driver runs."""

    def __init__(self, root: Path, *, systemd: bool = True) -> None:
        self.below = Below(root, ("systemctl", "modprobe", "nvidia-ctk", "sha256sum"), systemd=systemd)
        self.below.tool("nvidia-smi", SMI)
        (root / "etc/systemd/system").mkdir(parents=True)
        super().__init__(self.below)
        self.there = Packages("apt", {"nvidia-driver": f"{VERSION}-1"}, held=frozenset({"nvidia-driver"}))
        (root / "cards").write_text("".join(f"{card}\n" for card in CARDS))
        (root / "library").write_text(VERSION)
        (root / "built").write_text(f"{VERSION} open\n")
        self.below.sh("modprobe nvidia")

    def inputs(self, mig: Any) -> dict[str, Any]:
        made: dict[str, Any] = {"vendor": "nvidia", "node": "n1", "host": {}, "repository": {}, "cards": {}}
        made |= {"version": VERSION, "branch": "595", "kernelModule": "open", "loaded": VERSION, "answers": VERSION}
        made |= {"packages": {"nvidia-driver": VERSION}, "held": ["nvidia-driver"], "pin": "", "modules": []}
        made |= {"services": [PERSISTENCE], "counters": [], "cdi": "", "fabricManager": {}, "mig": mig}
        return made

    def apply(self, mig: Any) -> None:
        """What is declared of MIG, by the turn itself; its packages are there."""
        turn._bring(self, self.inputs(mig), SimpleNamespace(leave=lambda: None, begin=lambda: None))  # type: ignore[arg-type]

    def planned(self, wanted: Any, removing: Any = ()) -> list[Any]:
        return []

    def drift(self, mig: Any) -> set[str]:
        """Properties that are otherwise."""
        self.changed()
        found = observed(self.inputs(mig), self.installed(), self.seen())
        return {change.path[0] for change in DRIVER.diff(found, self.inputs(mig))}

    def divided(self) -> dict[str, dict[str, int]]:
        self.changed()
        return {card: dict(it) for card, it in self.seen().instances.items()}

    def restart(self) -> int:
        """Nothing of MIG is left, and what systemd starts at the start is started; its status."""
        shutil.rmtree(self.below.root / "mig", ignore_errors=True)
        return self.start_up()

    def start_up(self) -> int:
        unit = self.below.get(at_start.LINK)
        if unit is None:
            return 0
        line = next(line for line in unit.decode().splitlines() if line.startswith("ExecStart="))
        return self.below.run(line.removeprefix("ExecStart=").split(), check=False).returncode


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path / "n1")


@pytest.mark.parametrize("mig", [SEVEN, MIXED], ids=["all", "one of them"])
def test_after_a_restart_the_cards_are_divided_as_declared(world: World, mig: Any) -> None:
    world.apply(mig)
    assert world.drift(mig) == set()
    assert world.restart() == 0
    assert world.divided() == mig
    assert PERSISTENCE in world.below.units("runs"), "what had to let go of the cards is back"
    assert world.drift(mig) == set()


def test_another_layout_is_what_the_next_restart_brings(world: World) -> None:
    world.apply(SEVEN)
    world.apply(MIXED)
    world.restart()
    assert world.divided() == MIXED


def test_what_is_so_already_is_not_touched(world: World) -> None:
    world.apply(SEVEN)
    before = len(world.below.calls)
    assert world.start_up() == 0
    calls = world.below.calls[before:]
    assert {call.split()[0] for call in calls} == {"nvidia-smi"}
    assert all("--query-gpu=index" in call or call == "nvidia-smi -L" for call in calls), "nothing but asked"


def test_a_card_in_use_is_left_as_it_is_and_said_so(world: World) -> None:
    world.apply(SEVEN)
    (world.below.root / "apps").write_text("4711, python3\n")
    before = len(world.below.calls)
    assert world.restart() == 1
    assert world.divided() == {}
    asked = ("nvidia-smi --query", "nvidia-smi -L", "sha256sum", "systemctl -q is-", "systemctl show")
    assert [call for call in world.below.calls[before:] if not call.startswith(asked)] == []
    (world.below.root / "apps").unlink()
    assert world.start_up() == 0
    assert world.divided() == SEVEN


def test_one_card_that_can_t_be_divided_keeps_no_other_from_it(world: World) -> None:
    world.apply(SEVEN)
    (world.below.root / "cards").write_text(f"{CARDS[1]}\n")
    assert world.restart() == 1, "the unit has failed, for whoever looks; nothing waits for its success"
    assert world.divided() == {CARDS[1]: {"1g.10gb": 7}}
    (world.below.root / "refuses").touch()
    assert world.restart() == 1
    assert PERSISTENCE in world.below.units("runs")


def test_where_the_driver_does_not_answer_nothing_is_done(world: World) -> None:
    world.apply(SEVEN)
    (world.below.root / "fails").touch()
    assert world.restart() == 1
    (world.below.root / "fails").unlink()
    assert world.divided() == {}


@pytest.mark.parametrize("mark", [NVIDIA.unverified, f"{NVIDIA.old}/before"])
def test_a_driver_that_is_being_changed_is_left_to_whoever_does_that(world: World, mark: str) -> None:
    world.apply(SEVEN)
    world.below.put(mark, b"")
    assert world.restart() == 0
    assert world.divided() == {}, "DCGM looks at whole cards only"


def test_a_unit_that_is_at_work_is_ended_before_the_cards_are_divided_by_a_run(world: World) -> None:
    world.apply(SEVEN)
    calls = world.below.calls
    assert calls.index(f"systemctl stop {at_start.NAME}") < next(at for at, it in enumerate(calls) if "-mig 1" in it)


def test_it_is_missing_changed_or_left_over_as_a_plan_says(world: World) -> None:
    world.apply(SEVEN)
    for file in at_start.FILES:
        kept = world.below.get(file)
        assert kept
        world.below.remove(file)
        assert world.drift(SEVEN) == {startup.PROPERTY}, file
        world.apply(SEVEN)
        assert world.drift(SEVEN) == set(), file
    world.below.put(at_start.PROGRAM, b"exit 0\n")
    assert world.drift(SEVEN) == {startup.PROPERTY}
    found = observed(world.inputs(SEVEN), world.installed(), world.seen())
    told = [effect.text for effect in DRIVER.effects(found, world.inputs(SEVEN))]
    assert told == ["MIG after a restart another layout or program → as declared"]
    impact = DRIVER.impact(found, world.inputs(SEVEN))
    assert not impact.text, "nothing is in the way of programs"
    assert world.drift({}) == {"mig", startup.PROPERTY}


def test_it_goes_with_the_layout(world: World) -> None:
    world.apply(SEVEN)
    world.apply({})
    assert [world.below.get(file) for file in at_start.FILES] == [None] * 3
    assert world.restart() == 0
    assert world.drift({}) == set()


def test_it_goes_with_the_accelerators(world: World) -> None:
    world.apply(SEVEN)
    world.below.sh(VENDORS["nvidia"].forget())
    assert [world.below.get(file) for file in at_start.FILES] == [None] * 3
    assert not (world.below.root / at_start.FOLDER[1:]).exists()


def test_nothing_is_left_where_systemd_does_not_run(tmp_path: Path) -> None:
    world = World(tmp_path / "n1", systemd=False)
    world.script(at_start.script(world.seen().startup, SEVEN) or ":")
    assert [world.below.get(file) for file in at_start.FILES] == [None] * 3
    assert at_start.wrong(None, SEVEN) == at_start.wrong(None, {}) == ""


def test_the_order_is_that_of_who_sets_cards_up_and_who_uses_them(world: World) -> None:
    world.apply(SEVEN)
    unit = (world.below.get(at_start.UNIT) or b"").decode()
    after = next(line for line in unit.splitlines() if line.startswith("After="))
    before = next(line for line in unit.splitlines() if line.startswith("Before="))
    assert {PERSISTENCE, "nvidia-fabricmanager.service"} <= set(after.removeprefix("After=").split())
    users = set(before.removeprefix("Before=").split())
    assert {"nvidia-dcgm-exporter.service", "containerd.service", "kubelet.service", CDI} <= users
    assert not [line for line in unit.splitlines() if line.startswith(("Requires=", "OnFailure=", "RequiredBy="))]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not on this machine")
def test_systemd_takes_the_unit(tmp_path: Path) -> None:
    file = tmp_path / at_start.NAME
    file.write_text(at_start._UNIT)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", str(file)], capture_output=True, text=True
    )
    assert at_start.NAME not in done.stderr, done.stderr


def test_a_layout_that_fails_in_between_is_not_left_for_the_start(world: World) -> None:
    (world.below.root / "refuses").touch()
    with pytest.raises(DriverUnverified):
        world.apply(SEVEN)
    assert world.below.get(at_start.UNIT) is None
