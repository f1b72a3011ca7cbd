"""One run of the engine, from its command line to what it told: started, listened to, watched, waited for."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmctl.backends import clocks, ways
from swarmctl.engine.events import Gathered, Gatherer, Step
from swarmctl.engine.host import Program, serving
from swarmctl.engine.outcome import EngineFailed
from swarmctl.engine.process import EngineProcess
from swarmctl.engine.watchdog import Watchdog
from swarmctl.engine.workspace import Workspace, without_logs
from swarmctl.plans.events import Event, Note, PhaseEnded, PhaseStarted

if TYPE_CHECKING:
    from swarmctl.engine.install import Engine

Json = Any
PARALLEL = 16
"""Resources that the engine reads or changes at the same time; what takes long there is waiting for hosts."""
HOSTS_VARIABLE = "SWARMCTL_HOSTS"
"""Tells the provider which hosts the run will ask for, and how they are reached; provider/__main__.py imports nothing
before it has read it."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the engine shall do."""

    arguments: Sequence[str]
    """The engine's command and its switches."""
    title: str
    """Of the phase, for people."""
    total: int
    """Resources; 0 when that is not known."""
    program: Program
    on_step: Callable[[Step], None]
    watchdog: Watchdog
    hosts: Iterable[Mapping[str, Json]] = ()
    """Those that the provider will be asked for: it reads them while the engine starts."""
    moved: Mapping[str, str] = field(default_factory=dict)
    """Address in the state → address now, of what has another one."""

    @property
    def refreshes(self) -> bool:
        """Whether the engine only reads the world."""
        return self.arguments[0] == "refresh"


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run of the engine ended."""

    status: int
    """Exit status, negative for a signal."""
    output: Sequence[str]
    """The last lines of what it printed."""
    gathered: Gathered
    failure: Exception | None = None
    """What went wrong when its events were taken."""
    given_up: str = ""
    """Why it was ended by us."""


class Runner:
    """Runs the engine, once at a time; `interrupt` may be called from anywhere."""

    def __init__(
        self,
        engine: Engine,
        home: Path,
        emit: Callable[[Event], None],
        provider: Sequence[str],
        secrets: Mapping[str, str] | None,
    ) -> None:
        self._engine = engine
        self._home = home
        self._emit = emit
        self._provider = provider
        self._secrets = secrets
        self._process: EngineProcess | None = None
        self._guard = threading.RLock()
        self.interruptions = 0
        """How often `interrupt` was called."""

    def interrupt(self) -> None:
        """First call: finish the steps in flight, save, end. Second: end at once."""
        with self._guard:
            self.interruptions += 1
            if self._process is not None:
                self._process.interrupt()

    def run(self, space: Workspace, order: Order, gathered: Gathered) -> Ended:
        """Run the engine in `space` until it has ended, and its provider with it; fills `gathered` on the way.

        Raises `EngineFailed` when the provider doesn't end.
        """

        def on_step(step: Step) -> None:
            order.watchdog.on_step(step)
            order.on_step(step)

        told = clocks.Few(lambda text: self._emit(Note(text, warning=True)))
        gatherer = Gatherer(on_step, gathered, only_refreshes=order.refreshes, on_note=told, moved=order.moved)
        started = time.monotonic()
        self._emit(PhaseStarted(order.title, order.total))
        try:
            with serving(order.program, gatherer.receive) as served:

                def overdue() -> str:
                    if served.failure is not None:
                        return "what it tells cannot be understood"
                    return order.watchdog.overdue(served.silence(), finished=gathered.finished)

                ended = self._wait(space, order, served.address, gathered, overdue)
        finally:
            told.end()  # also of one that broke off: what it has not named it has counted
        self._emit(PhaseEnded(order.title, time.monotonic() - started))
        return Ended(*ended[:2], gathered, served.failure, ended[2])

    def _wait(
        self, space: Workspace, order: Order, address: str, gathered: Gathered, overdue: Callable[[], str]
    ) -> tuple[int, list[str], str]:
        """Exit status, output, and why it was given up."""
        without_logs(self._home)
        command = [str(self._engine.path), *_arguments(space, order, address)]
        hosts = _write_hosts(space, order.hosts)
        environment = space.environment(os.environ, order.total) | {HOSTS_VARIABLE: str(hosts)}
        with self._guard:
            if self.interruptions:
                return 0, [], ""
            process = EngineProcess(
                command,
                self._provider,
                environment,
                space.project,
                lambda: gathered.finished,
                overdue,
                self._secrets,
            )
            self._process = process
            if self.interruptions:  # asked for by a signal while it was being started
                process.interrupt()
        try:
            status = process.wait()
        finally:
            with self._guard:
                self._process = None
        if not process.gone():
            raise EngineFailed(
                "the provider of this run does not end although its engine has",
                "see what it waits for; the next run ends it, and takes over what this one has done",
            )
        return status, process.output(), process.ended_because


def _arguments(space: Workspace, order: Order, address: str) -> list[str]:
    flags: Mapping[str, Any] = {
        "--stack": space.stack,
        "--client": address,
        "--exec-kind": "auto.inline",
        "--event-log": f"tcp://{address}",
        "--parallel": PARALLEL,
        "--color": "never",
    }
    switches = ["--non-interactive", "--suppress-progress", "--suppress-outputs", "--skip-plugin-pre-install"]
    return [*order.arguments, *switches, *(f"{name}={value}" for name, value in flags.items())]


def _write_hosts(space: Workspace, hosts: Iterable[Mapping[str, Json]]) -> Path:
    unique = {json.dumps(host, sort_keys=True) for host in hosts}
    file = space.project / "hosts.json"
    known = json.dumps(ways.dump(), sort_keys=True)
    file.write_text(f'{{"hosts":[{",".join(sorted(unique))}],"ways":{known}}}', "utf-8")
    return file
