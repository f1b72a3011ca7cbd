"""Guarded changes of a run that lives: made, and put off again and again until the run is over and confirms them.

When this process dies, or the one that it works for, nobody puts them off any more, and the nodes undo them.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from swarmctl.backends.base import CommandFailed, Fenced, ForeignStack, Host, HostGone, HostUnreachable
from swarmctl.errors import SwarmError
from swarmctl.hosts import guard

Json = Any
MOST = 500
"""Nodes that are asked at the same time. Each by a thread of its own: those that are silent keep nobody waiting."""
TIMES = 3
"""How often a deadline is put off within its own span."""
CHANGE_TIMEOUT = 160.0
"""Seconds that a change may take: as long as one that is not guarded (`kinds.mesh.peers.TIMEOUT`), after it has waited
for another one of the same node (`guard.TURN`). It is put off meanwhile."""
ANSWER_TIMEOUT = 30.0
STARTS = 3
"""How often a timer is started that ends just then."""


class TimerFailed(SwarmError):
    """The node's timer does not run, so nothing was changed there."""


@dataclass(slots=True)
class _Kept:
    host: Host
    seconds: int
    next: float
    """When it is put off, by the clock of `time.monotonic`."""


def make(host: Host, change: guard.Change, token: int) -> str:
    """Make one guarded change; returns what it printed.

    Raises `TimerFailed` with nothing done, and what `Host.run` does.
    """
    script = guard.change(change, token).encode()
    for _ in range(STARTS):
        host.start_service(guard.SERVICE, guard.watch())
        done = host.run(guard.ARGV, stdin=script, timeout=CHANGE_TIMEOUT, check=False)
        answer = guard.parse(done.text)
        if done.returncode:
            lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
            raise CommandFailed(
                f"{host.name}: a guarded change of {change.part} ended with status {done.returncode}"
                + (f": {lines[-1][:500]}" if lines else "")
            )
        if answer.word == "guarded":
            return done.text.partition("\n")[2]
    raise TimerFailed(
        f"{host.name}: the timer that would undo the change does not start, so nothing was changed",
        f"see what `swarmctl logs {host.name}` says of {guard.SERVICE}",
    )


class Guards:
    """What this process has to put off. Safe for threads."""

    def __init__(self, alive: Callable[[], bool] = lambda: True, tick: float = 1.0) -> None:
        """`alive`: whether the run that this process works for still lives."""
        self._alive = alive
        self._kept: dict[str, _Kept] = {}
        self._asked: set[str] = set()
        """Nodes that have not answered yet."""
        self._guard = threading.Lock()
        self._tick = tick
        self._thread: threading.Thread | None = None

    def change(self, name: Mapping[str, Json], host: Host, change: guard.Change, token: int) -> str:
        """Make a guarded change, and put it off from now on. `name` is the input that names the host."""
        # Put off before it is made, too: it may take long.
        first = time.monotonic() + change.seconds / TIMES
        with self._guard:
            self._kept[json.dumps(name, sort_keys=True)] = _Kept(host, change.seconds, first)
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=(token,), daemon=True)
                self._thread.start()
        return make(host, change, token)

    def _work(self, token: int) -> None:
        while self._alive():
            for name, it in self._due().items():
                threading.Thread(target=self._ask, args=(name, it, token), daemon=True).start()
            time.sleep(self._tick)

    def _ask(self, name: str, kept: _Kept, token: int) -> None:
        try:
            self._put_off(name, kept, token)
        finally:
            with self._guard:
                self._asked.discard(name)

    def _due(self) -> dict[str, _Kept]:
        """Those whose turn it is and who are not being asked; the next one comes within their span."""
        now = time.monotonic()
        with self._guard:
            waiting = (name for name, it in self._kept.items() if it.next <= now and name not in self._asked)
            due = {name: self._kept[name] for name in islice(waiting, max(0, MOST - len(self._asked)))}
            self._asked.update(due)
        for it in due.values():
            it.next = now + it.seconds / TIMES
        return due

    def _put_off(self, name: str, kept: _Kept, token: int) -> None:
        """Once; what doesn't answer is asked again next time, what is not ours any more is forgotten."""
        script = guard.rearm(token, kept.seconds).encode()
        gone = False
        with contextlib.suppress(HostUnreachable, CommandFailed):
            try:
                kept.host.start_service(guard.SERVICE, guard.watch())
                done = kept.host.run(guard.ARGV, stdin=script, timeout=min(ANSWER_TIMEOUT, kept.seconds))
                gone = guard.parse(done.text).word == "other"
            except (HostGone, Fenced, ForeignStack):
                gone = True
        if gone:
            with self._guard:
                self._kept.pop(name, None)
