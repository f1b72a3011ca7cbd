"""The lab backend: machines in small on this computer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from swarmctl.backends.base import Check, Fence, Host, NewMachines, Owner, Placement, PoolRequest
from swarmctl.backends.lab import doctor, fabric, fencing, machine, modes, placement
from swarmctl.backends.lab.host import LabHost
from swarmctl.backends.lab.marks import Lab
from swarmctl.backends.lab.spec import LabSpec
from swarmctl.errors import SwarmError
from swarmctl.hosts.first_look import Seen


class LabBackend:
    """See `swarmctl.backends.base.Backend`. Holds nothing: everything it knows stands in marks and in the kernel."""

    name = "lab"
    spec: type[Any] = LabSpec
    here = True
    fences = True

    def place(
        self, stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Any]]
    ) -> list[Placement]:
        """See `placement.place`."""
        return placement.place(stack, pools, previous)

    def create_machine(self, inputs: Mapping[str, Any], fence: Fence | None = None) -> Mapping[str, Any]:
        """See `machine.create`."""
        return machine.create(inputs, fence)

    def read_machine(self, inputs: Mapping[str, Any], fence: Fence | None = None) -> Mapping[str, Any] | None:
        """See `machine.read`."""
        return machine.read(inputs, fence)

    def update_machine(
        self, old: Mapping[str, Any], new: Mapping[str, Any], fence: Fence | None = None
    ) -> Mapping[str, Any]:
        """Set address, MTU, route and limits; a node that has ended in the meantime is made again."""
        return machine.create(new, fence)

    def delete_machine(self, inputs: Mapping[str, Any], fence: Fence | None = None) -> None:
        """See `machine.delete`."""
        machine.delete(inputs["host"]["stack"], inputs["node"], fence)

    def require_mesh(self) -> None:
        """See `modes.require_wireguard`."""
        modes.require_wireguard()

    def require_access(self, stack: str) -> None:
        """A lab is on this computer."""

    def replaces(self) -> Mapping[str, str]:
        """Where a node stands and what it is called can't be changed while it runs."""
        return {
            "backend": "another backend has other machines",
            "host": "the machine is found by it",
            "node": "a machine keeps its name",
            "region": "the region decides the subnet",
        }

    def open_host(self, host: Mapping[str, Any], fence: Fence | None = None) -> Host:
        """The node that `host` names."""
        return LabHost(host, fence)

    def silent(self, stack: str, nodes: Collection[str]) -> Mapping[str, SwarmError]:
        """None: what is the matter with a node of this computer is told where it is read."""
        return {}

    def look_at_new(self, machines: Collection[Mapping[str, Any]], told: Mapping[str, Seen]) -> NewMachines:
        """Nothing of them is there: a node is made, and is what it is made to be."""
        return NewMachines()

    def disconnect(self) -> None:
        """There are none."""

    def machines(self, stack: str, besides: Collection[str] = ()) -> list[str]:
        """See `machine.names`."""
        return [name for name in machine.names(stack) if name not in besides]

    def owner(self, stack: str, node: str) -> Owner:
        """See `fencing.owner`."""
        return fencing.owner(Lab(stack), node)

    def greatest_token(self, stack: str) -> int:
        """See `fencing.greatest_token`."""
        return fencing.greatest_token(Lab(stack))

    def host_of(self, stack: str, node: str) -> Mapping[str, Any]:
        """A node is found by the stack's identity and its own name."""
        return {"backend": self.name, "stack": stack, "node": node}

    def remains(self, stack: str) -> list[str]:
        """See `fabric.remains`."""
        return fabric.remains(Lab(stack))

    def clear(self, stack: str, fence: Fence | None = None) -> list[str]:
        """See `machine.clear`."""
        return machine.clear(stack, fence)

    def sweep(self, stack: str, fence: Fence | None = None) -> list[str]:
        """See `machine.sweep`."""
        return machine.sweep(stack, fence)

    def doctor(self) -> list[Check]:
        """See `doctor.checks`."""
        return doctor.checks()


BACKEND = LabBackend()
