"""`swarmctl doctor`."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import Context, ask, format_option, lock_timeout_option, print_out, require_terminal, tell
from swarmctl.errors import UsageError

if TYPE_CHECKING:
    from swarmctl.operations.doctor_stack import Examination
    from swarmctl.operations.remains import Finding


@click.command(name="doctor")
@click.option("--stack", "of_stack", is_flag=True, help="Compare this stack's state with what exists, instead.")
@click.option("--adopt", is_flag=True, help="With --stack: record what is declared and exists; changes nothing else.")
@click.option("--remove", is_flag=True, help="With --stack: remove what exists and no state knows, after asking.")
@click.option("--yes", "-y", is_flag=True, help="Don't ask before --remove.")
@lock_timeout_option
@format_option()
@click.pass_context
def command(
    ctx: click.Context, of_stack: bool, adopt: bool, remove: bool, yes: bool, lock_timeout: float, format_: str
) -> int:
    """Check what this machine can do, and say how to mend what it cannot. Changes nothing.

    With --stack: find, by the marks that everything carries, what belongs to the stack in this folder and no state
    knows, and what the state knows and does not exist; also when the machine that applied is gone, and its state with
    it. --adopt records what is declared as it is found: nothing is made anew, the next plan shows what differs.
    --remove takes away what no state knows, declared or not; a machine goes with everything on it.

    Exit code 0 when all is well, 1 when something is missing or, with --stack, not as the state has it.

    \b
    Examples:
      swarmctl doctor                    a table, and the commands that mend
      swarmctl doctor --format json      the same for a program
      swarmctl doctor --stack            what no state knows, and what is gone
      swarmctl doctor --stack --adopt    take over what a lost state knew
    """
    if of_stack:
        if adopt and remove:
            raise UsageError("--adopt and --remove exclude each other", "see first what there is: doctor --stack")
        return _of_stack(ctx, adopt=adopt, remove=remove, yes=yes, lock_timeout=lock_timeout, format_=format_)
    if adopt or remove:
        raise UsageError(f"--{'adopt' if adopt else 'remove'} is about a stack", "add --stack")
    from swarmctl.operations.doctor import all_well, examine
    from swarmctl.reports import doctor as report
    from swarmctl.reports.console import look

    areas = examine()
    if format_ == "json":
        click.echo(json.dumps(report.to_json(areas), indent=2))
    else:
        click.echo(report.render(areas, color=look(sys.stdout).color))
    return 0 if all_well(areas) else 1


def _of_stack(ctx: click.Context, *, adopt: bool, remove: bool, yes: bool, lock_timeout: float, format_: str) -> int:
    from swarmctl.operations import doctor_stack
    from swarmctl.reports import remains as report
    from swarmctl.reports.console import look, safe, wrapped

    folder = ctx.ensure_object(Context).folder

    def confirm(going: Sequence[Finding], name: str) -> bool:
        if format_ == "text" or not yes:
            console = look(sys.stderr)
            click.echo(wrapped(report.listed(going, color=console.color), console), err=True, color=console.color)
        return yes or ask(f"Type the stack's name, {safe(name)}, to remove this:") == name

    if remove:
        require_terminal(yes, "doctor --stack --remove")
        found: Examination = doctor_stack.remove(folder, tell, confirm=confirm, lock_timeout=lock_timeout)
    elif adopt:
        found = doctor_stack.adopt(folder, tell, lock_timeout=lock_timeout)
    else:
        found = doctor_stack.examine(folder, tell)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(report.to_json(found)))
    else:
        console = look(sys.stdout)
        print_out(wrapped(report.render(found, color=console.color), console), color=console.color)
    return 0 if found.well else 1
