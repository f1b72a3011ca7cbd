"""Whether a machine's driver works: what answers, in which version, and what DCGM says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmctl.kinds.node_pool.accelerators import scripts
from swarmctl.kinds.node_pool.accelerators.machine import Machine
from swarmctl.kinds.node_pool.accelerators.reading import Seen

FABRIC = "nvidia-fabricmanager.service"
HOSTENGINE = "nvidia-dcgm.service"
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Problem:
    """Why it does not count as working: a clause, and how to mend it where that is known."""

    text: str
    hint: str = ""


def problem(machine: Machine, inputs: Mapping[str, Any]) -> Problem | None:
    """The first thing that is wrong; None when the driver is verified."""
    seen = machine.seen()
    return _answers(seen, inputs) or _fabric(seen, inputs) or _diagnosed(machine, inputs)


def _answers(seen: Seen, inputs: Mapping[str, Any]) -> Problem | None:
    version = inputs["version"]
    if seen.failure:
        return Problem(f"nvidia-smi says: {seen.failure}")
    if seen.loaded != version:
        return Problem(f"the kernel module that is loaded is {seen.loaded or 'none'}, not {version}")
    if seen.answers != version:
        return Problem(f"nvidia-smi answers with {seen.answers or 'nothing'}, not {version}")
    if missing := sorted(set(inputs["cards"]) - {card.pci for card in seen.cards}):
        return Problem(f"nvidia-smi does not see the card at {missing[0]}, which is on the bus")
    return None


def _fabric(seen: Seen, inputs: Mapping[str, Any]) -> Problem | None:
    if not inputs["fabricManager"]:
        return None
    if seen.fabric != inputs["version"]:
        return Problem(f"Fabric Manager is {seen.fabric or 'not there'}, and the driver {inputs['version']}")
    if FABRIC not in seen.running:
        return Problem("Fabric Manager does not run: CUDA fails without it (802)")
    return None


def _diagnosed(machine: Machine, inputs: Mapping[str, Any]) -> Problem | None:
    if HOSTENGINE not in inputs["services"]:
        return None
    done = machine.script(scripts.diagnose(), timeout=330, check=False)
    if done.returncode == 0:
        return None
    lines = [
        " ".join(line.split()) for line in done.text.splitlines() if "fail" in line.lower() or "xid" in line.lower()
    ]
    said = "".join(char if char.isprintable() else "?" for char in (lines or [f"status {done.returncode}"])[0])
    return Problem(f"DCGM's diagnostics (level 1) fail: {said[:SHOWN]}", "see `dcgmi diag -r 1` there")
