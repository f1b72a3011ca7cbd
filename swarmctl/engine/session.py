"""The engine at work on one stack: preview, update, destroy, drift. Everything the rest of swarmctl sees of Pulumi.

The engine never sees the state that others see. What changes things works on a private copy in the folder of its run,
beside the journal; what came of it is published when the engine has ended. What only looks works on a scratch copy.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarmctl import engine as room
from swarmctl import kinds
from swarmctl.engine import changes, guarded, header, program, protection, publication, result, verdict, workspace
from swarmctl.engine.components import Component
from swarmctl.engine.events import Gathered
from swarmctl.engine.guarded import Settle
from swarmctl.engine.outcome import EngineFailed, Failure, Outcome, Protected, Skipped
from swarmctl.engine.progress import Progress
from swarmctl.engine.runner import Ended, Order, Runner
from swarmctl.engine.watchdog import Watchdog
from swarmctl.graph.canonical import digest
from swarmctl.graph.model import Address, Graph, Timeouts
from swarmctl.graph.moves import moves
from swarmctl.graph.rollout import Gate
from swarmctl.kinds.base import ResourceType
from swarmctl.plans.events import Event, Note
from swarmctl.plans.model import Plan
from swarmctl.state.files import DiskFull, ReadOnly, told
from swarmctl.state.journal import read
from swarmctl.state.store import Store

if TYPE_CHECKING:
    from swarmctl.engine.install import Engine
    from swarmctl.state.lease import Lease

__all__ = ["EngineFailed", "Failure", "Outcome", "Protected", "Session", "Skipped"]

Json = Any
DISK_SECONDS = 1.0
"""Between two looks at how much room the state has."""
LOST_TICK = 0.2
"""Seconds between two looks at whether the lease is still ours."""
LOST_PATIENCE = 5.0
"""Seconds that the engine of a run that has lost its lease gets to end."""
READ_PATIENCE = 10.0
"""Seconds that what was read of the world may take to reach the program; the engine has told it by then."""


@dataclass(frozen=True, slots=True)
class _Work:
    """What one run is about."""

    graph: Graph | None
    recorded: Mapping[str, program.Record]
    moved: Mapping[Address, str]
    held: frozenset[str]
    context: changes.Context

    def timeouts(self, address: str) -> Timeouts:
        """How long steps on a resource may take; what has left the declarations goes by what is recorded."""
        declared = self.graph.resources.get(Address.parse(address)) if self.graph else None
        if declared is not None:
            return declared.timeouts
        return self.recorded[address].timeouts if address in self.recorded else program.DEFAULT_TIMEOUTS

    @property
    def wanted(self) -> set[str]:
        """What shall be there afterwards; what is held stays."""
        declared = set() if self.graph is None else {str(address) for address in self.graph.resources}
        return (declared - self.held) | ((self.held & self.recorded.keys()) - set(self.moved.values()))


class Session:
    """One stack, one engine. One operation at a time; `interrupt` may be called from anywhere."""

    def __init__(
        self,
        store: Store,
        engine: Engine,
        emit: Callable[[Event], None],
        *,
        provider: Sequence[str] = (),
        resolve: Callable[[str], ResourceType] = kinds.resource_type,
        secrets: Mapping[str, str] | None = None,
        components: Sequence[Component] = (),
        settle: Settle | None = None,
    ) -> None:
        """`provider` starts the provider process (default: `engine.provider_command`), `resolve` finds the resource
        types that it knows; `secrets` (`kinds.secrets.Secrets.values`) are for the provider alone.
        `components` run beside the graph in Pulumi's SDK; digests don't know what they make.
        `settle` decides on guarded changes."""
        self._settle = settle
        self._store = store
        self._engine = engine
        self._emit = emit
        self._resolve = resolve
        self._components = components
        self._home = workspace.engine_home(engine.version)
        self._runner = Runner(engine, self._home, emit, tuple(provider) or room.provider_command, secrets)

    def preview(self, graph: Graph, *, refresh: bool = True, held: Collection[str] = frozenset()) -> Plan:
        """What an update would do, and what has drifted. Takes no lease and writes nothing.

        `held`: addresses that it would not touch. Raises `Protected`, `WorldUnreadable` when something could not be
        read back, `EngineFailed`, `StateUnreadable`.
        """
        checkpoint = self._current()
        work = self._work(graph, checkpoint, held)
        gathered = Gathered()
        task = self._task(work, gathered, None, refresh=refresh)
        task.protects = False
        arguments = ["preview", *(["--refresh"] if refresh else [])]
        self._look(checkpoint, work, gathered, arguments, "comparing", len(graph.resources), task)
        found = changes.changes(gathered, work.context)
        protection.refuse_changes(found, graph, work.recorded)
        return Plan(
            stack=graph.stack,
            changes=found,
            same=result.same(gathered, work.context, work.held),
            drift=changes.drift(gathered, work.context),
            notes=changes.notes(gathered),
            world_read=refresh,
        )

    def drift(self) -> Plan:
        """What has drifted from what is recorded. Takes no lease and writes nothing. Raises as `preview`."""
        checkpoint = self._current()
        work = self._work(None, checkpoint, ())
        gathered = Gathered()
        self._look(checkpoint, work, gathered, ["refresh", "--preview-only"], "reading the world", 0, None)
        found = changes.drift(gathered, work.context)
        whole = sum(not step.begun for step in gathered.refreshed.values())
        same = whole - len({drifted.address for drifted in found})
        return Plan(self._store.identity, (), same, drift=found, notes=changes.notes(gathered))

    def update(
        self,
        graph: Graph,
        lease: Lease,
        *,
        held: Collection[str] = frozenset(),
        plan_id: str = "",
        changing: Collection[str] | None = None,
        refresh: bool = True,
    ) -> Outcome:
        """Make it so; what does not depend on a failure goes on, as far as rollouts let it.

        `held`: addresses that this run must not touch, declared or recorded; `plan_id`: of the saved plan that this
        carries out; `changing`: addresses that the preview said will change (None: any may), for rollouts and turns;
        without `refresh` it goes by what is recorded, as its preview did.

        Raises `Protected`, `WorldUnreadable` when something could not be read back (then nothing was changed),
        `LeaseLost`, `DiskFull`, `EngineFailed`, `StateUnreadable`. Failures of resources are in the outcome.
        """
        only = None if changing is None else {Address.parse(address) for address in changing}
        try:
            gate = Gate.of(graph, only)
        except ValueError as error:
            raise EngineFailed(f"the rollout cannot be put in order: {error}") from error
        return self._change("update", graph, lease, held, plan_id, gate, refresh=refresh)

    def destroy(self, lease: Lease, keeping: Collection[str] = ()) -> Outcome:
        """Remove everything that is recorded but what is at the addresses of `keeping`: that stays. See `update`."""
        # The engine's own destroy makes no exceptions: here a program runs that wants nothing else.
        return self._change("destroy", Graph(self._store.identity) if keeping else None, lease, keeping, "", None)

    def interrupt(self) -> None:
        """First call: finish the steps in flight, save, end. Second: end at once."""
        self._runner.interrupt()

    def _current(self) -> dict[str, Json] | None:
        found = self._store.current()
        return found.checkpoint if found else None

    def _work(self, graph: Graph | None, checkpoint: Mapping[str, Json] | None, held: Collection[str]) -> _Work:
        recorded = header.records(checkpoint)
        moved = {} if graph is None else _moves(graph, recorded)
        # What is not to be touched stays at the address that it is recorded at, too.
        held = {*held, *(() if graph is None else map(str, graph.frozen))}
        held = {*held, *(before for now, before in moved.items() if str(now) in held)}
        moved = {now: before for now, before in moved.items() if str(now) not in held}
        inputs = {address: record.inputs for address, record in recorded.items()}
        protects = {} if graph is None else protection.changed(graph, recorded, moved)
        context = changes.Context(self._resolve, graph, changes.places(graph, inputs), protects)
        return _Work(graph, recorded, moved, frozenset(held), context)

    def _task(self, work: _Work, gathered: Gathered, gate: program.Gate | None, *, refresh: bool) -> program.Task:
        if work.graph is None:
            raise ValueError("a program needs a graph")
        return program.Task(
            work.graph,
            work.recorded,
            work.moved,
            frozenset(map(Address.parse, work.held)),
            gate,
            present=_present(gathered) if refresh else program.always,
            components=self._components,
        )

    def _look(
        self,
        checkpoint: Mapping[str, Json] | None,
        work: _Work,
        gathered: Gathered,
        arguments: Sequence[str],
        title: str,
        total: int,
        task: program.Task | None,
    ) -> None:
        with workspace.scratch_folder() as folder:
            space = workspace.scratch(self._store, folder, checkpoint, self._home)
            order = self._order(work, arguments, title, total, task, changing=False)
            ended = self._runner.run(space, order, gathered)
        if not self._runner.interruptions:
            verdict.judge(ended, work.context, self._store.folder, changing=False)

    def _order(
        self,
        work: _Work,
        arguments: Sequence[str],
        title: str,
        total: int,
        task: program.Task | None,
        *,
        changing: bool,
    ) -> Order:
        async def run(monitor: str, dry: bool) -> bool:
            return task is None or await program.run(task, monitor, preview=dry)

        return Order(
            arguments,
            title,
            total,
            run,
            Progress(self._emit, work.context, work.timeouts).on_step,
            Watchdog(work.timeouts, changing=changing),
            [record.inputs["host"] for record in work.recorded.values() if "host" in record.inputs],
            {before: str(now) for now, before in work.moved.items()},
        )

    def _change(
        self,
        operation: str,
        graph: Graph | None,
        lease: Lease,
        held: Collection[str],
        plan_id: str,
        gate: program.Gate | None,
        *,
        refresh: bool = True,
    ) -> Outcome:
        for note in self._store.recover(lease):
            self._emit(Note(note, warning=True))
        before = self._store.load()
        work = self._work(graph, before.checkpoint if before else None, held)
        protection.refuse_leaving(graph, work.recorded, {*work.held, *work.moved.values()})
        gathered = Gathered()
        task = None if graph is None else self._task(work, gathered, gate, refresh=refresh)
        run = self._store.begin(
            lease,
            operation=operation,
            graph="" if graph is None or operation == "destroy" else digest(graph),
            plan=plan_id,
            resources={} if graph is None else header.resources(graph, work.moved),
        )
        with told(self._store.folder):
            space = workspace.of_run(self._store, run, before.checkpoint if before else None, self._home)
        base = publication.base(before, run, space)
        title = "changing" if operation == "update" else "removing"
        total = len(graph.resources if graph and graph.resources else work.recorded.keys() - work.held)
        flags = ["--skip-preview", "--yes", "--continue-on-error", *(["--refresh"] if refresh else [])]
        arguments = ["destroy" if graph is None else "up", *flags]
        order = self._order(work, arguments, title, total, task, changing=True)
        with self._watching_disk(), self._bound_to(lease):
            ended = self._runner.run(space, order, gathered)
        skipped = dict.fromkeys(gathered.refused, "the run was interrupted")
        if task is not None:
            skipped |= {str(address): why for address, why in task.skipped.items()}
        return self._finish(lease, base, ended, work, skipped)

    def _finish(
        self, lease: Lease, base: publication.Base, ended: Ended, work: _Work, skipped: Mapping[str, str]
    ) -> Outcome:
        """Publish what was done, then say what it was."""
        gathered = ended.gathered
        lease.check()
        undone = self._undone(base, ended)
        settled = gathered.settled - work.held - skipped.keys() - undone
        done = False
        with told(self._store.folder):
            document = publication.result(base, ended, work.wanted, work.recorded.keys() - settled, undone)
            if document is None or verdict.unread(gathered):
                self._store.finish(base.run)
            else:
                done = work.wanted - work.held <= settled and _addresses(document) == work.wanted
                # All that this run was asked for; with what is held it is not all that is declared.
                finished = done and not gathered.failures and not skipped
                complete = finished and not work.held
                publication.publish(
                    self._store,
                    lease,
                    base,
                    document,
                    complete=complete,
                    finished=finished,
                    engine=self._engine.version,
                )
        interrupted = self._runner.interruptions > 0 and not done
        if not self._runner.interruptions:
            verdict.judge(ended, work.context, self._store.folder, changing=True)
        return result.outcome(gathered, work.context, work.held, skipped, interrupted=interrupted)

    def _undone(self, base: publication.Base, ended: Ended) -> frozenset[str]:
        """Addresses of guarded changes that do not stay. Nobody confirms what a run left that broke off."""
        orderly = verdict.orderly(ended) or (self._runner.interruptions == 1 and ended.failure is None)
        return guarded.settled(read(base.run.journal), self._settle, ended.gathered.failures, orderly=orderly)

    @contextmanager
    def _watching_disk(self) -> Iterator[None]:
        """Say it once when the disk fills up or can't be written any more: the journal can't be written then, and
        nothing more is begun."""

        def refused() -> bool:
            try:
                self._store.require_room(0)
            except (DiskFull, ReadOnly) as error:
                what, hint = error.message, error.hint
            except OSError as error:
                what, hint = f"{self._store.folder}: {error.strerror}", "mend that, then run the same command again"
            else:
                return False
            self._emit(Note(f"{what}; what would begin now fails; {hint}", warning=True))
            return True

        with _repeating(refused, DISK_SECONDS):
            yield

    @contextmanager
    def _bound_to(self, lease: Lease) -> Iterator[None]:
        """For the block: a run that has lost its lease is stopped, and ended when it does not stop."""
        since: list[float] = []

        def lost() -> bool:
            if lease.lost.is_set() and not since:
                since.append(time.monotonic())
                self._runner.interrupt()
            if since and time.monotonic() - since[0] > LOST_PATIENCE:
                self._runner.interrupt()
                return True
            return False

        with _repeating(lost, LOST_TICK):
            yield


@contextmanager
def _repeating(look: Callable[[], bool], seconds: float) -> Iterator[None]:
    """For the block, call `look` again and again in the background until it says that this is enough."""
    over = threading.Event()

    def watch() -> None:
        while not over.wait(seconds):
            if look():
                return

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _present(gathered: Gathered) -> Callable[[str], Awaitable[bool]]:
    """Whether the world still had what is recorded at an address, when the engine read it back."""

    async def present(address: str) -> bool:
        end = time.monotonic() + READ_PATIENCE
        while address not in gathered.refreshed and time.monotonic() < end:  # noqa: ASYNC110 - a dict, filled elsewhere
            await asyncio.sleep(0.01)
        step = gathered.refreshed.get(address)
        return step is None or step.new is not None

    return present


def _moves(graph: Graph, recorded: Mapping[str, program.Record]) -> Mapping[Address, str]:
    return moves(graph, {name: (it.type, str(it.inputs.get("node") or "")) for name, it in recorded.items()})


def _addresses(document: Mapping[str, Json]) -> set[str]:
    return set(header.records(document))
