"""`swarmctl init`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from swarmctl.cli.context import Context, pass_context, print_out


@click.command(name="init")
@click.argument("directory", required=False, default=".", metavar="[DIR]", type=click.Path(path_type=Path))
@click.option("--name", default="", metavar="NAME", help="Name of the stack. Default: made of the folder's name.")
@pass_context
def command(context: Context, directory: Path, name: str) -> None:
    """Write a first stack into DIR (default: this folder): a cluster, two pools, a mesh and a security policy.

    The schema is written beside it, and the files name it, so that editors complete and check them. Nothing that
    exists is overwritten.

    \b
    Examples:
      swarmctl init my-stack
      swarmctl init my-stack --name eu-prod
    """
    from swarmctl.operations.init import init

    folder = context.folder / directory
    written = init(folder, name)
    for path in written:
        print_out(f"wrote {os.path.relpath(path)}")
    print_out(f"next: swarmctl -C {shlex.quote(os.path.relpath(folder))} plan")
