"""`swarmctl mesh rotate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import (
    Context,
    ask,
    at_work,
    complete_nodes,
    format_option,
    lock_timeout_option,
    pass_context,
    print_out,
    require_terminal,
    show_plan,
    show_run,
)

if TYPE_CHECKING:
    from swarmctl.plans.model import Plan


@click.command(name="rotate")
@click.argument("nodes", metavar="[NODE]...", nargs=-1, shell_complete=complete_nodes)
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@click.option(
    "--refresh/--no-refresh",
    default=True,
    help="Read the world back first, or go by what is recorded: then nodes that don't answer are left out.",
)
@lock_timeout_option
@format_option()
@pass_context
def command(
    context: Context, nodes: tuple[str, ...], yes: bool, refresh: bool, lock_timeout: float, format_: str
) -> None:
    """Rotate the keys of these nodes, or of all nodes of all meshes, without losing a packet.

    This is an apply, with plan and question, and also does what else is declared and not done. While keys change, the
    nodes and their peers have a second interface on the port `rotationPort`. Interrupted, it is finished by the next
    `swarmctl mesh rotate` or `swarmctl apply`. Rotations that are due by age need no command: every apply does them.

    A plan of it can't be saved: `plan --out` saves those of due rotations.

    \b
    Examples:
      swarmctl mesh rotate                          all nodes
      swarmctl mesh rotate workers-0 workers-1      these two
      swarmctl mesh rotate --yes --no-refresh       without nodes that don't answer
    """
    from swarmctl.operations.mesh_rotate import rotate
    from swarmctl.operations.stack import Options

    require_terminal(yes, "mesh rotate")
    options = Options(refresh, lock_timeout=lock_timeout)
    with at_work() as (progress, stopper):

        def confirm(plan: Plan) -> bool:
            progress.pause()
            if format_ == "text" or not yes:
                show_plan(plan, to_stderr=format_ == "json")
            return yes or ask("Rotate these keys? [y/N]").lower() in ("y", "yes")

        run = rotate(context.folder, nodes, confirm=confirm, emit=progress.emit, stopper=stopper, options=options)
    if format_ == "json":
        from swarmctl.reports import json_v1

        print_out(json_v1.text(json_v1.apply(run)))
    else:
        show_run(run, nothing="Nothing to change.", done="Rotated")
    run.judge()
