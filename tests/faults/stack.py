"""A stack of costless things for one test: declared, run through the whole command line, and looked at afterwards."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from bench.costless.world import VARIABLE, World, duplicates, overtaken_writers
from tests.integration.lab import Run, ended
from tests.integration.watching import Watched as LabWatched
from tests.integration.watching import alive

CLI = Path(__file__).resolve().parents[2] / "bench" / "costless" / "cli.py"
Spec = Mapping[str, Any]
HEAL = 30.0
"""Seconds in which a run that follows a crash has to begin working at the latest."""


@dataclass
class Stack:
    """Folders of its own: declarations, store, world, temp files."""

    root: Path
    env: dict[str, str]
    name: str = "faults"
    uid: str = field(default_factory=lambda: str(uuid.uuid4()))
    declared: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: list[Run] = field(default_factory=list)
    moved: Path | None = None
    """The folder of the state store that is declared; None: the usual one."""
    cli: Path = CLI
    """The script that is run."""
    prefix: list[str] = field(default_factory=list)
    """Command that every run is started through, such as one that enters a mount namespace."""

    started: list[subprocess.Popen[str]] = field(default_factory=list)
    watched: list[Watched] = field(default_factory=list)

    @property
    def identity(self) -> str:
        return f"{self.name}-{self.uid}"

    @property
    def folder(self) -> Path:
        return self.root / "stack"

    @property
    def store(self) -> Path:
        """The stack's folder in the state store."""
        return (self.moved or self.root / "data" / "swarmctl" / "stacks") / self.identity

    @cached_property
    def world(self) -> World:
        return World(Path(self.env[VARIABLE]))

    def declare(self, **specs: Spec) -> None:
        """Write the declarations: one `Costless` per name."""
        self.declared = {name: dict(spec) for name, spec in specs.items()}
        documents: list[Any] = [{"kind": "Stack", "metadata": {"name": self.name, "uid": self.uid}}]
        if self.moved:
            documents[0]["spec"] = {"state": f"file://{self.moved}"}
        documents += [
            {"kind": "Costless", "metadata": {"name": name}, "spec": spec} for name, spec in self.declared.items()
        ]
        text = yaml.safe_dump_all([{"apiVersion": "swarmctl/v1alpha1", **it} for it in documents])
        self.folder.mkdir(exist_ok=True)
        (self.folder / "stack.yaml").write_text(text)

    def wanted(self) -> dict[str, tuple[int, int]]:
        """Size and version of every thing that is declared, by address."""
        return {
            f"{name}[{ordinal}]": (spec.get("size", 1), spec.get("version", 1))
            for name, spec in self.declared.items()
            for ordinal in range(spec.get("count", 1))
        }

    def start(self, *args: str, stdin: int = subprocess.DEVNULL, env: Mapping[str, str] | None = None) -> Any:
        """Start the command line in a session of its own, outputs captured."""
        process = subprocess.Popen(
            [*self.prefix, sys.executable, str(self.cli), "-C", str(self.folder), *args],
            env=self.env | dict(env or {}),
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=self.root,
        )
        self.started.append(process)
        return process

    def end(self) -> None:
        """End all that works on this world, and wait until it has ended: neither processes nor warnings about them are
        left to the tests that follow."""
        while left := self.processes():
            for pid in left:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.01)
        for process in self.started:
            process.wait(10)
        for watched in self.watched:
            watched.end_of_output(10)

    def __call__(
        self, *args: str, code: int | None = 0, timeout: float = 120, env: Mapping[str, str] | None = None
    ) -> Run:
        """Run it to its end and expect `code` (None: any)."""
        run = ended(self.start(*args, env=env), args, code=code, timeout=timeout)
        self.runs.append(run)
        return run

    def watch(self, *args: str, env: Mapping[str, str] | None = None) -> Watched:
        """Start it, to be watched and killed."""
        before = self.env
        self.env = before | dict(env or {})
        try:
            self.watched.append(Watched(self, *args))
        finally:
            self.env = before
        return self.watched[-1]

    def changes(self) -> int:
        """How many changes the world has seen."""
        return self.world.changes()

    def processes(self) -> dict[int, str]:
        """Every process on this machine that works on this world, with its command line."""
        mark = f"{VARIABLE}={self.env[VARIABLE]}".encode()
        found = {}
        for proc in Path("/proc").iterdir():
            if not proc.name.isdigit() or int(proc.name) == os.getpid():
                continue
            try:
                if mark in (proc / "environ").read_bytes().split(b"\0") and alive(int(proc.name)):
                    found[int(proc.name)] = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
        return found

    def quiet(self, seconds: float = 60.0) -> None:
        """Wait until nobody works on the world any more: an engine that hangs after the command line was killed is
        ended by its provider after 20 s, where no other run does it before."""
        deadline = time.monotonic() + seconds
        while left := self.processes():
            assert time.monotonic() < deadline, f"still there: {left}"
            time.sleep(0.05)

    def assert_sound(self) -> None:
        """No thing was made twice, and no earlier run changed anything after a later one."""
        effects = self.world.effects()
        assert duplicates(effects) == []
        assert overtaken_writers(effects) == []
        assert {thing.stack for thing in self.world.things().values()} <= {self.identity}

    def assert_converged(self) -> None:
        """The world is what is declared, nobody is at work, and there is nothing to do."""
        self.assert_sound()
        there = {
            address: (thing.inputs["size"], thing.inputs["version"]) for address, thing in self.world.things().items()
        }
        assert there == self.wanted()
        assert self.processes() == {}
        plan = self("plan", "--detailed-exitcode", code=None)
        assert plan.code == 0, plan.out + plan.err

    def assert_gone(self) -> None:
        """Nothing is in the world and nothing in the store."""
        self.assert_sound()
        assert self.world.things() == {}
        assert self.processes() == {}
        left = [str(path.relative_to(self.root)) for path in self.store.parent.rglob("*") if path.is_file()]
        assert left == [], left

    def state(self) -> Any:
        """The published state."""
        return json.loads((self.store / "state.json").read_bytes())

    def lose_the_store(self) -> None:
        """The stack's folder is gone, all at once, whoever still works with it."""
        lost = self.root / f"lost-{time.monotonic_ns()}"
        self.store.rename(lost)
        shutil.rmtree(lost)


class Watched(LabWatched):
    """A run of costless things: the provider is told by its script."""

    def find(self, victim: str) -> int:
        if victim == "cli":
            return self.process.pid
        marks = {"engine": "--event-log", "provider": "costless/provider.py"}
        return next((pid for pid, line in _below(self.process.pid) if marks[victim] in line), 0)


def _below(parent: int) -> list[tuple[int, str]]:
    """Descendants that have become what they shall be, nearest first, with their command lines."""
    found: list[tuple[int, str]] = []
    waiting = [parent]
    while waiting:
        pid = waiting.pop(0)
        for task in Path(f"/proc/{pid}/task").glob("*/children"):
            try:
                children = [int(child) for child in task.read_text().split()]
                lines = [Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ") for child in children]
            except OSError:
                continue
            waiting += children
            found += [it for it in zip(children, lines, strict=True) if "launch.py" not in it[1]]
    return found


def make(root: Path) -> Stack:
    """A stack below `root`."""
    keep = ("PATH", "HOME", "LANG", "SWARMCTL_ENGINE", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    env |= {
        VARIABLE: str(root / "world"),
        "XDG_DATA_HOME": str(root / "data"),
        "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache"),
        "TMPDIR": str(root / "tmp"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for name in ("tmp", "world"):
        (root / name).mkdir()
    return Stack(root, env)


Moment = Callable[[Watched], object]
