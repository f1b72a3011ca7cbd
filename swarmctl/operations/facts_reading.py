"""Facts of many machines: what is kept and young enough, and the rest read side by side until a deadline."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from swarmctl.backends import open_host
from swarmctl.backends.base import Host, HostGone
from swarmctl.backends.looking import look
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Machine
from swarmctl.hosts.system import READING, SystemFacts
from swarmctl.operations.facts_cache import MAX_AGE, Cache, Kept
from swarmctl.plans.events import Downloaded, Event, PhaseStarted

THREADS = 64
"""Machines that are asked at the same time."""
DEADLINE = 90.0
"""Seconds for all of them together, and `EACH` more for every machine."""
EACH = 0.25
MANY = 8
"""Machines from which on it is told how far reading them has come."""
Progress = Callable[[int, int], None]
"""Told how many machines have answered, and how many are asked."""


@dataclass(slots=True)
class Answers:
    """What came of asking."""

    known: dict[str, Kept] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    """Of whom that was kept, and not read now."""
    unread: dict[str, SwarmError] = field(default_factory=dict)
    """Why, by node name."""
    absent: set[str] = field(default_factory=set)
    """Machines that don't exist: not yet, or no more."""


def gather(
    machines: Iterable[Machine],
    cache: Cache,
    *,
    max_age: float = MAX_AGE,
    open_: Callable[[Machine], Host] = lambda machine: open_host(machine.host),
    deadline: float = DEADLINE,
    progress: Progress = lambda done, total: None,
) -> Answers:
    """Facts of these machines that are at most `max_age` seconds old; with 0 all are read anew.

    Every machine is in one of the three groups of the result; what is read is kept.
    """
    answers = Answers()
    asked = []
    for machine in machines:
        if max_age > 0 and (kept := cache.get(machine.name, machine.host, max_age)):
            answers.known[machine.name] = kept
            answers.kept.add(machine.name)
        else:
            asked.append(machine)
    if asked:
        _ask(asked, cache, open_, answers, deadline + EACH * len(asked), progress)
    return answers


def _ask(
    machines: Sequence[Machine],
    cache: Cache,
    open_: Callable[[Machine], Host],
    answers: Answers,
    seconds: float,
    progress: Progress,
) -> None:
    pending: queue.SimpleQueue[Machine] = queue.SimpleQueue()
    done: queue.SimpleQueue[tuple[Machine, Kept | BaseException]] = queue.SimpleQueue()
    for machine in machines:
        pending.put(machine)

    def work() -> None:
        while time.monotonic() < end:
            try:
                machine = pending.get_nowait()
            except queue.Empty:
                return
            try:
                found = read(open_(machine))
                if time.monotonic() < end:  # what comes later may be older than what is known by then
                    done.put((machine, cache.put(machine.name, machine.host, found)))
            except BaseException as error:  # noqa: BLE001 - raised again where somebody can see it
                done.put((machine, error))

    end = time.monotonic() + seconds
    # Daemons: a machine that hangs is not waited for, also not by the end of the process.
    for _ in range(min(THREADS, len(machines))):
        threading.Thread(target=work, daemon=True).start()
    left = {machine.name: machine for machine in machines}
    while left:
        progress(len(machines) - len(left), len(machines))
        try:
            machine, answer = done.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        del left[machine.name]
        _sort(machine, answer, answers)
    else:
        progress(len(machines), len(machines))
    for name in left:
        answers.unread[name] = SwarmError(
            f"{name} was not read within {seconds:.0f} s, the time that there is for all machines together",
            f"try it alone: `swarmctl facts {name} --refresh`",
        )


def _sort(machine: Machine, answer: Kept | BaseException, answers: Answers) -> None:
    if isinstance(answer, Kept):
        answers.known[machine.name] = answer
    elif isinstance(answer, HostGone):
        answers.absent.add(machine.name)
    elif isinstance(answer, SwarmError):
        answers.unread[machine.name] = answer
    else:
        raise answer


def read(host: Host) -> SystemFacts:
    """Read a machine's own facts in one call. Raises HostGone, HostUnreachable, WorldUnreadable."""
    return look(host, READING)


class Systems:
    """`kinds.base.Systems` of one compilation: asks a machine once at most."""

    def __init__(
        self,
        cache: Cache,
        emit: Callable[[Event], None] | None = None,
        *,
        open_: Callable[[Machine], Host] = lambda machine: open_host(machine.host),
    ) -> None:
        """`emit` is told how far reading many machines has come."""
        self._cache = cache
        self._emit = emit or (lambda event: None)
        self._open = open_
        self._known: dict[str, SystemFacts] = {}
        self._asked: set[str] = set()
        self._unread: dict[str, str] = {}
        self._kept: set[str] = set()
        """Of whom what is known is not of now."""

    @property
    def unread(self) -> Mapping[str, str]:
        """Why machines that exist could not be read, by node name; it grows with every call."""
        return self._unread

    def __call__(self, machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        """Facts by node name; without machines that don't exist yet or could not be read."""
        wanted = list(machines)
        asked = [one for one in wanted if one.name not in self._asked]
        answers = gather(asked, self._cache, open_=self._open, progress=self._progress)
        self._kept |= answers.kept
        self._asked |= {one.name for one in wanted}
        self._known |= {name: kept.facts for name, kept in answers.known.items()}
        self._unread |= {name: error.message for name, error in answers.unread.items()}
        return {one.name: self._known[one.name] for one in wanted if one.name in self._known}

    def anew(self, machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        """Facts by node name of those of whom only kept ones were known, read now; see `kinds.base.Expansion.anew`."""
        kept = [one for one in machines if one.name in self._kept]
        answers = gather(kept, self._cache, max_age=0.0, open_=self._open, progress=self._progress)
        found = {name: it.facts for name, it in answers.known.items()}
        self._kept -= {one.name for one in kept}
        self._known |= found
        return found

    def _progress(self, done: int, total: int) -> None:
        title = f"reading what {total} machines are"
        if total >= MANY and not done:
            self._emit(PhaseStarted(title))
        elif total >= MANY:
            self._emit(Downloaded(title, done, total))
