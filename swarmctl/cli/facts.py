"""`swarmctl facts`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import Context, Seconds, complete_nodes, pass_context, print_out, tell

if TYPE_CHECKING:
    from swarmctl.plans.events import Event


@click.command(name="facts")
@click.argument("nodes", metavar="[NODE]...", nargs=-1, shell_complete=complete_nodes)
@click.option("--refresh", is_flag=True, help="Read the machines anew, whatever is known of them.")
@click.option(
    "--max-age",
    type=Seconds(),
    default="24h",
    show_default=True,
    help="What was read longer ago is read anew; 0 as --refresh.",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json"]),
    default="table",
    show_default=True,
    help="What to print; with json nothing else is on standard output.",
)
@pass_context
def command(context: Context, nodes: tuple[str, ...], refresh: bool, max_age: float, format_: str) -> int:
    """Show what the machines are: system, processors, memory, disks, network, accelerators, drivers. Changes nothing.

    A table of all nodes, or of those that are named; of a single named one everything that is known. Facts are kept on
    this computer for a day, so that a plan need not read them each time; AGE says how old they are. An apply that
    changes a machine, and another host key, have it read anew. What could not be found out is "unknown".

    \b
    Exit codes: 0 all are known
                1 a machine does not exist: not applied yet, or gone
                8 a machine exists and could not be read; the others are shown
    \b
    Examples:
      swarmctl facts                               a table of all
      swarmctl facts gpu-0                         everything about one
      swarmctl facts --refresh --format json | jq '.nodes[] | {node, cards: [.facts.accelerators[].model]}'
    """
    from swarmctl.operations.facts import facts
    from swarmctl.plans.events import Note
    from swarmctl.reports.console import look
    from swarmctl.reports.fetching import fetching

    with fetching(sys.stderr) as draw:

        def emit(event: Event) -> None:
            (tell if isinstance(event, Note) else draw)(event)

        found = facts(context.folder, nodes, emit=emit, max_age=0.0 if refresh else max_age)
    if format_ == "json":
        from swarmctl.reports.facts_json import to_json
        from swarmctl.reports.json_v1 import text

        print_out(text(to_json(found)))
    else:
        from swarmctl.reports.facts import render

        console = look(sys.stdout)
        single = len(set(nodes)) == 1
        print_out(render(found, color=console.color, width=console.width, single=single), color=console.color)
    return int(found.exit_code)
