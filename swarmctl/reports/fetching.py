"""Draws how a program is fetched or built: a bar on a terminal, otherwise a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO

import click

from swarmctl.plans.events import Downloaded, Event, Note
from swarmctl.reports.console import look

_SHARE = 0.25
"""Without a bar, a line is printed at each further quarter,"""
_SECONDS = 30.0
"""and at the latest after so many seconds."""


@contextmanager
def fetching(stream: IO[str]) -> Iterator[Callable[[Event], None]]:
    """What to emit events to while something is fetched. Events of other sorts are not drawn."""
    if not look(stream).live:
        yield _Lines(stream)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(file=stream)) as bar:
        tasks: dict[str, TaskID] = {}

        def draw(event: Event) -> None:
            if isinstance(event, Note):
                bar.console.print(event.text, markup=False)
            if not isinstance(event, Downloaded):
                return
            if event.title not in tasks:
                tasks[event.title] = bar.add_task(event.title)
            bar.update(tasks[event.title], completed=event.done, total=event.total or None)

        yield draw


class _Lines:
    """Plain lines, few enough for a log."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._title = ""
        self._share = 0.0
        self._at = 0.0

    def __call__(self, event: Event) -> None:
        if isinstance(event, Note):
            click.echo(event.text, file=self._stream)
        if not isinstance(event, Downloaded):
            return
        now = time.monotonic()
        share = event.done / event.total if event.total else 0.0
        fresh = event.title != self._title
        if fresh or share >= min(1.0, self._share + _SHARE) > self._share or now - self._at > _SECONDS:
            click.echo(f"{event.title} … {share:.0%}" if event.total else f"{event.title} …", file=self._stream)
            self._title, self._share, self._at = event.title, share, now
