"""`swarmctl gpu`: one module per command in this folder, imported when that command runs."""

from __future__ import annotations

import importlib

import click

COMMANDS = {
    "doctor": "Say what driver the cards should run, what runs, and what to do",
}
"""Every command with its one line of help; the module of the same name in this folder holds `command`."""


class _Group(click.Group):
    """Knows its commands without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that was asked for."""
        if cmd_name not in COMMANDS:
            return None
        found: click.Command = importlib.import_module(f"{__name__}.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.group(name="gpu", cls=_Group)
def command() -> None:
    """Look after the accelerators.

    \b
    Examples:
      swarmctl gpu doctor                all machines
      swarmctl gpu doctor gpu-0          one of them
    """
