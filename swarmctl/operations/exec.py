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
from swarmctl.plans.events import Note

NOT_FOUND = 127
"""As shells and `ssh` say that there is no such program."""
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
    status = open_(find(declared(folder, emit, machines_alone=True).machines, node)).exec(list(command))
    if status == NOT_FOUND and len(command) == 1 and len(words := command[0].split()) > 1:
        told = f"{words[0][:40]} and what follows it were given as one word, which is the name of no program"
        emit(Note(f"{told}: leave out the quotes, or let a shell read it (`sh -c '…'`)", warning=True))
    return status
