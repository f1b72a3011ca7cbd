"""`swarmctl schema`."""

from __future__ import annotations

from pathlib import Path

import click

from swarmctl.cli.context import complete_kinds, print_out
from swarmctl.errors import SwarmError


@click.command(name="schema")
@click.argument("kind", required=False, default="", shell_complete=complete_kinds)
@click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to a file."
)
def command(kind: str, output: Path | None) -> None:
    """Print the JSON Schema (2020-12) of KIND, or the one for files of any kinds.

    \b
    Examples:
      swarmctl schema NodePool
      swarmctl schema --output .swarmctl/swarmctl.v1alpha1.json

    Editors with the YAML language server use it by a first line such as
    `# yaml-language-server: $schema=.swarmctl/swarmctl.v1alpha1.json`; `swarmctl init` writes both.
    """
    from swarmctl.operations.schema import schema

    text = schema(kind)
    if output is None:
        print_out(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise SwarmError(
            f"cannot write {output}: {error.strerror or error}", "name a file that can be written"
        ) from error
