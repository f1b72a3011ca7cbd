"""A run that is watched while it works: what it has said so far, its processes, and `kill -9` at an observed moment."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from swarmctl.state.checkpoint import type_of
from swarmctl.state.journal import Intent, read
from tests.integration.lab import Lab

PROGRESS = re.compile(r"^ +\[ *(\d+)/(\d+)\]")
"""A finished step, as it is told when standard error is no terminal."""


class Watched:
    """`swarmctl ARGS` on a lab, with both outputs read as they come."""

    def __init__(self, lab: Lab, *args: str, stdin: int = subprocess.DEVNULL) -> None:
        self.lab = lab
        self.process = lab.start(*args, stdin=stdin)
        self.killed = ""
        """Whom `kill` has killed."""
        self._said: dict[str, list[str]] = {"out": [], "err": []}
        streams = {"out": self.process.stdout, "err": self.process.stderr}
        self._readers = [
            threading.Thread(target=self._read, args=(name, stream), daemon=True) for name, stream in streams.items()
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, name: str, stream: IO[str]) -> None:
        with stream:
            while piece := os.read(stream.fileno(), 65536):
                self._said[name].append(piece.decode())

    @property
    def out(self) -> str:
        """Standard output so far."""
        return "".join(self._said["out"])

    @property
    def err(self) -> str:
        """Standard error so far."""
        return "".join(self._said["err"])

    @property
    def progress(self) -> int:
        """Steps that were told as finished so far."""
        counts = [int(found[1]) for line in self.err.splitlines() if (found := PROGRESS.match(line))]
        return max(counts, default=0)

    def until(self, happened: Callable[[Watched], object], seconds: float = 90.0) -> None:
        """Wait for something to be seen; that the run ends first is a failure."""
        deadline = time.monotonic() + seconds
        while not happened(self):
            assert self.process.poll() is None, f"it ended before that was seen:\n{self.out}\n{self.err}"
            assert time.monotonic() < deadline, f"that was not seen:\n{self.out}\n{self.err}"
            time.sleep(0.002)

    def find(self, victim: str) -> int:
        """The process id of `cli`, `engine` or `provider`; 0 while it is not there."""
        return self.process.pid if victim == "cli" else next(_find(self.process.pid, victim), 0)

    def kill(self, victim: str) -> None:
        """Kill -9. That the victim is not alive any more, or that the run has come to its end, is a failure."""
        pid = self.find(victim)
        assert pid, f"no {victim} is there"
        assert alive(pid), f"the {victim} has ended already"
        os.kill(pid, signal.SIGKILL)
        self.killed = victim

    def end(self, seconds: float = 120.0) -> int:
        """Wait for the run's end and return its status."""
        self.process.wait(seconds)
        self.end_of_output(seconds)
        assert "Traceback (most recent call last)" not in self.out + self.err, self.out + self.err
        return self.process.returncode

    def end_of_output(self, seconds: float) -> None:
        """Wait until nobody has its outputs any more."""
        for reader in self._readers:
            reader.join(seconds)

    def died(self) -> None:
        """The run ended because of `kill`, and neither said nor signalled success."""
        status = self.end()
        said = f"status {status}\n{self.out}\n{self.err}"
        if self.killed == "cli":
            assert status == -signal.SIGKILL, said
        else:
            # 7: some of it failed, and is named; 1: the engine itself has failed, or nothing was finished before.
            assert status == (7 if "✗" in self.err and "nothing changed" not in self.out else 1), said
            assert "error:" in self.err, said
        assert "Applied" not in self.out, said
        assert "Destroyed" not in self.out, said


def again(lab: Lab, *args: str) -> None:
    """Run the command as a user does after a crash: what the run before has left running is waited for by itself."""
    run = lab(*args, code=None)
    assert run.code == 0, f"{args}: exit {run.code}\n{run.out}\n{run.err}"


def nodes(watched: Watched) -> list[str]:
    """Nodes that have a folder."""
    return sorted(path.name for path in (watched.lab.data / "lab").glob("*/nodes/*"))


def pending(watched: Watched) -> list[str]:
    """What the run has noted in its journal that it begins, and not that it is done: types of resources."""
    for file in (watched.lab.data / "stacks").glob("*/runs/*/journal"):
        begun: dict[int, str] = {}
        for record in read(file):
            if isinstance(record, Intent):
                begun[record.n] = type_of(record.urn)
            else:
                begun.pop(record.n, None)
        return list(begun.values())
    return []


def alive(pid: int) -> bool:
    """Whether the process runs; one that only nobody has waited for yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def _find(parent: int, victim: str) -> Iterator[int]:
    """Descendants of `parent` that are the engine or the provider; what starts them is neither yet."""
    for child in _children(parent):
        try:
            arguments = Path(f"/proc/{child}/cmdline").read_text().split("\0")
        except OSError:
            continue
        launching = any(argument.endswith("launch.py") for argument in arguments)
        if victim == "engine" and "--event-log" in " ".join(arguments) and not launching:
            yield child
        if victim == "provider" and "swarmctl.provider" in arguments and not launching:
            yield child
            continue  # children of its that have not become what they shall be yet look the same
        yield from _find(child, victim)


def _children(pid: int) -> list[int]:
    found: list[int] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            found += map(int, children.read_text().split())
        except OSError:
            continue
    return found
