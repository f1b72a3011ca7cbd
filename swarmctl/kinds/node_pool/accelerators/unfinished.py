"""A driver whose change failed or was cut off, and which is declared no more.

Its machine must not get back into service because nobody remembers: so it is not let go. Only when the whole stack
goes it is, as it is, for nobody will declare it once more then; packages are made whole first, and the machine stays
drained.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.hosts import packages
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.node_pool.accelerators.errors import DriverUnfinished
from swarmctl.kinds.node_pool.accelerators.machine import Machine
from swarmctl.kinds.node_pool.accelerators.resources import turn_of
from swarmctl.kinds.node_pool.draining import reading as draining
from swarmctl.kinds.node_pool.draining.reading import CHANGING, LEAVING, TURNS


def on(hosts: Hosts, inputs: Mapping[str, Any]) -> bool:
    """Whether it is so on the machine now."""
    return Machine(hosts, inputs).seen().unverified or _turns(hosts, inputs).get(turn_of(inputs)) == CHANGING


def let_go(hosts: Hosts, inputs: Mapping[str, Any]) -> None:
    """Raises DriverUnfinished, unless the whole stack goes. The note of the turn stays for whoever forgets how the
    machine leaves service and comes back."""
    machine = Machine(hosts, inputs)
    if not (hosts.fence and hosts.fence.destroys):
        out = "; it stays out of service" if turn_of(inputs) in _turns(hosts, inputs) else ""
        notes = f"{machine.places.folder} and {TURNS}/{turn_of(inputs)}"
        raise DriverUnfinished(
            f"{machine.name}: a change of its {inputs['vendor']} driver failed or was cut off, and what is installed "
            f"was never verified to work: it is not let go like that{out}",
            "declare it once more and apply, then take it out; or, where nobody wants it verified, mend it there by "
            f"hand, remove {notes}, and apply again",
        )
    there = machine.installed()
    if there.interrupted or there.broken:
        try:
            machine.work(machine.tools.mend())
        except packages.PackagesFailed:
            pass  # a package that can't be configured stays so; the stack goes all the same


def hooks_are_gone(hosts: Hosts, inputs: Mapping[str, Any]) -> None:
    """It is verified, by a run that knows no hooks any more: where an earlier one has left the machine drained, whoever
    forgets the hooks brings it back."""
    at = f"{TURNS}/{turn_of(inputs)}"
    hosts.open(inputs["host"]).run(["sh", "-c", f"[ ! -e {at} ] || printf {LEAVING} >{at}"])


def _turns(hosts: Hosts, inputs: Mapping[str, Any]) -> Mapping[str, str]:
    if not inputs.get("drain"):
        return {}
    return hosts.look(inputs["host"], draining.reading(inputs["drain"]["hooks"]["check"])).turns
