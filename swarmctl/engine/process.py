"""The engine as a process: started apart from the terminal, stopped with care, bound to the lock and to us."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO

from swarmctl.engine import launch
from swarmctl.kinds.secrets import hand_over

LINGER = 5.0
"""Seconds that an interrupted engine gets to end after its last event."""
TAIL = 20
"""Lines of the engine's complaints that are kept for an error that it did not tell by an event."""


class EngineProcess:
    """One run of the engine. Start it in the thread that waits for it: the engine ends with that thread."""

    def __init__(
        self,
        engine: Sequence[str],
        provider: Sequence[str],
        environment: Mapping[str, str],
        folder: Path,
        lock: int,
        done: Callable[[], bool] = lambda: False,
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """`engine` and `provider` are command lines beginning with a path; `lock` is the file descriptor of the
        store's lock, held on by both of them, -1 for none; `done` tells whether its last event has come; `secrets` (see
        `kinds.secrets.Secrets.values`) are for the provider."""
        self._done = done
        # Not a pipe: with us gone the next line that the engine prints would kill it before it has saved the state.
        self._output: IO[bytes] = tempfile.TemporaryFile()
        self._interrupted = 0
        handed = hand_over(secrets) if secrets else -1
        told = {launch.SECRETS_VARIABLE: str(handed)} if secrets else {}
        self._process = subprocess.Popen(
            launch.command(os.getpid(), list(provider), list(engine)),
            stdin=subprocess.DEVNULL,
            # Its picture of the progress, of which the events tell us.
            stdout=subprocess.DEVNULL,
            stderr=self._output,
            env={name: value for name, value in environment.items() if name != launch.SECRETS_VARIABLE} | told,
            cwd=folder,
            pass_fds=tuple(descriptor for descriptor in (lock, handed) if descriptor >= 0),
            # Ctrl-C goes to the terminal's whole foreground group; the engine hears of it from us alone.
            start_new_session=True,
        )
        if secrets:
            os.close(handed)

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    @property
    def interrupted(self) -> bool:
        """Whether it was asked to end before it was done."""
        return self._interrupted > 0

    def wait(self) -> int:
        """Wait until it has ended and return its status, negative for a signal."""
        try:
            return self._process.wait()
        except BaseException:
            # We are about to leave without having been told to stop it, by an exception in a signal handler perhaps.
            self.interrupt()
            raise

    def interrupt(self) -> None:
        """First call: finish what is begun, save, end. Second: end at once, and all of its children with it."""
        self._interrupted += 1
        if self._process.poll() is not None:
            return
        if self._interrupted == 1:
            self._process.send_signal(signal.SIGINT)
            threading.Thread(target=self._end_when_done, daemon=True).start()
        else:
            os.killpg(self._process.pid, signal.SIGKILL)

    def _end_when_done(self) -> None:
        """End an engine that has done everything and does not end.

        Pulumi 3.259, interrupted when its last event is out, waits for ever for somebody to take the event that tells
        of the interruption (seen on a running one). All steps are finished and saved by then.
        """
        done_since = None
        while self._process.poll() is None:
            if done_since is None and self._done():
                done_since = time.monotonic()
            if done_since is not None and time.monotonic() - done_since > LINGER:
                os.killpg(self._process.pid, signal.SIGKILL)
                return
            time.sleep(0.1)

    def output(self) -> list[str]:
        """The last of what it complained of; closes its output."""
        with self._output as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 64 * 1024))
            text = stream.read().decode("utf-8", "replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL:]
