"""A run of the whole of swarmctl that is stopped while another takes its place: it changes nothing any more."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from swarmctl import backends
from swarmctl.backends.base import Fence, Fenced
from swarmctl.hosts.fence import StillChanging
from swarmctl.processes import environments
from swarmctl.state import runs

from .lab import Lab, footprint, make

pytestmark = pytest.mark.integration


@pytest.fixture
def lab(engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Lab]:
    """The lab stack, applied; this process sees the same data folder."""
    made = make(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", made.env["XDG_DATA_HOME"])
    try:
        made("apply", "--yes")
        yield made
    finally:
        made("destroy", "--yes", code=None)
    assert footprint(made.root) == {"processes": [], "mounts": [], "files": []}


def working(folder: Path) -> list[int]:
    """Engine and provider of the run in `folder`."""
    mark = f"{runs.VARIABLE}={folder}".encode()
    return [process.pid for process, environment in environments() if mark in environment]


@contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def journal_of(lab: Lab) -> Path:
    """The journal of the run that goes on: its provider is there and has changed nothing yet."""
    wait(lambda: any(lab.data.glob("stacks/*/runs/*/journal")))
    return next(lab.data.glob("stacks/*/runs/*/journal"))


def wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)


def mtu(identity: str, node: str, fence: Fence | None) -> str:
    """Of the mesh's interface on a node, read under a fence as a run reads it."""
    backend = backends.load("lab")
    host = backend.host_of(identity, node)
    backend.read_machine({"node": node, "host": host}, fence)
    return backend.open_host(host, fence).run(["cat", "/sys/class/net/wg0/mtu"]).text.strip()


def test_a_run_that_is_stopped_and_goes_on_after_another_took_over_changes_nothing(lab: Lab) -> None:
    identity = next(lab.data.glob("stacks/*")).name
    backend = backends.load("lab")
    lab.edit("network.yaml", "mtu: 1420", "mtu: 1380")
    with lab.start("apply", "--yes") as old:
        journal = journal_of(lab)
        pids = working(journal.parent)
        assert len(pids) >= 2
        wait(lambda: journal.stat().st_size > 0)
        newer = Fence(identity, int(journal.parent.name) + 1, "another machine")
        seen: list[str] = []
        while not seen:
            with stopped(pids), suppress(StillChanging):  # stopped in the middle of a change, which is waited for
                # What a run would do first that is on another machine, and so can't end this one: read every node.
                seen = [mtu(identity, node, newer) for node in backend.machines(identity)]
                assert "1420" in seen
        out, err = old.communicate(timeout=120)
    assert old.returncode != 0
    assert "in the hands of a newer run (another machine" in " ".join((out + err).split())
    assert [mtu(identity, node, newer) for node in backend.machines(identity)] == seen
    with pytest.raises(Fenced):
        backend.sweep(identity, Fence(identity, newer.token - 1, "old"))
    # The token of the next run is beyond that of the newer one, and it ends what was begun.
    lab("apply", "--yes")
    assert {mtu(identity, node, None) for node in backend.machines(identity)} == {"1380"}
