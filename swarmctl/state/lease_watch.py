"""What one observer sees of those in the lease's record, over time; and ending what a run that is gone has left."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

from swarmctl.processes import Process, environments
from swarmctl.state.holder import clock, of_former_boot, process_of
from swarmctl.state.lease_rules import Life, Party, Record, Sight, life
from swarmctl.state.runs import VARIABLE

RUNS = "runs"


class Watch:
    """Remembers since when each party's beat has not changed, on this process's own clock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._clock = clock()
        self._seen: dict[str, tuple[int, float, bool]] = {}
        """By party id: its beat, since when, and whether it has changed while we looked."""

    def lives(self, record: Record, now: float) -> dict[str, Life]:
        """What is known of each party by its id.

        `now`, of `time.monotonic`, was read before the flock was taken: were this process stopped afterwards, the time
        that it slept must not be held against those who could not beat, or whose beats it had read before.
        """
        parties = [*record.queue, *([record.owner] if record.owner else [])]
        return {party.id: life(self.sight(party, now), record.ttl) for party in parties}

    def sight(self, party: Party, now: float) -> Sight:
        """What is seen of one party."""
        process = process_of(party.holder)
        beat, since, moved = self._seen.get(party.id, (party.beat, now, False))
        if beat != party.beat:
            beat, since, moved = party.beat, now, True
        self._seen[party.id] = (beat, since, moved)
        shared = bool(party.clock) and party.clock == self._clock
        quiet = max(0.0, now - party.at) if shared else now - since
        if process is not None and process.pid == os.getpid():
            quiet = 0.0  # another thread of this process, which is not stopped: we run
        alive = process is not None and process.alive()
        former = of_former_boot(party.holder, self._folder)
        return Sight(process is not None, alive, quiet, shared or moved, former)


def remains(folder: Path) -> list[Process]:
    """Processes that runs of the stack in `folder` have started: engines and providers."""
    runs = os.path.realpath(folder / RUNS) + "/"
    start = f"{VARIABLE}=".encode()
    return [
        process
        for process, environment in environments()
        for entry in environment
        if entry.startswith(start) and os.path.realpath(os.fsdecode(entry[len(start) :])).startswith(runs)
    ]


def any_run(folder: Path) -> bool:
    """Whether any run has left something: only then are there processes to look for."""
    try:
        with os.scandir(folder / RUNS) as found:
            return any(found)
    except FileNotFoundError:
        return False


def end_remains(folder: Path, patience: float, meanwhile: Callable[[], None]) -> int:
    """Wait up to `patience` seconds for the processes of runs that are gone, then kill them; how many there were.

    They end by themselves: the engine and the provider notice that swarmctl is gone, and finish what they have begun.
    One that is stopped can't. `meanwhile` is called while waiting. Raises `ProcessStuck`, PermissionError.
    """
    deadline = time.monotonic() + patience
    seen: set[Process] = set()
    while left := remains(folder):
        seen.update(left)
        for process in left:
            if time.monotonic() >= deadline:
                process.kill()
            elif process.stopped():
                process.ends_by(signal.SIGKILL, 1.0)
        meanwhile()
        time.sleep(0.05)
    return len(seen)
