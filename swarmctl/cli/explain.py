"""`swarmctl explain`."""

from __future__ import annotations

import click

from swarmctl.cli.context import complete_subjects, format_option, print_out


@click.command(name="explain")
@click.argument(
    "subject", required=False, default="", metavar="[KIND[.FIELD...]|CODE]", shell_complete=complete_subjects
)
@format_option()
def command(subject: str, format_: str) -> None:
    """Explain a kind, a field or a diagnostic code; without an argument, list them.

    \b
    Examples:
      swarmctl explain Mesh
      swarmctl explain NodePool.lab.count
      swarmctl explain SW2104
    """
    from swarmctl.operations.explain import contents, explain
    from swarmctl.reports.explain import render, to_json

    found = explain(subject) if subject else contents()
    if format_ == "json":
        import json

        print_out(json.dumps(to_json(found), indent=2))
    else:
        print_out(render(found))
