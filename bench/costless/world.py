"""The world of costless things: one log file. What the log says has happened is what is there.

One line of JSON per change, appended by a single write under the world's lock, in the same hold as the comparison of
fencing tokens: a process killed at any moment has made a change as a whole or not at all, and nothing that happened is
missing from the log. So a test can count creations, duplicates, orphans and writers, also those of killed runs.

A line has `op` (create, adopt, update, delete; fail for a failure that was asked for, fence for a run that has come),
`address`, `stack` and `owner` (the marks), `token` (of the run), `pid`, and for what lives `thing` (which one: random,
of its creation) and `inputs`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Json = Any
LOG = "effects.log"
VARIABLE = "SWARMCTL_WORLD"
"""Names the world's folder; swarmctl hands it on to the engine, and the engine to the provider."""


@dataclass(frozen=True, slots=True)
class Marks:
    """Who changes something."""

    stack: str
    """Identity."""
    owner: str
    token: int


@dataclass(slots=True)
class Thing:
    """One thing that is there."""

    thing: str
    stack: str
    owner: str
    inputs: dict[str, Json]


class Foreign(Exception):
    """What is there belongs to another stack."""


class Overtaken(Exception):
    """A run with a greater token has changed this world: nothing was done."""

    def __init__(self, token: int, greater: int) -> None:
        super().__init__(f"token {token} is older than {greater}")
        self.token = greater


class World:
    """One folder; any number of processes work on it, each through an object like this. Safe for threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._log = os.open(folder / LOG, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._guard = threading.RLock()
        self._read = 0
        self._changes = 0
        self._things: dict[str, Thing] = {}
        self._failures: dict[tuple[str, str], int] = {}
        self._tokens: dict[str, int] = {}

    def create(self, address: str, inputs: Mapping[str, Json], marks: Marks) -> str:
        """Make it, or adopt the one of this stack that is there; returns which thing it is.

        Raises Foreign, Overtaken.
        """
        with self._changing(address, marks):
            there = self._things.get(address)
            if there is None:
                thing = secrets.token_hex(8)
                self._append("create", address, marks, thing, inputs)
                return thing
            self._append("adopt", address, marks, there.thing, inputs)
            return there.thing

    def update(self, address: str, inputs: Mapping[str, Json], marks: Marks) -> str:
        """Give it other inputs. Raises KeyError when it is not there, Foreign, Overtaken."""
        with self._changing(address, marks):
            there = self._things[address]
            self._append("update", address, marks, there.thing, inputs)
            return there.thing

    def delete(self, address: str, marks: Marks) -> None:
        """Take it away; nothing happens when it is gone. Raises Foreign, Overtaken."""
        with self._changing(address, marks):
            there = self._things.get(address)
            if there is not None:
                self._append("delete", address, marks, there.thing, {})

    def fence(self, marks: Marks) -> None:
        """Let nothing change any more under an earlier run's token. Raises Overtaken."""
        with self._guard:
            self._catch_up()
            if self._tokens.get(marks.stack) == marks.token:
                return
        with self._changing("", marks):
            if self._tokens.get(marks.stack, 0) < marks.token:
                self._append("fence", "", marks, "", {})

    def fail(self, address: str, what: str, marks: Marks) -> int:
        """Note that it fails once more; returns how often it has by now."""
        with self._changing(address, marks):
            self._append("fail", address, marks, what, {})
            return self._failures[address, what]

    def failures(self, address: str, what: str) -> int:
        """How often it has failed so far."""
        with self._guard:
            self._catch_up()
            return self._failures.get((address, what), 0)

    def get(self, address: str) -> Thing | None:
        """What is there."""
        with self._guard:
            self._catch_up()
            return self._things.get(address)

    def things(self) -> dict[str, Thing]:
        """All that is there, by address."""
        with self._guard:
            self._catch_up()
            return dict(self._things)

    def changes(self) -> int:
        """How many changes there were, failures that were asked for included."""
        with self._guard:
            self._catch_up()
            return self._changes

    def effects(self) -> list[dict[str, Json]]:
        """Every line of the log."""
        return [json.loads(line) for line in os.pread(self._log, os.fstat(self._log).st_size, 0).splitlines()]

    def tamper(self, address: str, inputs: Mapping[str, Json] | None) -> None:
        """Change a thing, or with None take it away, as a stranger would: past every fence."""
        with self._locked():
            there = self._things[address]
            marks = Marks(there.stack, there.owner, 0)
            self._append("delete" if inputs is None else "update", address, marks, there.thing, inputs or {})

    @contextmanager
    def _changing(self, address: str, marks: Marks) -> Iterator[None]:
        with self._locked():
            there = self._things.get(address)
            if there is not None and there.stack != marks.stack:
                raise Foreign(f"{address} belongs to {there.stack}")
            if self._tokens.get(marks.stack, 0) > marks.token:
                raise Overtaken(marks.token, self._tokens[marks.stack])
            yield

    @contextmanager
    def _locked(self) -> Iterator[None]:
        # flock tells processes apart, not the threads that share our descriptor.
        with self._guard:
            fcntl.flock(self._log, fcntl.LOCK_EX)
            try:
                self._catch_up()
                yield
            finally:
                fcntl.flock(self._log, fcntl.LOCK_UN)

    def _append(self, op: str, address: str, marks: Marks, thing: str, inputs: Mapping[str, Json]) -> None:
        line = {
            "op": op,
            "address": address,
            "stack": marks.stack,
            "owner": marks.owner,
            "token": marks.token,
            "pid": os.getpid(),
            "thing": thing,
            "inputs": inputs,
        }
        os.write(self._log, json.dumps(line, separators=(",", ":")).encode() + b"\n")
        self._catch_up()

    def _catch_up(self) -> None:
        """Take in what was appended since, by whomever."""
        size = os.fstat(self._log).st_size
        if size == self._read:
            return
        news = os.pread(self._log, size - self._read, self._read)
        whole = news.rfind(b"\n") + 1
        self._read += whole
        for line in news[:whole].splitlines():
            self._take(json.loads(line))

    def _take(self, line: Mapping[str, Json]) -> None:
        stack, address, op = line["stack"], line["address"], line["op"]
        self._tokens[stack] = max(self._tokens.get(stack, 0), line["token"])
        if op == "fence":
            return
        self._changes += 1
        if op == "fail":
            key = (address, line["thing"])
            self._failures[key] = self._failures.get(key, 0) + 1
        elif op == "delete":
            self._things.pop(address, None)
            if all(thing.stack != stack for thing in self._things.values()):
                # As with a machine that goes, and its record with it: what a stack leaves does not bind its next one.
                self._tokens.pop(stack, None)
        else:
            self._things[address] = Thing(line["thing"], stack, line["owner"], line["inputs"])


def duplicates(effects: list[dict[str, Json]]) -> list[str]:
    """Addresses that were created while they lived."""
    alive: set[str] = set()
    twice = []
    for line in effects:
        if line["op"] == "create":
            if line["address"] in alive:
                twice.append(line["address"])
            alive.add(line["address"])
        elif line["op"] == "delete":
            alive.discard(line["address"])
    return twice


def overtaken_writers(effects: list[dict[str, Json]]) -> list[tuple[int, int]]:
    """Pairs of (token, greater token before it): writers that came after a later one of the same stack."""
    greatest: dict[str, int] = {}
    found = []
    for line in effects:
        if line["token"] == 0:
            continue  # a stranger's
        before = greatest.get(line["stack"], 0)
        if line["token"] < before:
            found.append((line["token"], before))
        greatest[line["stack"]] = max(before, line["token"])
    return found
