"""Cards that can't be reset take their MIG mode when the machine restarts: once for all of them, and for good."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.backends.reboot import CannotReboot
from swarmctl.kinds.node_pool.accelerators import dividing
from swarmctl.kinds.node_pool.accelerators.errors import DriverUnverified, DriverWaits
from tests.gpu.below import Below
from tests.gpu.test_at_start import CARDS, MIXED, SEVEN, SMI, World

RESET_ALONE = r"""
# As an A100: the mode that was asked for waits for a reset, which is refused while the machine's own `agent` has the
# card open. A restart brings it (`boots`), and takes all instances.
wants=$ROOT/wants
mkdir -p "$ROOT/mig" "$wants"
takes() { [ ! -e "$wants/$1" ] || case $(cat "$wants/$1") in
  Enabled) [ -e "$ROOT/mig/$1" ] || : >"$ROOT/mig/$1" ;;
  *) rm -f "$ROOT/mig/$1" ;;
esac; rm -f "$wants/$1"; }
now() { if [ -e "$ROOT/mig/$1" ]; then echo Enabled; else echo Disabled; fi; }
case "$*" in
  "-i "*" -mig 1") [ "$(now "$2")" = Enabled ] && rm -f "$wants/$2" || echo Enabled >"$wants/$2"; exit 0 ;;
  "-i "*" -mig 0") [ "$(now "$2")" = Disabled ] && rm -f "$wants/$2" || echo Disabled >"$wants/$2"; exit 0 ;;
  "--gpu-reset -i "*) [ ! -e "$ROOT/agent" ] || { echo 'in use by another client'; exit 19; }; takes "$3"; exit 0 ;;
  "-i "*" --query-gpu=mig.mode.current,"*) echo "$(now "$2"), $(cat "$wants/$2" 2>/dev/null || now "$2")"; exit 0 ;;
  boots) for card in "$ROOT"/mig/*; do [ ! -e "$card" ] || : >"$card"; done
    for card in "$wants"/*; do takes "${card##*/}"; done; exit 0 ;;
esac
"""


class Reset(World):
    """Whose cards are in use by somebody else, but while it starts."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.below.tool("nvidia-smi", RESET_ALONE + SMI)
        self.restarts = 0
        self.in_use(True)

    def in_use(self, used: bool) -> None:
        agent = self.below.root / "agent"
        agent.touch() if used else agent.unlink()

    def boot(self) -> None:
        self.restarts += 1
        self.in_use(False)
        self.below.run(["nvidia-smi", "boots"])
        self.start_up()
        self.in_use(True)

    def reboot(self, host: Below, *, timeout: float) -> None:
        """As `backends.reboot.reboot`."""
        self.boot()


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reset:
    made = Reset(tmp_path / "n1")
    monkeypatch.setattr(dividing, "reboot", made.reboot)
    return made


def test_one_restart_does_for_all_cards(world: Reset) -> None:
    world.apply(SEVEN)
    assert (world.divided(), world.restarts) == (SEVEN, 1)
    assert world.drift(SEVEN) == set()


def test_a_layout_that_goes_is_not_brought_back_by_the_restart_that_takes_it(world: Reset) -> None:
    world.apply(SEVEN)
    world.restarts = 0
    world.apply({})
    assert (world.divided(), world.restarts) == ({}, 1)
    assert world.drift({}) == set()


def test_the_same_of_one_card_out_of_several(world: Reset) -> None:
    world.apply(SEVEN)
    world.restarts = 0
    world.apply(MIXED)
    assert (world.divided(), world.restarts) == (MIXED, 1)
    world.boot()
    assert world.divided() == MIXED, "the unit is there again, and of the new layout"


def test_it_is_so_too_where_somebody_else_restarts_it(world: Reset, monkeypatch: pytest.MonkeyPatch) -> None:
    world.apply(SEVEN)
    monkeypatch.setattr(dividing, "reboot", cannot)
    with pytest.raises(DriverWaits):
        world.apply({})
    world.boot()
    world.apply({})
    assert world.drift({}) == set()


def test_what_did_not_come_to_its_end_is_drift_and_mended_by_the_next_apply(
    world: Reset, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(SEVEN)
    monkeypatch.setattr(dividing, "reboot", lambda host, *, timeout: None)
    with pytest.raises(DriverUnverified, match=f"not set on {CARDS[0]}, after a restart neither"):
        world.apply(MIXED)
    assert world.drift(MIXED) == {"mig", "startup"}
    monkeypatch.setattr(dividing, "reboot", world.reboot)
    world.apply(MIXED)
    assert world.drift(MIXED) == set()


def test_a_layout_that_was_taken_away_by_hand_comes_by_anybody_s_restart(
    world: Reset, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.apply(SEVEN)
    for card in CARDS:
        world.below.run(["nvidia-smi", "-i", card, "-mig", "0"])
    world.below.run(["nvidia-smi", "boots"])
    assert world.divided() == {}
    monkeypatch.setattr(dividing, "reboot", cannot)
    with pytest.raises(DriverWaits):
        world.apply(SEVEN)
    world.boot()
    assert world.divided() == SEVEN, "its unit is of what is declared, and stayed"


def cannot(host: Below, *, timeout: float) -> None:
    """As `backends.reboot.reboot` where it can't be done."""
    raise CannotReboot("and nobody may")
