"""Run a command on a node with the user's own terminal."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from swarmctl.backends import open_host
from swarmctl.backends.base import Host
from swarmctl.errors import UsageError
from swarmctl.graph.model import Machine
from swarmctl.operations.nodes import declared, find
from swarmctl.operations.stack import Emit

Open = Callable[[Machine], Host]


def open_machine(machine: Machine) -> Host:
    """The host of a declared machine; doesn't connect yet."""
    return open_host(machine.host)


def execute(folder: Path, node: str, command: Sequence[str], *, emit: Emit, open_: Open = open_machine) -> int:
    """Run `command` on `node` and return its exit status.

    Raises UsageError for an unknown node or an empty command, HostGone and HostUnreachable.
    """
    if not command:
        raise UsageError("no command to run", f"write it after two dashes: `swarmctl exec {node} -- ip addr`")
    return open_(find(declared(folder, emit).machines, node)).exec(list(command))
