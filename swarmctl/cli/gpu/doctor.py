"""`swarmctl gpu doctor`."""

from __future__ import annotations

import click

from swarmctl.cli.context import Context, complete_nodes, pass_context, print_out, tell


@click.command(name="doctor")
@click.argument("nodes", metavar="[NODE]...", nargs=-1, shell_complete=complete_nodes)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "json", "labels"]),
    default="text",
    show_default=True,
    help="What to print; labels is a line for each machine, for `kubectl label node`.",
)
@pass_context
def command(context: Context, nodes: tuple[str, ...], format_: str) -> int:
    """Say what cards the machines have, what driver they should run, what they run, and what to do. Changes nothing.

    Cards are known by their PCI ids, so no driver needs to be there. Where a pool declares no accelerators it is
    advice.

    \b
    Exit codes: 0 nothing is to be done
                1 something is
                8 a machine could not be read
    \b
    Examples:
      swarmctl gpu doctor                      all machines
      swarmctl gpu doctor gpu-0                one of them
      swarmctl gpu doctor --format json | jq '.nodes[] | select(.healthy | not) | .todo'
    """
    from swarmctl.operations.gpu_doctor import examine
    from swarmctl.plans.events import Note
    from swarmctl.reports import gpu_doctor

    found = examine(context.folder, nodes, emit=lambda event: tell(event) if isinstance(event, Note) else None)
    if format_ == "json":
        from swarmctl.reports.json_v1 import text

        print_out(text(gpu_doctor.to_json(found)))
    else:
        print_out(gpu_doctor.render(found) if format_ == "text" else gpu_doctor.labels(found))
    return int(found.exit_code)
