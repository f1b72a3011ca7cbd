"""What every command gets, and the options that many share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Context:
    """The options of `swarmctl` itself."""

    directory: str
    debug: bool

    @property
    def folder(self) -> Path:
        """The stack's folder. Raises click.UsageError when there is none."""
        folder = Path(self.directory)
        if not folder.is_dir():
            raise click.UsageError(f"-C: no such folder: {self.directory}")
        return folder


pass_context = click.make_pass_decorator(Context)


def format_option(*more: str) -> Callable[[F], F]:
    """`--format text|json` and what else the command can write."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(["text", "json", *more]),
        default="text",
        show_default=True,
        help="What to print; with json nothing else is on standard output.",
    )
