"""Cards are divided while none of the daemons around the driver has one open."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl.backends.base import Completed
from swarmctl.backends.reboot import CannotReboot
from swarmctl.kinds.node_pool.accelerators import at_start, dividing, turn
from swarmctl.kinds.node_pool.accelerators.errors import DriverUnverified, DriverWaits
from swarmctl.kinds.node_pool.accelerators.reading import Card, Seen
from swarmctl.kinds.node_pool.accelerators.vendors import VENDORS

CARD = "0000:10:00.0"
SERVICES = [
    "nvidia-dcgm-exporter.service",
    "nvidia-dcgm.service",
    "nvidia-fabricmanager.service",
    "nvidia-persistenced.service",
]


class Machine:
    """Notes what is asked of it."""

    name = "n1"
    host = None
    vendor = VENDORS["nvidia"]
    tools = SimpleNamespace(hold=lambda names: None)

    def __init__(self, says: str = "", *, divided: bool = False) -> None:
        self.says = says
        self.divided = divided
        self.done: list[Any] = []

    def work(self, work: object) -> None:
        pass

    def changed(self) -> None:
        pass

    def load_at_start(self, modules: Sequence[str]) -> None:
        pass

    def seen(self) -> Seen:
        return Seen(loaded="595.91.07", cards=(Card(0, CARD, "595.91.07", self.divided),))

    def start(self, units: Sequence[str]) -> None:
        self.done.append(list(units))

    def script(self, text: str, *, timeout: float = 120.0, check: bool = True) -> Completed:
        if text == at_start.END:
            return Completed(("sh",), 0, b"", b"")
        found = re.search(r"-mig ([01])", text)
        self.done.append(f"mig {found[1]}" if found else "loads" if "modprobe" in text else "other")
        return Completed(("sh",), 0, self.says.encode(), b"")


INPUTS: dict[str, Any] = {
    "version": "595.91.07",
    "kernelModule": "open",
    "held": [],
    "modules": [],
    "counters": [],
    "services": SERVICES,
    "cdi": "",
}
SEVEN = {CARD: {"1g.10gb": 7}}


def test_what_has_the_cards_open_is_stopped_before_and_started_after() -> None:
    machine = Machine()
    dividing.divide(machine, INPUTS, SEVEN)  # type: ignore[arg-type]
    assert machine.done == [["nvidia-fabricmanager.service"], "mig 1", SERVICES]


def test_nothing_is_stopped_where_nothing_is_divided() -> None:
    machine = Machine(divided=True)
    turn._settle(machine, {**INPUTS, "mig": SEVEN}, reload=False)  # type: ignore[arg-type]
    assert machine.done == [SERVICES]


def test_cards_are_whole_when_a_driver_that_was_loaded_anew_is_diagnosed() -> None:
    machine = Machine(divided=True)
    turn._settle(machine, {**INPUTS, "mig": SEVEN}, reload=True)  # type: ignore[arg-type]
    assert machine.done == ["loads", ["nvidia-fabricmanager.service"], "mig 0", SERVICES]


def test_they_run_again_also_where_the_mode_waits_for_a_restart(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(f"pending {CARD}")
    monkeypatch.setattr(dividing, "reboot", cannot)
    with pytest.raises(DriverWaits, match="MIG is not set before a restart, and it is a container"):
        dividing.divide(machine, INPUTS, SEVEN)  # type: ignore[arg-type]
    assert machine.done[-1] == SERVICES


def cannot(host: object, *, timeout: float) -> None:
    raise CannotReboot("and it is a container")


def test_a_mode_that_waits_is_set_by_a_restart_or_told(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(f"pending {CARD}")
    monkeypatch.setattr(dividing, "reboot", lambda host, timeout: setattr(machine, "says", ""))
    dividing.divide(machine, INPUTS, SEVEN)  # type: ignore[arg-type]
    assert machine.done.count("mig 1") == 2
    stubborn = Machine(f"pending {CARD}")
    monkeypatch.setattr(dividing, "reboot", lambda host, timeout: None)
    with pytest.raises(DriverUnverified, match=f"not set on {CARD}, after a restart neither"):
        dividing.divide(stubborn, INPUTS, SEVEN)  # type: ignore[arg-type]
