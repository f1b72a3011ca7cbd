"""`swarmctl mesh`: one module per command in this folder, imported when that command runs."""

from __future__ import annotations

import click

from swarmctl.cli.groups import Group

COMMANDS = {
    "rotate": "Rotate the keys of nodes without losing a packet",
    "verify": "Measure by real traffic that the mesh is as declared, and nothing in clear",
}
"""Every command with its one line of help; the module of the same name in this folder holds `command`."""


@click.group(name="mesh", cls=Group.of(COMMANDS, __name__))
def command() -> None:
    """Work on the mesh.

    \b
    Examples:
      swarmctl mesh rotate               new keys for all nodes, without losing a packet
      swarmctl mesh rotate workers-1     for this one
      swarmctl mesh verify               measure all meshes
    """
