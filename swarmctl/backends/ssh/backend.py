"""The ssh backend: machines that are there already, reached over SSH."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from swarmctl.backends import ways
from swarmctl.backends.base import Check, Fence, Host, NewMachines, Owner, Placement, PoolRequest
from swarmctl.backends.ssh import index, place
from swarmctl.backends.ssh.spec import SshSpec
from swarmctl.errors import SwarmError
from swarmctl.hosts.first_look import Seen


class SshBackend:
    """See `swarmctl.backends.base.Backend`. The SSH library is imported when a machine is first asked something."""

    name = "ssh"
    spec: type[Any] = SshSpec
    here = False
    fences = True

    def place(
        self, stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Any]]
    ) -> list[Placement]:
        """See `place.place`."""
        return place.place(stack, pools, previous)

    def create_machine(self, inputs: Mapping[str, Any], fence: Fence | None = None) -> Mapping[str, Any]:
        """See `machine.create`."""
        from swarmctl.backends.ssh import machine

        return machine.create(inputs, fence)

    def read_machine(self, inputs: Mapping[str, Any], fence: Fence | None = None) -> Mapping[str, Any] | None:
        """See `machine.read`."""
        from swarmctl.backends.ssh import machine

        return machine.read(inputs, fence)

    def update_machine(
        self, old: Mapping[str, Any], new: Mapping[str, Any], fence: Fence | None = None
    ) -> Mapping[str, Any]:
        """See `machine.update`."""
        from swarmctl.backends.ssh import machine

        return machine.update(new, fence)

    def delete_machine(self, inputs: Mapping[str, Any], fence: Fence | None = None) -> None:
        """See `machine.delete`."""
        from swarmctl.backends.ssh import machine

        machine.delete(inputs, fence)

    def require_mesh(self) -> None:
        """Each machine is looked at when it is taken over."""

    def require_access(self, stack: str) -> None:
        """Raises `HostRefused` for declared key files that can't be used from this computer."""
        from swarmctl.backends.ssh import access

        access.require_files(list(ways.known(self.name, stack).values()))

    def replaces(self) -> Mapping[str, str]:
        """Another host key, and no old one beside it, is another machine."""
        return {
            "backend": "another backend has other machines",
            "host": "the machine is found by it",
            "node": "a machine keeps its name",
            "knownBy": "another host key means another machine",
        }

    def open_host(self, host: Mapping[str, Any], fence: Fence | None = None) -> Host:
        """The machine that `host` names; see `access.way`. With a fence one that was not taken over counts as gone."""
        from swarmctl.backends.ssh import access
        from swarmctl.backends.ssh.host import SshHost

        return SshHost(access.way(host), fence, taken_over=True)

    def silent(self, stack: str, nodes: Collection[str]) -> Mapping[str, SwarmError]:
        """See `machine.silent`."""
        from swarmctl.backends.ssh import machine

        return machine.silent(stack, nodes)

    def look_at_new(self, machines: Collection[Mapping[str, Any]], told: Mapping[str, Seen]) -> NewMachines:
        """See `machine.look_at_new`."""
        from swarmctl.backends.ssh import machine

        return machine.look_at_new(machines, told)

    def disconnect(self) -> None:
        """See `transport.Transport.close`."""
        from swarmctl.backends.ssh import transport

        transport.shared().close()

    def machines(self, stack: str, besides: Collection[str] = ()) -> list[str]:
        """See `machine.names`."""
        if not self._any(stack):
            return []
        from swarmctl.backends.ssh import machine

        return machine.names(stack, besides)

    def owner(self, stack: str, node: str) -> Owner:
        """See `machine.owner`."""
        from swarmctl.backends.ssh import machine

        return machine.owner(stack, node)

    def greatest_token(self, stack: str) -> int:
        """See `machine.greatest_token`."""
        if not self._any(stack):
            return 0
        from swarmctl.backends.ssh import machine

        return machine.greatest_token(stack)

    def _any(self, stack: str) -> bool:
        """Whether there may be machines of the stack; without any, the library is not imported."""
        return bool(ways.known(self.name, stack) or index.names(stack))

    def host_of(self, stack: str, node: str) -> Mapping[str, Any]:
        """Its name alone; how to reach it is looked up when it is opened."""
        return {"backend": self.name, "stack": stack, "node": node}

    def remains(self, stack: str) -> list[str]:
        """Nothing is made beside machines."""
        return []

    def clear(self, stack: str, fence: Fence | None = None) -> list[str]:
        """Nothing is made beside machines."""
        return []

    def sweep(self, stack: str, fence: Fence | None = None) -> list[str]:
        """See `machine.sweep`."""
        if not self._any(stack):
            return []
        from swarmctl.backends.ssh import machine

        return machine.sweep(stack, fence)

    def doctor(self) -> list[Check]:
        """See `doctor.checks`."""
        from swarmctl.backends.ssh import doctor

        return doctor.checks()


BACKEND = SshBackend()
