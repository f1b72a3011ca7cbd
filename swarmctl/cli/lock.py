"""`swarmctl lock`: who works on the stack, and releasing the lease by hand."""

from __future__ import annotations

import json
import sys

import click

from swarmctl.cli.context import Context, format_option, pass_context, print_out, tell
from swarmctl.errors import UsageError

GREATEST = 10**17
"""Tokens are milliseconds, and what compares them on a machine takes 18 digits."""


@click.group(name="lock")
def command() -> None:
    """Show who works on the stack and who waits for it, or release its lease.

    A run that dies, hangs or sleeps needs no help: the next run takes its place by itself, within seconds on the same
    machine, within 15 seconds on another.

    \b
    Examples:
      swarmctl lock show                 who holds the lease, does it live, who waits
      swarmctl lock release              free the lease of a run that is gone
      swarmctl lock release --force      end the run that holds it
    """


@command.command()
@format_option()
@pass_context
def show(context: Context, format_: str) -> None:
    """Show who works on the stack, whether it gives signs of life, and who waits in which order.

    \b
    Examples:
      swarmctl lock show
      swarmctl lock show --format json | jq -r .holder.run
    """
    from swarmctl.operations.lock import show as look_at
    from swarmctl.reports import lock as report
    from swarmctl.reports.console import look

    status = look_at(context.folder)
    if format_ == "json":
        print_out(json.dumps(report.to_json(status), indent=2))
    else:
        print_out(report.render(status, color=look(sys.stdout).color), color=look(sys.stdout).color)


@command.command()
@click.option("--force", is_flag=True, help="Also of a run that lives: end it, or cut it off when it is elsewhere.")
@click.option(
    "--above",
    metavar="TOKEN",
    type=click.IntRange(1, GREATEST),
    help="With --force: the next token is greater than this one; the refusal of a run that is overtaken names it.",
)
@format_option()
@pass_context
def release(context: Context, force: bool, above: int | None, format_: str) -> None:
    """Release the lease of a run that is gone. One that lives is left alone, unless --force is given.

    With --force a run on this machine is asked to end, so that it saves what it has done, and killed if it does not.
    A run on another machine can't be ended from here: it is cut off from the state and, by its older token, from every
    machine that can compare tokens.

    With --force the next run's token is also greater than any that the stack's machines have seen, whether or not
    anybody holds the lease. That is of use when a clock was ahead and the state with its count of tokens was lost.

    \b
    Examples:
      swarmctl lock release
      swarmctl lock release --force
      swarmctl lock release --force --above 1797874389982
    """
    if above and not force:
        raise UsageError("--above is for --force alone", "whoever works under an older token is kept out by it")
    from swarmctl.operations.lock import release as free
    from swarmctl.reports import lock as report

    released = free(context.folder, tell, force=force, above=above or 0)
    if format_ == "json":
        print_out(json.dumps(report.released_to_json(released), indent=2))
    else:
        print_out(report.render_released(released))
