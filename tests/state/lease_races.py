"""Races of two runs for one stack, with one of them stopped or killed at any moment: is there ever a second writer?

Each contender takes the lease, changes a machine a few times, publishes, gives the lease back. The machine is a file
that does what a node does: under its own lock it compares the token and refuses an older one. All that happens goes to
one log, each line written under the lock that guards it; `judge` reads it afterwards.

`python -m tests.state.lease_races --races 1000` prints the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarmctl.errors import LeaseLost, LockHeld
from swarmctl.state import files, holder, lease, lease_files
from swarmctl.state.lease import Lease, Timing
from tests.state.lease_child import move_away, somebody

CHANGES = 4
PATIENCE = 20.0
"""Seconds after which a contender that has not ended counts as locked out."""
DONE, CUT_OFF, TOLD = 0, 3, 4
"""How a contender ends: it has published; it was fenced off; it has lost the lease and noticed."""


@dataclass(frozen=True)
class Rules:
    """What protects; a test takes one away and expects to be told."""

    fenced: bool = True
    guarded: bool = True


@dataclass(frozen=True)
class Race:
    """What is done to whom and when."""

    far: bool
    """The two are on different machines."""
    fault: str
    """`stop`, `kill`, or nothing."""
    victim: int
    after: float
    asleep: float
    timing: Timing
    aimed: bool = False
    """The one that has the lease is hit, when it has begun to change the machine."""

    @classmethod
    def draw(cls, rng: random.Random, timing: Timing, rules: Rules) -> Race:
        if rules != Rules():  # what shows best that something is missing
            return cls(True, "stop", rng.randrange(2), rng.uniform(0, 0.06), timing.ttl * 4, timing, aimed=True)
        fault = rng.choice(["stop", "stop", "kill", "kill", ""])
        asleep = timing.ttl * rng.uniform(0.5, 4)
        return cls(rng.random() < 0.5, fault, rng.randrange(2), rng.uniform(0, 0.06), asleep, timing)


class Fenced(Exception):
    """The machine has seen a newer run."""


def change(folder: Path, held: Lease, rules: Rules, pause: float) -> None:
    """One change of the machine, compared where it happens and under its lock."""
    with open(folder / "machine.lock", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        token = folder / "machine"
        seen = int(token.read_text() or 0) if token.exists() else 0
        if rules.fenced and seen > held.token:
            raise Fenced
        token.write_text(str(held.token))
        note(folder, "begins", held.token)
        time.sleep(pause)
        note(folder, "ends", held.token)


def publish(folder: Path, held: Lease, based_on: int, rules: Rules) -> None:
    """As `Store.publish` does it."""
    with held.guard() if rules.guarded else contextlib.nullcontext():
        file = folder / "state"
        generation = int(file.read_text()) if file.exists() else 0
        if rules.guarded and generation != based_on:
            raise LeaseLost("the state has moved on")
        note(folder, "publishes", held.token, based_on + 1)
        files.write(file, str(based_on + 1).encode())


def note(folder: Path, *what: object) -> None:
    """Add a line to the log, in one write."""
    descriptor = os.open(folder / "log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, (json.dumps(what) + "\n").encode())
    os.close(descriptor)


def contend(folder: Path, far: str, timing: Timing, seed: int, rules: Rules) -> int:
    """One contender, in its own process; how it ended."""
    rng = random.Random(seed)
    holder.one_machine = lambda folder: False
    if far:
        move_away(far)
    try:
        held = lease.acquire(folder, somebody(far), timeout=PATIENCE, timing=timing)
    except LockHeld:
        return 1
    try:
        file = folder / "state"
        based_on = int(file.read_text()) if file.exists() else 0
        for _ in range(CHANGES if rules.guarded else 1):
            change(folder, held, rules, rng.uniform(0, 0.01))
            time.sleep(rng.uniform(0, 0.01 if rules.fenced else 0.15))
        time.sleep(rng.uniform(0, 0.01 if rules.guarded else 0.3))
        publish(folder, held, based_on, rules)
        held.release()
    except Fenced:
        return CUT_OFF
    except LeaseLost:
        return TOLD
    return DONE


def fork(folder: Path, far: str, timing: Timing, seed: int, rules: Rules) -> int:
    """Start a contender; this process must have no threads."""
    pid = os.fork()
    if pid == 0:
        code = 99
        try:
            code = contend(folder, far, timing, seed, rules)
        except BaseException as error:  # noqa: BLE001 - told, and the process ends here whatever it is
            sys.stderr.write(f"{type(error).__name__}: {error}\n")
        finally:
            os._exit(code)
    return pid


class Running:
    """A race that goes on."""

    def __init__(self, folder: Path, race: Race, seed: int, rules: Rules) -> None:
        folder.mkdir()
        self.folder, self.race = folder, race
        names = ("mars", "venus") if race.far else ("", "")
        self.pids = [fork(folder, far, race.timing, seed + i, rules) for i, far in enumerate(names)]
        self.ended: dict[int, int] = {}
        """Exit status by process id; negative for a signal."""
        self._begun = time.monotonic()
        self._plan = {"stop": [signal.SIGSTOP, signal.SIGCONT], "kill": [signal.SIGKILL], "": []}[race.fault]
        self._next = self._begun + race.after
        self._victim = None if race.aimed else self.pids[race.victim]

    def go_on(self) -> bool:
        """Do what is due; whether both have ended."""
        for pid in self.pids:
            if pid not in self.ended:
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    self.ended[pid] = os.waitstatus_to_exitcode(status)
        now = time.monotonic()
        if self.race.aimed and self._victim is None:
            self._aim(now)
        victim = self._victim
        if victim is not None and self._plan and now >= self._next:
            number = self._plan.pop(0)
            if victim not in self.ended:  # not waited for, so its id is still its own
                os.kill(victim, number)
            self._next = now + self.race.asleep
        if now - self._begun > PATIENCE + 10:
            for pid in set(self.pids) - set(self.ended):
                os.kill(pid, signal.SIGKILL)
        return len(self.ended) == len(self.pids)

    def _aim(self, now: float) -> None:
        record = lease_files.read(self.folder)
        if (self.folder / "log").exists() and record is not None and record.owner is not None:
            self._victim, self._next = record.owner.holder.pid, now + self.race.after


def judge(running: Running) -> list[str]:
    """What went wrong in a race that is over."""
    log = running.folder / "log"
    events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
    wrong = []
    open_, newest, published = 0, 0, [0]
    for what, token, *more in events:
        if what == "ends":
            if open_ != token:
                wrong.append(f"{token} ends a change that {open_} has begun")
            open_ = 0
        elif what == "begins":
            if token < newest:
                wrong.append(f"{token} changes the machine after {newest}")
            if open_ == token:
                wrong.append(f"{token} begins twice at once")
            newest, open_ = max(newest, token), token
        else:
            if token < newest:
                wrong.append(f"{token} publishes after {newest} has begun to change the machine")
            if more[0] not in (published[-1], published[-1] + 1):  # it may be killed after the note
                wrong.append(f"{token} publishes generation {more[0]} after {published[-1]}")
            published.append(more[0])
    # On a busy machine one that nobody has stopped may not run for a whole time to live, and be taken for stuck.
    fine = (DONE, CUT_OFF, TOLD, -signal.SIGKILL)
    wrong += [f"one ended with {code}" for code in running.ended.values() if code not in fine]
    return [*wrong, *after(running)]


def after(running: Running) -> list[str]:
    """What is left of a race: the next run must get the lease by itself, with a higher token."""
    before = lease_files.read(running.folder)
    try:
        with lease.acquire(running.folder, holder.me(), timeout=0, timing=running.race.timing) as held:
            return [] if before is not None and held.token > before.token else ["the token did not grow"]
    except LockHeld as error:
        return [f"the lease is stuck: {error.message}"]


def run(
    races: int, seed: int, folder: Path, *, rules: Rules, ttl: float = 0.15, abreast: int = 16
) -> dict[str, object]:
    """Run races, `abreast` at a time; what came of them."""
    rng = random.Random(seed)
    timing = Timing(ttl=ttl, patience=1.0)
    holder.one_machine = lambda folder: False
    going: list[Running] = []
    over: list[Running] = []
    begun = time.monotonic()
    while len(over) < races:
        while len(going) < abreast and len(going) + len(over) < races:
            number = len(going) + len(over)
            race = Race.draw(rng, timing, rules)
            going.append(Running(folder / f"{number}-{rng.getrandbits(32)}", race, rng.getrandbits(32), rules))
        time.sleep(0.002)
        ended = [running for running in going if running.go_on()]
        over += ended
        going = [running for running in going if running not in ended]
    seconds = time.monotonic() - begun
    problems = [f"{running.folder.name} {running.race}: {what}" for running in over for what in judge(running)]
    return {
        "races": races,
        "seconds": round(seconds, 1),
        "faults": Counter(running.race.fault or "none" for running in over),
        "ended": Counter(str(code) for running in over for code in running.ended.values()),
        "problems": problems,
    }


def main(arguments: Sequence[str]) -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--races", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--ttl", type=float, default=0.15)
    parser.add_argument("--without", choices=["fenced", "guarded"])
    options = parser.parse_args(arguments)
    rules = Rules(fenced=options.without != "fenced", guarded=options.without != "guarded")
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(run(options.races, options.seed, Path(folder), rules=rules, ttl=options.ttl), indent=1))


if __name__ == "__main__":
    main(sys.argv[1:])
