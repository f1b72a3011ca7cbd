"""Read the logs of a node's services, once or as they grow."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from swarmctl.backends.base import Host
from swarmctl.operations.exec import Open, open_machine
from swarmctl.operations.nodes import declared, find
from swarmctl.operations.stack import Emit

Line = tuple[str, str]
"""Log name and one line of it, as the machine has it: untrusted, control characters and all."""
WINDOW = 1000
"""Lines per log looked at in each round of following; a log that grows faster than this loses lines, and says so."""
INTERVAL = 0.5
"""Seconds between two rounds."""


def read_logs(
    folder: Path, node: str, *, tail: int, follow: bool, emit: Emit, open_: Open = open_machine
) -> Iterator[Line]:
    """The last `tail` lines of every log of `node`, and with `follow` the ones that come, until interrupted.

    Raises UsageError for an unknown node, HostGone and HostUnreachable.
    """
    host = open_(find(declared(folder, emit, machines_alone=True).machines, node))
    return _follow(host, tail, time.sleep) if follow else iter(list(host.logs(tail=tail)))


def _follow(host: Host, tail: int, sleep: Callable[[float], None]) -> Iterator[Line]:
    seen = _by_log(host.logs(tail=max(tail, WINDOW)))
    for name, lines in seen.items():
        yield from ((name, line) for line in lines[len(lines) - min(tail, len(lines)) :])
    while True:
        sleep(INTERVAL)
        now = _by_log(host.logs(tail=WINDOW))
        for name, lines in now.items():
            yield from ((name, line) for line in added(seen.get(name, []), lines))
        seen = now


def added(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """The lines at the end of `after` that came since `before`, where both are the last lines of one growing log.

    >>> added(["a", "b"], ["b", "c"])
    ['c']
    """
    for kept in range(min(len(before), len(after)), 0, -1):
        if list(before[-kept:]) == list(after[:kept]):
            return list(after[kept:])
    lost = len(before) >= WINDOW and len(after) >= WINDOW
    return ["(lines were lost: the log grows faster than it is read)", *after] if lost else list(after)


def _by_log(lines: Iterable[Line]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name, line in lines:
        found.setdefault(name, []).append(line)
    return found
