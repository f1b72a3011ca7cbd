"""Lease, journal and publishing as a machine of small steps, for a search through all of their interleavings.

Two runs want to change two machines. Each step is what the real thing does at once: under a lock, or in one write. The
decisions are the real ones: `lease_rules` says who may take the lease and whose it is, `journal` writes and reads the
lines, `replay` makes the state of them. Between any two steps a run may crash, or be stopped and go on later.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from enum import IntEnum, auto
from functools import cache

from swarmctl.state import journal, lease_rules
from swarmctl.state.journal import CREATE, DELETE, Intent, Result
from swarmctl.state.lease_rules import Life, Party, Record, Turn
from swarmctl.state.model import Holder, ResourceHeader, RunHeader
from swarmctl.state.replay import replay, urn

STACK = "model"
TYPE = "swarm:model:Thing"
THINGS = (0, 1)
NAMES = tuple(f"thing/{thing}" for thing in THINGS)
URNS = tuple(urn(STACK, TYPE, name) for name in NAMES)


@dataclass(frozen=True)
class Rules:
    """What protects. The search with one of them taken away must find what it is there for."""

    fenced: bool = True
    """A machine refuses a token that is older than one it has seen."""
    journaled: bool = True
    compared: bool = True
    """Publishing compares token and generation."""
    closed: bool = True
    """Who recovers a run closes its journal before reading it; who writes looks for that afterwards."""
    reads_fence: bool = True
    """In a changing run reading a machine raises its token too."""
    begins_guarded: bool = True
    """The folder of a run is made while the lease cannot be taken: who recovers sees it, or it is not made."""


class At(IntEnum):
    """Where a run is."""

    WANT = auto()
    CLOSE = auto()
    RECOVER = auto()
    REMOVE = auto()
    BEGIN = auto()
    READ = auto()
    PLAN = auto()
    INTENT = auto()
    LOOK = auto()
    CHANGE = auto()
    RESULT = auto()
    PUBLISH = auto()
    FINISH = auto()
    RELEASE = auto()
    OVER = auto()
    """Done, refused, or cut off."""


@dataclass(frozen=True, slots=True)
class Folder:
    """`runs/<token>/`."""

    token: int
    based_on: int
    lines: bytes = b""
    closed: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """One process with its engine and provider."""

    at: At = At.WANT
    token: int = 0
    based_on: int = 0
    state: bytes = b""
    """The private copy of the checkpoint."""
    lines: bytes = b""
    """What it has written into its journal, which it has open whatever its name."""
    todo: tuple[tuple[str, int], ...] = ()
    done: int = 0
    stopped: bool = False
    crashed: bool = False


@dataclass(frozen=True, slots=True)
class World:
    """One machine with the one thing that may be on it."""

    there: bool = False
    token: int = 0
    """The highest that it has seen, and keeps."""
    newest: int = 0
    """The highest under which it was really changed, or read for a change: what `token` should be."""


@dataclass(frozen=True, slots=True)
class State:
    """Everything. `crashes` and `stops` are those that may still happen."""

    runs: tuple[Run, ...]
    crashes: int
    stops: int
    lease: Record = field(default_factory=Record)
    generation: int = 0
    published: bytes = b""
    publisher: int = 0
    folders: tuple[Folder, ...] = ()
    world: tuple[World, ...] = field(default_factory=lambda: (World(),) * len(THINGS))


class Broken(AssertionError):
    """An invariant does not hold."""


@dataclass(frozen=True)
class Model:
    """What is searched: what each run wants to be there, and whether they see each other's processes."""

    wanted: tuple[frozenset[int], ...]
    far: bool
    rules: Rules = Rules()

    def steps(self, state: State) -> Iterator[State]:
        """Every state that may come next. Raises `Broken`."""
        for index, run in enumerate(state.runs):
            if run.crashed or run.at is At.OVER:
                continue
            if run.stopped:
                yield self.put(state, index, replace(run, stopped=False))
                continue
            if state.crashes:
                crashed = self.put(state, index, replace(run, crashed=True))
                yield replace(crashed, crashes=state.crashes - 1)
            if state.stops and run.at is not At.WANT:
                stopped = self.put(state, index, replace(run, stopped=True))
                yield replace(stopped, stops=state.stops - 1)
            after = self.step(state, index)
            if after is not None:
                yield after

    def step(self, state: State, index: int) -> State | None:
        """What one run does next; None when it has to wait."""
        run = state.runs[index]
        match run.at:
            case At.WANT:
                return self._acquire(state, index)
            case At.CLOSE:
                folders = tuple(replace(it, closed=self.rules.closed) for it in state.folders)
                return self.put(replace(state, folders=folders), index, replace(run, at=At.RECOVER))
            case At.RECOVER:
                return self._recover(state, index)
            case At.REMOVE:
                folders = tuple(it for it in state.folders if it.token >= run.token)
                return self.put(replace(state, folders=folders), index, replace(run, at=At.BEGIN))
            case At.BEGIN:
                if self.rules.begins_guarded and not self.owns(state, run):
                    return self.put(state, index, replace(run, at=At.OVER))
                folders = (*state.folders, Folder(run.token, state.generation))
                based = replace(run, at=At.READ, based_on=state.generation, state=state.published)
                return self.put(replace(state, folders=folders), index, based)
            case At.READ:
                return self._read(state, index)
            case At.PLAN:
                known, wanted = recorded(run.state), self.wanted[index]
                todo = [(CREATE, it) for it in THINGS if it in wanted and it not in known]
                todo += [(DELETE, it) for it in THINGS if it in known and it not in wanted]
                return self.put(state, index, replace(run, todo=tuple(todo), done=0, at=self._next(todo, 0)))
            case At.INTENT:
                op, thing = run.todo[run.done]
                return self._write(state, index, Intent(run.done + 1, op, URNS[thing]), At.LOOK)
            case At.LOOK:
                open_ = any(it.token == run.token and not it.closed for it in state.folders)
                fine = open_ or not self.rules.closed
                return self.put(state, index, replace(run, at=At.CHANGE if fine else At.OVER))
            case At.CHANGE:
                return self._change(state, index)
            case At.RESULT:
                after = self._next(run.todo, run.done + 1)
                state = self._write(state, index, Result(run.done + 1, {}), after)
                return self.put(state, index, replace(state.runs[index], done=run.done + 1))
            case At.PUBLISH:
                ours = self.owns(state, run) and state.generation == run.based_on
                if self.rules.compared and not ours:
                    return self.put(state, index, replace(run, at=At.OVER))
                final = replayed(run.state, run.token, run.lines) if self.rules.journaled else finished(run)
                return self.put(self._published(state, run, final), index, replace(run, at=At.FINISH))
            case At.FINISH:
                folders = tuple(it for it in state.folders if it.token != run.token)
                return self.put(replace(state, folders=folders), index, replace(run, at=At.RELEASE))
            case At.RELEASE:
                freed = lease_rules.freed(state.lease, run.token)
                return self.put(replace(state, lease=freed or state.lease), index, replace(run, at=At.OVER))
        raise AssertionError(run.at)

    def put(self, state: State, index: int, run: Run) -> State:
        """`state` with another `run`."""
        return replace(state, runs=(*state.runs[:index], run, *state.runs[index + 1 :]))

    def owns(self, state: State, run: Run) -> bool:
        """What `Lease.guard` looks at."""
        return lease_rules.owns(state.lease, run.token)

    def _next(self, todo: object, done: int) -> At:
        return At.INTENT if done < len(todo) else At.PUBLISH  # type: ignore[arg-type]

    def _acquire(self, state: State, index: int) -> State | None:
        lives = {str(it): self._life(run) for it, run in enumerate(state.runs)}
        turn = lease_rules.turn(state.lease, str(index), lives)
        if turn is Turn.WAIT:
            lease = lease_rules.queued(state.lease, party(index), lives)
            return replace(state, lease=lease) if lease != state.lease else None
        if turn is Turn.END and state.lease.owner is not None:
            owner = int(state.lease.owner.id)
            state = self.put(state, owner, replace(state.runs[owner], crashed=True, stopped=False))
        lease = lease_rules.taken(state.lease, party(index), lives, ttl=1.0, milliseconds=0)
        if lease.token <= state.lease.token:
            raise Broken("a token was given out twice")
        run = replace(state.runs[index], at=At.CLOSE, token=lease.token)
        return self.put(replace(state, lease=lease), index, run)

    def _life(self, run: Run) -> Life:
        """What another one sees, once it has looked for long enough: one that is stopped does not beat."""
        if run.crashed:
            return Life.EXPIRED if self.far else Life.GONE
        if run.stopped:
            return Life.EXPIRED if self.far else Life.STUCK
        return Life.GONE if run.at is At.OVER else Life.WORKING

    def _recover(self, state: State, index: int) -> State:
        run = state.runs[index]
        document = state.published
        for folder in sorted(state.folders, key=lambda it: it.token):
            # What an earlier generation led to is published already, as in `recovery.replayed`.
            if folder.token < run.token and folder.based_on >= state.generation:
                document = replayed(document, folder.token, folder.lines)
        after = replace(run, at=At.REMOVE)
        if document != state.published:
            if self.rules.compared and not self.owns(state, run):
                return self.put(state, index, replace(run, at=At.OVER))
            state = self._published(state, run, document)
        return self.put(state, index, after)

    def _published(self, state: State, run: Run, document: bytes) -> State:
        if run.token < state.publisher:
            raise Broken(f"run {run.token} publishes over run {state.publisher}")
        return replace(state, generation=state.generation + 1, published=document, publisher=run.token)

    def _read(self, state: State, index: int) -> State:
        """Read every machine that the state knows, one at a time."""
        run = state.runs[index]
        pending = [thing for thing in sorted(recorded(run.state)) if thing >= run.done]
        if not pending:
            return self.put(state, index, replace(run, at=At.PLAN))
        thing = pending[0]
        world = state.world[thing]
        if self.rules.reads_fence:
            if self.rules.fenced and world.token > run.token:
                return self.put(state, index, replace(run, at=At.OVER))
            seen = max(world.token, run.token)
            state = self._touch(state, thing, replace(world, token=seen, newest=max(world.newest, run.token)))
        document = refreshed(run.state, thing, world.there)
        return self.put(state, index, replace(run, state=document, done=thing + 1))

    def _change(self, state: State, index: int) -> State:
        run = state.runs[index]
        op, thing = run.todo[run.done]
        world = state.world[thing]
        if self.rules.fenced and world.token > run.token:
            return self.put(state, index, replace(run, at=At.OVER))
        if run.token < world.newest:
            raise Broken(f"run {run.token} changes a machine that run {world.newest} has taken over")
        changed = World(op == CREATE, run.token, run.token)
        return self.put(self._touch(state, thing, changed), index, replace(run, at=At.RESULT))

    def _touch(self, state: State, thing: int, world: World) -> State:
        return replace(state, world=(*state.world[:thing], world, *state.world[thing + 1 :]))

    def _write(self, state: State, index: int, record: journal.Record, after: At) -> State:
        run = state.runs[index]
        if not self.rules.journaled:
            return self.put(state, index, replace(run, at=after))
        lines = run.lines + journal.encode(record)
        folders = tuple(replace(it, lines=lines) if it.token == run.token else it for it in state.folders)
        return self.put(replace(state, folders=folders), index, replace(run, at=after, lines=lines))


