"""Groups of commands: a folder with one module per command, imported when that command runs."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import ClassVar

import click


class Group(click.Group):
    """Knows its commands without importing them."""

    table: ClassVar[Mapping[str, str]] = {}
    """Every command with its one line of help."""
    package: ClassVar[str] = ""
    """Where the module of the same name holds `command`."""

    @classmethod
    def of(cls, table: Mapping[str, str], package: str) -> type[Group]:
        """The group of one folder."""
        return type("Group", (cls,), {"table": table, "package": package})

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(self.table)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that was asked for."""
        if cmd_name not in self.table:
            return None
        found: click.Command = importlib.import_module(f"{self.package}.{cmd_name}").command
        return found

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """From the table alone."""
        with formatter.section("Commands"):
            formatter.write_dl(list(self.table.items()))
