"""`swarmctl import`: one module per source in this folder, imported when that command runs."""

from __future__ import annotations

import click

from swarmctl.cli.groups import Group

COMMANDS = {
    "host": "Turn a machine into a declaration, over SSH",
    "wireguard": "Turn configurations of wg-quick into declarations",
}
"""Every command with its one line of help; the module of the same name in this folder holds `command`."""


@click.group(name="import", cls=Group.of(COMMANDS, __name__))
def command() -> None:
    """Turn what runs already into declarations.

    \b
    Examples:
      swarmctl import wireguard a-0.conf a-1.conf               print the declarations
      swarmctl import wireguard *.conf --out my-stack           write them
      swarmctl import host ops@203.0.113.10                     declare a machine that is there
    """