def party(index: int) -> Party:
    """One of the runs, as the lease knows it."""
    return Party(str(index), Holder("h", "b", "n", index, 0, "u", "c", 0))


@cache
def recorded(document: bytes) -> frozenset[int]:
    """The things in a checkpoint."""
    resources = json.loads(document)["checkpoint"]["latest"]["resources"] if document else []
    urns = [it["urn"] for it in resources]
    if len(set(urns)) != len(urns):
        raise Broken("a thing is recorded twice")
    return frozenset(thing for thing in THINGS if URNS[thing] in urns)


@cache
def begun(document: bytes) -> frozenset[int]:
    """The things in a checkpoint of which it is not known how far they came."""
    resources = json.loads(document)["checkpoint"]["latest"]["resources"] if document else []
    return frozenset(thing for thing in THINGS for it in resources if it["urn"] == URNS[thing] and "initErrors" in it)


@cache
def replayed(document: bytes, token: int, lines: bytes) -> bytes:
    """`replay`, of what is in a journal."""
    header = RunHeader(STACK, token, 0, "update", "owner", resources={name: ResourceHeader(TYPE) for name in NAMES})
    records = [record for line in lines.splitlines() if (record := journal.decode(line)) is not None]
    if not records:
        return document
    made = replay(json.loads(document) if document else None, header, records)
    return json.dumps(made, sort_keys=True).encode()


@cache
def refreshed(document: bytes, thing: int, there: bool) -> bytes:
    """The checkpoint after the engine has read one thing back."""
    made = json.loads(document)
    latest = made["checkpoint"]["latest"]
    if not there:
        latest["resources"] = [it for it in latest["resources"] if it["urn"] != URNS[thing]]
    for it in latest["resources"]:
        if it["urn"] == URNS[thing]:
            it.pop("initErrors", None)
    return json.dumps(made, sort_keys=True).encode()


def finished(run: Run) -> bytes:
    """What an engine without journal has in its hands at the end."""
    lines = b""
    for n, (op, thing) in enumerate(run.todo, 1):
        lines += journal.encode(Intent(n, op, URNS[thing])) + journal.encode(Result(n, {}))
    return replayed(run.state, run.token, lines)
