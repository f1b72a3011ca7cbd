"""The engine at work on one stack: preview, update, destroy, drift. Everything the rest of swarmctl sees of Pulumi.

What changes things runs on the store itself, with its lock held; what only looks runs on a copy of it and changes
nothing. Before either, what a killed run has left is put right. Whatever the engine has to say comes as events.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import swarmctl.engine
from swarmctl import kinds
from swarmctl.engine import changes, program, workspace
from swarmctl.engine.events import Gathered, Gatherer, Moment, Op, Step
from swarmctl.engine.host import serving
from swarmctl.engine.process import EngineProcess
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.graph.model import Address, Graph
from swarmctl.graph.moves import moves
from swarmctl.kinds.base import ResourceType
from swarmctl.plans.events import Event, Note, PhaseEnded, PhaseStarted, StepEnded, StepStarted
from swarmctl.plans.model import Action, Change, Plan
from swarmctl.state.checkpoint import address_of, latest
from swarmctl.state.safekeeping import DiskFull
from swarmctl.state.store import Store

if TYPE_CHECKING:
    from swarmctl.engine.install import Engine

PARALLEL = 16
"""Resources that the engine reads or changes at the same time; what takes long there is waiting for hosts."""


_FULL = re.compile("no space left on device|disk quota exceeded", re.IGNORECASE)
"""How the engine, which has it from the operating system, tells that it could not save."""

DISK_SECONDS = 1.0
"""Between two looks at how much room the state has."""

HOSTS_VARIABLE = "SWARMCTL_HOSTS"
"""Tells the provider which hosts the run will ask for; provider/__main__.py imports nothing before it has read it."""


class EngineFailed(SwarmError):
    """The engine itself could not do its work; `details` has what it said."""


@dataclass(frozen=True, slots=True)
class Failure:
    """One resource that could not be changed."""

    address: str
    node: str
    error: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an update or a destroy did."""

    changes: tuple[Change, ...]
    failures: tuple[Failure, ...]
    interrupted: bool
    same: int


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
    ) -> None:
        """`provider` starts the provider process (default: `engine.provider_command`), `resolve` finds the resource
        types that it knows; `secrets` (`kinds.secrets.Secrets.values`) are for the provider alone."""
        self._secrets = secrets
        self._store = store
        self._engine = engine
        self._emit = emit
        self._resolve = resolve
        self._provider = provider or swarmctl.engine.provider_command
        self._home = workspace.engine_home(engine.version)
        self._process: EngineProcess | None = None
        self._guard = threading.RLock()
        self._interruptions = 0

    def preview(self, graph: Graph, *, refresh: bool = True) -> Plan:
        """What an update would do, and what has drifted. Takes no lock and writes nothing.

        Raises `WorldUnreadable` when something could not be read back, `EngineFailed`, `StateUnreadable`.
        """
        context = self._context(graph)
        with self._scratch() as space:
            arguments = ["preview", *(["--refresh"] if refresh else [])]
            gathered = self._run(space, arguments, context, "comparing", len(graph.resources))
        return Plan(
            stack=graph.stack,
            changes=changes.changes(gathered, context),
            same=gathered.same,
            drift=changes.drift(gathered, context),
            notes=changes.notes(gathered),
        )

    def drift(self) -> Plan:
        """What has drifted from what is recorded. Takes no lock and writes nothing. Raises as `preview`."""
        context = self._context(None)
        with self._scratch() as space:
            gathered = self._run(space, ["refresh", "--preview-only"], context, "reading the world", 0)
        found = changes.drift(gathered, context)
        whole = sum(not step.begun for step in gathered.refreshed.values())
        same = whole - len({drifted.address for drifted in found})
        return Plan(self._store.identity, (), same, drift=found, notes=changes.notes(gathered))

    def update(self, graph: Graph) -> Outcome:
        """Make it so; what does not depend on a failure goes on. Failures of resources are in the outcome.

        Raises `LockHeld`, `WorldUnreadable` when something could not be read back (then nothing was changed),
        `EngineFailed`, `StateUnreadable`.
        """
        return self._change(["up", "--skip-preview", "--yes", "--refresh", "--continue-on-error"], graph)

    def destroy(self) -> Outcome:
        """Remove everything that is recorded. See `update`."""
        return self._change(["destroy", "--skip-preview", "--yes", "--refresh", "--continue-on-error"], None)

    def interrupt(self) -> None:
        """First call: finish the steps in flight, save, end. Second: end at once."""
        with self._guard:
            self._interruptions += 1
            if self._process is not None:
                self._process.interrupt()

    def _change(self, arguments: Sequence[str], graph: Graph | None) -> Outcome:
        with self._store.lock():
            for note in self._store.repair():
                self._emit(Note(note, warning=True))
            self._store.require_room()
            context = self._context(graph)
            space = workspace.lasting(self._store, self._home)
            total = len(graph.resources) if graph else len(self._store.snapshot().resources)
            failed: list[program.Failed] = []
            gathered = Gathered()
            before = self._store.read() or {}
            try:
                with self._store.safe(), self._watching_disk():
                    self._run(
                        space,
                        arguments,
                        context,
                        "changing" if graph else "removing",
                        total,
                        failed.append,
                        gathered,
                    )
            finally:
                self._mend(before, failed, gathered, graph)
                # Full copies of the state, one per run; the checkpoint and the one before it are kept.
                shutil.rmtree(self._store.root / ".pulumi" / "history", ignore_errors=True)
            complete = self._complete(gathered, graph)
        failures = tuple(
            Failure(step.address, context.place(step).node, step.error) for step in gathered.failures.values()
        )
        finished = gathered.done - gathered.failures.keys()
        interrupted = self._interruptions > 0 and not complete
        return Outcome(changes.changes(gathered, context, finished), failures, interrupted, gathered.same)

    @contextmanager
    def _watching_disk(self) -> Iterator[None]:
        """Say it once when the disk fills up: the engine tries to save again and again, in silence and for minutes."""
        over = threading.Event()

        def watch() -> None:
            while not over.wait(DISK_SECONDS):
                try:
                    self._store.require_room(0)
                except DiskFull as error:
                    hint = "make room on it and the run goes on; Ctrl-C stops it"
                    return self._emit(Note(f"{error.message}; {hint}", warning=True))

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        try:
            yield
        finally:
            over.set()
            watcher.join()

    def _complete(self, gathered: Gathered, graph: Graph | None) -> bool:
        """Whether all is done that was asked for; a stop that came with the last step has then stopped nothing."""
        wanted = set() if graph is None else {str(address) for address in graph.resources}
        return wanted <= gathered.settled and self._store.snapshot().resources.keys() == wanted

    def _mend(
        self, before: Mapping[str, Any], failed: Sequence[program.Failed], gathered: Gathered, graph: Graph | None
    ) -> None:
        """Put right in the record what the engine leaves wrong there when not all was done."""
        if self._store.damage():  # what is read then is our copy from before the run; the next run puts it right
            return
        try:
            self._store.remove_engine_locks()
            if graph is not None:
                wanted = {str(address) for address in graph.resources}
                self._store.put_back(before, wanted, _addresses(before) - gathered.settled)
            self._adopt(failed)
        except OSError as error:
            self._emit(Note(f"the record of this run could not be finished: {error.strerror or error}", warning=True))

    def _adopt(self, failed: Sequence[program.Failed]) -> None:
        """Record what the engine has forgotten: a creation in which the provider died may have made something."""
        known = self._store.snapshot().resources
        forgotten = [
            {
                "urn": it.urn,
                "type": it.type,
                "inputs": it.inputs,
                "parent": it.stack,
                "dependencies": list(it.dependencies),
            }
            for it in failed
            if address_of(it.urn) not in known and it.formerly not in known
        ]
        if forgotten:
            self._store.adopt(forgotten)

    def _context(self, graph: Graph | None) -> changes.Context:
        recorded = {address: found.inputs for address, found in self._store.snapshot().resources.items()}
        return changes.Context(self._resolve, graph, changes.places(graph, recorded))

    @contextmanager
    def _scratch(self) -> Iterator[workspace.Workspace]:
        with tempfile.TemporaryDirectory(prefix="swarmctl-") as folder:
            yield workspace.scratch(self._store, Path(folder), self._home)

    def _run(
        self,
        space: workspace.Workspace,
        arguments: Sequence[str],
        context: changes.Context,
        title: str,
        total: int,
        on_failed: Callable[[program.Failed], None] = lambda failed: None,
        gathered: Gathered | None = None,
    ) -> Gathered:
        """One run of the engine; what it told is in `gathered`, where one is given, also when this raises."""
        gatherer = Gatherer(_Progress(self._emit, context).on_step, gathered, only_refreshes=arguments[0] == "refresh")
        graph = context.graph
        moved = {} if graph is None else self._moves(graph)
        started = time.monotonic()
        self._emit(PhaseStarted(title, total))
        with serving(
            lambda monitor, _dry: graph is None or program.run(graph, monitor, on_failed, moved), gatherer.receive
        ) as address:
            command = self._command(space, arguments, address)
            status, output = self._spawn(space, command, lambda: gatherer.result.finished)
        self._emit(PhaseEnded(title, time.monotonic() - started))
        workspace.remove_logs(space)
        self._judge(gatherer.result, context, status, output, changing=arguments[0] in ("up", "destroy"))
        return gatherer.result

    def _moves(self, graph: Graph) -> dict[Address, str]:
        recorded = self._store.snapshot().resources
        return moves(graph, {name: (it.type, str(it.inputs.get("node") or "")) for name, it in recorded.items()})

    def _command(self, space: workspace.Workspace, arguments: Sequence[str], address: str) -> list[str]:
        flags: Mapping[str, Any] = {
            "--stack": space.stack,
            "--client": address,
            "--exec-kind": "auto.inline",
            "--event-log": f"tcp://{address}",
            "--parallel": PARALLEL,
            "--color": "never",
        }
        switches = ["--non-interactive", "--suppress-progress", "--suppress-outputs", "--skip-plugin-pre-install"]
        return [*arguments, *switches, *(f"{name}={value}" for name, value in flags.items())]

    def _spawn(
        self, space: workspace.Workspace, command: Sequence[str], done: Callable[[], bool]
    ) -> tuple[int, list[str]]:
        hosts = self._hosts(space)
        environment = space.environment(os.environ) | {HOSTS_VARIABLE: str(hosts)}
        with self._guard:
            if self._interruptions:
                return 0, []
            engine = [str(self._engine.path), *command]
            lock = self._store.lock_descriptor
            process = EngineProcess(engine, self._provider, environment, space.project, lock, done, self._secrets)
            self._process = process
            if self._interruptions:  # asked for by a signal while it was being started
                process.interrupt()
        try:
            return process.wait(), process.output()
        finally:
            hosts.unlink(missing_ok=True)
            with self._guard:
                self._process = None

    def _hosts(self, space: workspace.Workspace) -> Path:
        """A file with the hosts of everything that is recorded: the provider reads them while the engine starts."""
        hosts = [found.inputs["host"] for found in self._store.snapshot().resources.values() if "host" in found.inputs]
        unique = {json.dumps(host, sort_keys=True) for host in hosts}
        file = space.project / "hosts.json"
        file.write_text(f"[{','.join(sorted(unique))}]", "utf-8")
        return file

    def _judge(
        self, gathered: Gathered, context: changes.Context, status: int, output: Sequence[str], *, changing: bool
    ) -> None:
        """Raise for what is not a matter of single resources."""
        if self._interruptions:
            return
        failed = list(gathered.failures.values())
        unread = [step for step in failed if step.op is Op.REFRESH]
        if unread:
            raise WorldUnreadable(
                f"{_count(unread)} could not be read back; nothing was changed", details=_told(unread, context)
            )
        if changing and (self._store.damage() or any(_FULL.search(line) for line in [*gathered.complaints, *output])):
            raise DiskFull.at(self._store.folder)
        if status == 0 or (gathered.finished and failed and changing):
            return
        if failed and not changing:
            raise EngineFailed(f"{_count(failed)} could not be compared", details=_told(failed, context))
        raise EngineFailed(
            f"the Pulumi engine {'ended' if status > 0 else 'was killed'} (status {status}) before it was done",
            "What was done is recorded; run the same command again." if changing else "",
            details=[*_told(failed, context), *_lines([*gathered.complaints, *_left(gathered)] or output)],
        )


