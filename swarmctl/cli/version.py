"""`swarmctl version`."""

from __future__ import annotations

import platform

import click

from swarmctl import __version__
from swarmctl.cli.context import format_option
from swarmctl.kinds import API_VERSION


@click.command(name="version")
@format_option()
def command(format_: str) -> None:
    """Print the version of swarmctl, of Python and of the declaration language.

    \b
    Examples:
      swarmctl version
      swarmctl version --format json     for a program
    """
    if format_ == "json":
        import json

        document = {"schema": "swarmctl/version/v1", "version": __version__}
        click.echo(json.dumps({**document, "python": platform.python_version(), "apiVersion": API_VERSION}))
    else:
        click.echo(f"swarmctl {__version__} (Python {platform.python_version()}, {API_VERSION})")
