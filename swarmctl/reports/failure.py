"""How a run that cannot go on is told: message, details, hint; never a traceback."""

from __future__ import annotations

import logging
import sys

import click

from swarmctl.errors import InvalidDeclaration, SwarmError
from swarmctl.reports.console import Console, look, paint, safe, wrapped
from swarmctl.reports.logfile import without_secrets

_log = logging.getLogger(__name__)


def show_error(error: SwarmError) -> None:
    """Print an error that ends the run to standard error; every diagnostic of invalid declarations, with excerpts."""
    told = "".join(f"\n  {line}" for line in error.details)
    _log.debug("the run ends with exit code %d: %s%s", error.exit_code, error.message, told, exc_info=error)
    console = look(sys.stderr)
    color = console.color
    if isinstance(error, InvalidDeclaration) and error.diagnostics:
        from swarmctl.reports.diagnostics import render_text

        text = render_text(error.diagnostics, error.sources, color=color)
        click.echo(text.rstrip("\n"), err=True, color=color)
        return
    _say("error:", "red", error.message, console)
    for line in error.details:
        click.echo(wrapped(f"  {safe(line)}", console), err=True, color=color)
    if error.hint:
        _say("help:", "cyan", error.hint, console)


def show_system_error(error: OSError) -> None:
    """Print what the operating system refused: a full disk, a folder that may not be read."""
    what = f"{error.filename}: " if error.filename else ""
    why = error.strerror or str(error)
    show_error(SwarmError(f"the system refused: {what}{why}", "mend that, or run it again with --debug for a log"))


def show_bug(error: BaseException, *, version: str, debug: bool) -> None:
    """Print an unforeseen exception as what it is: a defect of swarmctl, with the place it came from."""
    # Below WARNING, or logging would print it, traceback and all, when there is no log file.
    _log.debug("unforeseen", exc_info=error)
    console = look(sys.stderr)
    place = error.__traceback__
    while place and place.tb_next:
        place = place.tb_next
    where = f" ({place.tb_frame.f_code.co_name}, line {place.tb_lineno})" if place else ""
    what = without_secrets(f"{type(error).__name__}: {error}")
    _say("bug:", "red", f"swarmctl {version} met something unforeseen: {what}{where}", console)
    if not debug:
        _say("help:", "cyan", "run it again with --debug for a log, and report both", console)


def _say(word: str, style: str, text: str, console: Console) -> None:
    color = console.color
    line = f"{paint(word, style, 'bold', color=color)} {safe(text, keep=chr(10))}"
    click.echo(wrapped(line, console), err=True, color=color)
