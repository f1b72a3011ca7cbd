"""`swarmctl engine`: get the Pulumi engine, or say which one is used."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import format_option

if TYPE_CHECKING:
    from swarmctl.engine.install import Engine


@click.group(name="engine")
def command() -> None:
    """Install or find the Pulumi engine, the program that plans and applies.

    It is looked for in SWARMCTL_ENGINE, on PATH and in swarmctl's cache; `install` then downloads the official
    release, or builds the pinned one with Go.

    \b
    Examples:
      swarmctl engine install            get it, once per user
      swarmctl engine path               print which one is used
    """


@command.command()
@format_option()
def install(format_: str) -> None:
    """Get the engine, unless there is one already.

    \b
    Examples:
      swarmctl engine install
      swarmctl engine install --format json | jq -r .version
    """
    from swarmctl.engine.install import install as get
    from swarmctl.reports.fetching import fetching

    with fetching(sys.stderr) as emit:
        engine = get(emit)
    _show(engine, format_, f"Pulumi {engine.version} ({engine.source}): {engine.path}")


@command.command()
@format_option()
def path(format_: str) -> None:
    """Print the path of the engine that is used; fails when there is none yet, and fetches nothing.

    \b
    Examples:
      swarmctl engine path
      "$(swarmctl engine path)" version
    """
    from swarmctl.engine.install import locate

    engine = locate()
    _show(engine, format_, str(engine.path))


def _show(engine: Engine, format_: str, text: str) -> None:
    document = {"schema": "swarmctl/engine/v1", "path": str(engine.path), "version": engine.version}
    click.echo(json.dumps({**document, "source": engine.source}) if format_ == "json" else text)
