"""The engine as a process: started apart from the terminal, stopped with care, bound to us."""

from __future__ import annotations

import contextlib
import os
import select
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
GONE = 10.0
"""Seconds that the provider of an engine that has ended gets to be gone: it is killed with it."""
TICK = 0.25
"""Seconds between two looks at whether the engine must be ended."""
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
        done: Callable[[], bool] = lambda: False,
        overdue: Callable[[], str] = lambda: "",
        secrets: Mapping[str, str] | None = None,
    ) -> None:
        """`engine` and `provider` are command lines beginning with a path; `done` tells whether its last event has
        come, `overdue` why it must be ended at once, if so; `secrets` (see `kinds.secrets.Secrets.values`) are for the
        provider."""
        self._done = done
        self._overdue = overdue
        self.ended_because = ""
        """Why it was ended, when it was `overdue`."""
        # Not a pipe: with us gone the next line that the engine prints would kill it before it has saved the state.
        self._output: IO[bytes] = tempfile.TemporaryFile()
        self._interrupted = 0
        # Held open by all that this run starts, and by nobody else: when its other end is closed, all of them are gone.
        alive, theirs = os.pipe()
        self._alive: IO[bytes] = open(alive, "rb", buffering=0)
        handed = -1
        try:
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
                pass_fds=(theirs, handed) if secrets else (theirs,),
                # Ctrl-C goes to the terminal's whole foreground group; the engine hears of it from us alone.
                start_new_session=True,
            )
        except BaseException:
            self._close()
            raise
        finally:
            os.close(theirs)
            if handed >= 0:
                os.close(handed)
        threading.Thread(target=self._watch, daemon=True).start()

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
            self._close()
            raise

    def gone(self) -> bool:
        """Whether its provider is gone, too, so that nothing of this run changes anything any more; waits for it.
        Call it once, when the engine has ended."""
        with self._alive:
            ready, _, _ = select.select([self._alive], [], [], GONE)
        return bool(ready)

    def interrupt(self) -> None:
        """First call: finish what is begun, save, end. Second: end at once, and all of its children with it."""
        self._interrupted += 1
        if self._process.poll() is not None:
            return
        if self._interrupted == 1:
            self._process.send_signal(signal.SIGINT)
            threading.Thread(target=self._end_when_done, daemon=True).start()
        else:
            self._kill()

    def _kill(self) -> None:
        # It may have ended since it was looked at.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _close(self) -> None:
        """Nobody will ask for what it printed, nor whether its provider is gone."""
        self._alive.close()
        self._output.close()

    def _watch(self) -> None:
        while self._process.poll() is None:
            if reason := self._overdue():
                self.ended_because = reason
                self._kill()
                return
            time.sleep(TICK)

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
                self._kill()
                return
            time.sleep(0.1)

    def output(self) -> list[str]:
        """The last of what it complained of; closes its output."""
        with self._output as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - 64 * 1024))
            text = stream.read().decode("utf-8", "replace")
        return [line.rstrip() for line in text.splitlines() if line.strip()][-TAIL:]
