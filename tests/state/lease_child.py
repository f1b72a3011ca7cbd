"""A process that takes a lease, for tests that stop it, kill it and look what it does: it is told and tells by pipes.

`far` makes it a process of another machine: its boot, its clock and its process ids mean nothing to others.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from swarmctl.errors import SwarmError
from swarmctl.state import holder, lease, lease_queue, lease_watch
from swarmctl.state.lease import Timing
from swarmctl.state.model import Holder

SHORT = Timing(ttl=0.4, patience=0.4)


def somebody(far: str = "") -> Holder:
    """This process; on the machine `far`, when that is named."""
    mine = holder.me()
    return replace(mine, host=far, boot=f"boot of {far}") if far else mine


def move_away(far: str) -> None:
    """Make this process one of another machine. Not to be undone: for processes of tests only."""
    boot = f"boot of {far}"
    lease_queue.clock = lease_watch.clock = lambda: boot  # type: ignore[attr-defined]
    holder.boot = lambda: boot


def work(pipe: Connection, folder: Path, timeout: float, far: str, timing: Timing) -> None:
    """Take the lease, say so, then do as told: `check`, `release`, `exit`."""
    holder.one_machine = lambda folder: False  # a store that machines share
    if far:
        move_away(far)
    try:
        held = lease.acquire(
            folder, somebody(far), timeout=timeout, timing=timing, on_wait=lambda it: pipe.send(("waits", it.text))
        )
    except SwarmError as error:
        pipe.send((type(error).__name__, error.message))
        return
    pipe.send(("taken", held.token))
    while True:
        match pipe.recv():
            case "check":
                try:
                    held.check()
                    pipe.send(("ours", held.token))
                except SwarmError as error:
                    pipe.send((type(error).__name__, error.message))
            case "lost":
                pipe.send(("lost", held.lost.wait(5.0)))
            case "release":
                held.release()
                pipe.send(("released", held.token))
            case "exit":
                return


class Child:
    """One such process."""

    def __init__(self, folder: Path, timeout: float = 0.0, far: str = "", timing: Timing = SHORT) -> None:
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.state.lease_child"])
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=work, args=(other, folder, timeout, far, timing))
        self.process.start()
        other.close()
        assert self.process.pid is not None
        self.pid: int = self.process.pid

    def says(self, patience: float = 20.0) -> tuple[str, Any]:
        assert self.pipe.poll(patience), "it says nothing"
        found: tuple[str, Any] = self.pipe.recv()
        return found

    def taken(self) -> int:
        """The token, once it has the lease."""
        while (said := self.says())[0] == "waits":
            pass
        assert said[0] == "taken", said
        return int(said[1])

    def ask(self, what: str) -> tuple[str, Any]:
        self.pipe.send(what)
        return self.says()

    def stop(self) -> None:
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        self.process.join(10)

    def close(self) -> None:
        if self.process.is_alive():
            self.kill()
        self.process.join(10)
        self.pipe.close()


@contextlib.contextmanager
def children() -> Iterator[list[Child]]:
    """Ended after the test, whatever it has come to."""
    made: list[Child] = []
    try:
        yield made
    finally:
        for child in made:
            child.close()
