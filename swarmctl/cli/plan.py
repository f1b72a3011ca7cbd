"""`swarmctl plan`, and `swarmctl plan show` for a saved one."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import (
    Context,
    Seconds,
    at_work,
    format_option,
    pass_context,
    print_out,
    scope_options,
    show_plan,
)
from swarmctl.errors import ExitCode

if TYPE_CHECKING:
    from swarmctl.operations.plan import Planned


def _expires(ctx: click.Context, param: click.Parameter, seconds: float) -> timedelta:
    if not seconds:
        raise click.BadParameter("a plan that is good for no time can't be applied")
    from swarmctl.plans.saved import LONGEST

    if timedelta(seconds=seconds) > LONGEST:
        raise click.BadParameter(f"a plan is good for {LONGEST.days} days at most")
    return timedelta(seconds=seconds)


@click.group(name="plan", invoke_without_command=True, subcommand_metavar="[show FILE]")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Save the plan for `apply --plan`."
)
@click.option(
    "--expires",
    type=Seconds(),
    default="24h",
    show_default=True,
    callback=_expires,
    help="How long the saved plan is good for: `90m`, `24h`, `7d`, at most `30d`.",
)
@click.option(
    "--sign-with",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="KEY",
    envvar="SWARMCTL_SIGNING_KEY",
    show_envvar=True,
    help="File of the Ed25519 key (OpenSSH) that signs the saved plan; of a key in ssh-agent the public one. Default: "
    "a key kept with the state.",
)
@click.option(
    "--detailed-exitcode", is_flag=True, help="Exit with 20 when something would change, with 0 when nothing would."
)
@scope_options
@format_option()
@pass_context
@click.pass_context
def command(
    ctx: click.Context,
    context: Context,
    out: Path | None,
    expires: timedelta,
    sign_with: Path | None,
    detailed_exitcode: bool,
    refresh: bool,
    targets: tuple[str, ...],
    format_: str,
) -> int:
    """Show what apply would change, down to what lands on each host; changes nothing.

    The state and the world are read: what has moved away from what was applied is shown too, since apply heals it. A
    saved plan is signed; `apply --plan` takes it while it is good, once, and only if nothing has moved since.

    \b
    Examples:
      swarmctl plan                         what would change
      swarmctl plan --out plan.json         save it, review it, `apply --plan plan.json`
      swarmctl plan show plan.json          look at a saved plan again
      swarmctl plan --no-refresh            by what is recorded, not read back from the machines
      swarmctl plan --detailed-exitcode     20 when changes are pending, for pipelines
      swarmctl plan --format json | jq .summary
    """
    if ctx.invoked_subcommand:
        _require_no_options(ctx)
        return ExitCode.OK
    if not out:
        _require_no_options(ctx, "expires", "sign_with", why="is for --out")
    from swarmctl.operations.plan import plan
    from swarmctl.operations.stack import Options

    if out:
        _require_no_declaration(out, context.folder)
    with at_work() as (progress, stopper):
        planned = plan(context.folder, emit=progress.emit, stopper=stopper, options=Options(refresh, targets))
    if out:
        planned.require_whole()
    # Saved first: a plan on the screen that could not be saved would be reviewed for nothing.
    saved = _save(out, planned, expires, sign_with) if out else ""
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.plan(planned.plan, planned.silent, planned.unfit)))
    else:
        show_plan(planned.plan, to_stderr=False)
    if saved:
        click.echo(saved, err=True)
    planned.judge()
    return ExitCode.CHANGES_PENDING if detailed_exitcode and not planned.plan.empty else ExitCode.OK


def _require_no_options(
    ctx: click.Context, *names: str, why: str = "is for making a plan; `show` takes its own options after it"
) -> None:
    """Raise click.UsageError for an option on the command line that would do nothing."""
    for param in ctx.command.params:
        given = ctx.get_parameter_source(param.name or "") is click.core.ParameterSource.COMMANDLINE
        if given and (not names or param.name in names):
            raise click.UsageError(f"{param.opts[0]} {why}", ctx)


def _require_no_declaration(out: Path, folder: Path) -> None:
    """Raise UsageError for a file that the next command would read as a declaration of the stack in `folder`."""
    from swarmctl.documents.reading import declares
    from swarmctl.errors import UsageError

    if declares(out, folder):
        better = out.with_name(f"{out.name.rpartition('.')[0]}.json")
        raise UsageError(f"{out} would be read as a declaration of this stack", f"name it {better}")


def _save(out: Path, planned: Planned, expires: timedelta, key: Path | None) -> str:
    """Save the plan; returns what to say of it."""
    from swarmctl.operations.saved_plans import save

    signed, refusal = save(out, planned, expires=expires, key=key)
    if refusal:
        return f"Saved: {out}; but `swarmctl apply --plan {out}` will refuse it as it is: {refusal}"
    return f"Saved: {out}, {signed}\n`swarmctl apply --plan {out}` applies exactly this"


@command.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@format_option()
@pass_context
def show(context: Context, file: Path, format_: str) -> None:
    """Show a saved plan again: what it changes, who signed it, when it expires.

    Needs no engine, no state and no declarations, and says what it could not look at without them.

    \b
    Examples:
      swarmctl plan show plan.json
      swarmctl plan show plan.json --format json | jq .verified.problems
    """
    from swarmctl.operations.plan_show import show as look

    shown = look(file, context.folder)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.saved_plan(shown)))
        return
    import sys

    from swarmctl.reports.console import look as console_of
    from swarmctl.reports.console import wrapped
    from swarmctl.reports.saved_plan import render

    console = console_of(sys.stdout)
    print_out(wrapped(render(shown, color=console.color, width=console.width), console), color=console.color)
