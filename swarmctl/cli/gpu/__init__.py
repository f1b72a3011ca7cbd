"""`swarmctl gpu`: one module per command in this folder, imported when that command runs."""

from __future__ import annotations

import click

from swarmctl.cli.groups import Group

COMMANDS = {
    "doctor": "Say what driver the cards should run, what runs, and what to do",
}
"""Every command with its one line of help; the module of the same name in this folder holds `command`."""


@click.group(name="gpu", cls=Group.of(COMMANDS, __name__))
def command() -> None:
    """Look after the accelerators.

    \b
    Examples:
      swarmctl gpu doctor                all machines
      swarmctl gpu doctor gpu-0          one of them
    """
