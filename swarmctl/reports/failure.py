"""How a run that cannot go on is told: message, details, hint; never a traceback."""

from __future__ import annotations

import click

from swarmctl.errors import SwarmError


def show_error(error: SwarmError) -> None:
    """Print an error that ends the run to standard error."""
    click.echo(f"{click.style('error:', fg='red', bold=True)} {error.message}", err=True)
    for line in error.details:
        click.echo(f"  {line}", err=True)
    if error.hint:
        click.echo(f"{click.style('help:', fg='cyan', bold=True)} {error.hint}", err=True)


def show_bug(error: BaseException, *, version: str, debug: bool) -> None:
    """Print an unforeseen exception as what it is: a defect of swarmctl, with the place it came from."""
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_name}, line {place.tb_lineno})" if place else ""
    click.echo(
        f"{click.style('bug:', fg='red', bold=True)} swarmctl {version} met something unforeseen: "
        f"{type(error).__name__}: {error}{where}",
        err=True,
    )
    if not debug:
        hint = click.style("help:", fg="cyan", bold=True)
        click.echo(f"{hint} run it again with --debug for a log, and report both", err=True)
