"""Whether a machine's driver works: what answers, in which version, and what DCGM or ROCm says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from swarmctl.kinds.node_pool.accelerators import amd, bounded, scripts
from swarmctl.kinds.node_pool.accelerators.machine import Machine
from swarmctl.kinds.node_pool.accelerators.reading import Seen, plain
from swarmctl.kinds.node_pool.accelerators.services import FABRIC, HOSTENGINE

HANGS = "look for XID in `dmesg` there, take the machine out of service and restart it; then apply again"


@dataclass(frozen=True, slots=True)
class Problem:
    """Why it does not count as working: a clause, and how to mend it where that is known."""

    text: str
    hint: str = ""


def problem(machine: Machine, inputs: Mapping[str, Any]) -> Problem | None:
    """The first thing that is wrong; None when the driver is verified."""
    seen = machine.seen()
    return _answers(machine, seen, inputs) or _fabric(seen, inputs) or _diagnosed(machine, seen, inputs)


def _answers(machine: Machine, seen: Seen, inputs: Mapping[str, Any]) -> Problem | None:
    version, tool = inputs["version"], machine.vendor.tool
    if seen.hangs:
        return Problem(seen.failure, HANGS)
    if seen.failure:
        return Problem(f"{tool} says: {seen.failure}")
    if seen.loaded != version:
        return Problem(f"the kernel module that is loaded is {seen.loaded or 'none'}, not {version}")
    if seen.answers != version:
        return Problem(f"{tool} answers with {seen.answers or 'nothing'}, not {version}")
    if missing := seen.lost(inputs["cards"]):
        return Problem(f"{tool} does not see the card at {missing[0]}, which is on the bus")
    return None


def _fabric(seen: Seen, inputs: Mapping[str, Any]) -> Problem | None:
    if not inputs["fabricManager"]:
        return None
    if seen.fabric != inputs["version"]:
        return Problem(f"Fabric Manager is {seen.fabric or 'not there'}, and the driver {inputs['version']}")
    if FABRIC not in seen.running:
        return Problem("Fabric Manager does not run: CUDA fails without it (802)")
    return None


def _diagnosed(machine: Machine, seen: Seen, inputs: Mapping[str, Any]) -> Problem | None:
    if inputs["vendor"] == "amd":
        script, what, where = amd.diagnose(len(inputs["cards"])), "ROCm does not work", "`rocminfo`"
    elif any(card.mig for card in seen.cards):
        # "MIG configuration is incompatible with the diagnostic" (NVIDIA DCGM, NvidiaValidationSuite.cpp): after a
        # change of the driver it is asked before the cards are divided.
        return None
    elif HOSTENGINE in inputs["services"]:
        script, what, where = scripts.diagnose(), "DCGM's diagnostics (level 1) fail", "`dcgmi diag -r 1`"
    else:
        return None
    done = machine.script(script, timeout=330, check=False)
    if done.returncode == 0:
        return None
    if str(done.returncode) in bounded.HUNG:
        return Problem(f"{what}: no answer in time: a card hangs", HANGS)
    lines = [" ".join(line.split()) for line in done.text.splitlines()]
    telling = [line for line in lines if any(word in line.lower() for word in ("fail", "xid", "not loaded", "error"))]
    return Problem(f"{what}: {plain((telling or [f'status {done.returncode}'])[0])}", f"see {where} there")
