"""One machine on its way out of service and back, by the hooks of its pool; every step may be repeated.

What was begun is noted on the machine before it begins. So a run that was cut off anywhere is taken up by the next one,
which sees from the notes, and from what `check` says, how far it came.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from swarmctl.declarations.duration import exactly
from swarmctl.errors import SwarmError
from swarmctl.hosts.states import CORDONED, DRAINED
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.node_pool.draining.reading import ACTIVE, MARK, TURNS, UNSETTLED, Seen, is_known, reading, suffices

HOOK_SECONDS = 60
"""For every hook but `drain`, which has its declared time."""
GRACE = 5
"""Seconds that a hook gets to end by itself after its time."""
SETTLING = 20.0
"""Seconds within which `check` has to see what a hook has done."""
PAUSE = 1.0
SHOWN = 160


class DrainFailed(SwarmError):
    """A machine could not be taken out of service, or back."""


class Service:
    """Brings the machine there. `inputs` are those of `swarm:nodepool:Drain`."""

    def __init__(
        self,
        hosts: Hosts,
        inputs: Mapping[str, Any],
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._hosts = hosts
        self._at = inputs["host"]
        self._host = hosts.open(self._at)
        self._hooks: Mapping[str, Any] = inputs["hooks"]
        self._sleep = sleep
        self._clock = clock
        self.name: str = inputs["node"]
        self.declared: str = inputs["state"]

    def seen(self) -> Seen:
        """What the machine tells, read again after every change."""
        return self._hosts.look(self._at, reading(self._hooks["check"]))

    def require(self) -> Seen:
        """The same, where `check` can tell. Raises DrainFailed."""
        seen = self.seen()
        if self._hooks["check"] and not is_known(seen.state):
            raise DrainFailed(
                f"{self.name}: whether it is in service is {seen.state}",
                f"see what `drain.check` of the pool does there (`swarmctl exec {self.name} -- …`), then apply again",
            )
        return seen

    def bring(self, wanted: str) -> None:
        """Have it `active`, `cordoned` or `drained`. Raises DrainFailed, and what `Host.run` raises."""
        seen = self.require()
        if suffices(seen.state, wanted):
            self._note(wanted, seen)
            return
        if wanted == ACTIVE:
            self._run("uncordon", HOOK_SECONDS)
        else:
            self._note(UNSETTLED, seen)
            if self._hooks["cordon"]:
                self._run("cordon", HOOK_SECONDS)
                self._note(CORDONED, self.seen())
            if wanted == DRAINED:
                self._run("drain", self._hooks["timeout"])
        if self._hooks["check"]:
            self._confirm(wanted)
        self._note(wanted, self.seen())

    def note_turn(self, turn: str, stage: str) -> None:
        """From now on this change has it out of service, whatever becomes of the run, and is so far; empty: it has it
        no more."""
        if self.seen().turns.get(turn, "") == stage:
            return
        if stage:
            self._put(f"{TURNS}/{turn}", stage)
        else:
            self._remove(f"{TURNS}/{turn}")

    def _run(self, hook: str, seconds: int) -> None:
        argv = self._hooks[hook]
        begun = self._clock()
        try:
            limited = ["timeout", "-k", str(GRACE), str(seconds), *argv]
            done = self._host.run(limited, timeout=seconds + GRACE + 15, check=False)
        finally:
            self._hosts.changed(self._at)
        if done.returncode == 0:
            return
        again = f"see what it does there (`swarmctl exec {self.name} -- …`), then apply again"
        if done.returncode in (124, 128 + 9) and self._clock() - begun >= seconds:
            raise DrainFailed(f"{self.name}: the hook `{hook}` did not end within {exactly(seconds)}", again)
        raise DrainFailed(f"{self.name}: the hook `{hook}` failed: {_last(done.stderr, done.returncode)}", again)

    def _confirm(self, wanted: str) -> None:
        end = self._clock() + SETTLING
        while not suffices(state := self.seen().state, wanted):
            if self._clock() >= end:
                raise DrainFailed(
                    f"{self.name}: its hooks have ended well, and it is not {wanted} but {state}",
                    "see what `drain.check` of the pool prints there, and what its other hooks do",
                )
            self._sleep(PAUSE)
            self._hosts.changed(self._at)

    def _note(self, state: str, seen: Seen) -> None:
        if state == ACTIVE and seen.mark:
            self._remove(MARK)
        elif state not in (ACTIVE, seen.mark):
            self._put(MARK, f"{state}\n")

    def _put(self, path: str, content: str) -> None:
        self._host.put(path, content.encode(), mode=0o600)
        self._hosts.changed(self._at)

    def _remove(self, path: str) -> None:
        self._host.remove(path)
        self._hosts.changed(self._at)


def _last(said: bytes, status: int) -> str:
    """The last line of what a hook said, for people."""
    lines = [line for line in said[-4096:].decode("utf-8", "replace").splitlines() if line.strip()]
    text = "".join(char if char.isprintable() else "?" for char in lines[-1].strip()[:SHOWN]) if lines else ""
    return f"{text} (status {status})" if text else f"status {status}"