def _count(steps: Sequence[Step]) -> str:
    return f"{len(steps)} resource{'s' if len(steps) > 1 else ''}"


def _addresses(document: Mapping[str, Any]) -> set[str]:
    return {address_of(it["urn"]) for it in latest(document).get("resources") or ()} if document else set()


def _lines(texts: Sequence[str]) -> list[str]:
    return [line.rstrip() for text in texts for line in text.splitlines() if line.strip()]


def _left(gathered: Gathered) -> list[str]:
    """Errors about resources that no step came to: without the engine's summing up they are nobody's yet."""
    return [message for messages in gathered.unplaced.values() for message in messages]


def _told(steps: Sequence[Step], context: changes.Context) -> list[str]:
    """Each failure with its place, in lines; those after the first are set in."""
    lines = []
    for step in steps:
        node = context.place(step).node
        first, *more = step.error.splitlines() or [""]
        lines += [f"{step.address}{f' on {node}' if node else ''}: {first}", *(f"    {line}" for line in more)]
    return lines


class _Progress:
    """Steps as they begin and end, told as our own events; a replacement is one step."""

    def __init__(self, emit: Callable[[Event], None], context: changes.Context) -> None:
        self._emit = emit
        self._context = context
        self._since: dict[str, float] = {}

    def on_step(self, step: Step) -> None:
        if step.op in (Op.REFRESH, Op.OTHER) or (step.op is Op.SAME and not step.formerly):
            return
        node = self._context.place(step).node
        action = Action.UPDATE if step.op is Op.SAME else changes.action_of(step.op)
        if step.moment is Moment.BEGIN:
            if step.address not in self._since:
                self._since[step.address] = time.monotonic()
                self._emit(StepStarted(step.address, node, action))
        elif step.moment is Moment.FAILED or step.op not in (Op.DELETE_REPLACED, Op.REPLACE):
            self._end(step, node, action)

    def _end(self, step: Step, node: str, action: Action) -> None:
        seconds = time.monotonic() - self._since.get(step.address, time.monotonic())
        self._emit(StepEnded(step.address, node, action, seconds, step.error))
