"""Destroying, run as a user would, where machines are silent or keep something: what was done is told all the same."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any

import pytest

from swarmctl import backends, cli
from swarmctl.backends.base import CommandFailed, HostUnreachable
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.kinds.base import MACHINE, Impact
from swarmctl.operations import destroy
from swarmctl.plans.model import Action
from tests.operations.world import IDENTITY, Failure, Outcome, Recorded, Snapshot, World, change

Out = pytest.CaptureFixture[str]


def two_machines(world: World, monkeypatch: pytest.MonkeyPatch) -> World:
    """workers-0, and workers-1 which does not answer; one thing lies on each, one on both."""
    hosts = {node: {"backend": "fake", "stack": IDENTITY, "node": node} for node in ("workers-0", "workers-1")}
    machines = {
        f"nodepool/workers[{node[-1]}]": Recorded(MACHINE, {"node": node, "backend": "fake", "host": host})
        for node, host in hosts.items()
    }
    things = {
        f"mesh/backbone[{node}]": Recorded("swarm:mesh:Interface", {"node": node, "host": host})
        for node, host in hosts.items()
    }
    both = {"nodes": {node: {"host": host} for node, host in hosts.items()}}
    world.state = Snapshot({**machines, **things, "mesh/backbone[keys]": Recorded("swarm:mesh:Rotation", both)}, "s1")
    world.machines = list(hosts)
    world.silent = {"workers-1": SwarmError("workers-1 does not answer", "see whether it is up")}
    monkeypatch.setattr(backends, "by_declaration", lambda name: name == "fake")
    monkeypatch.setattr(destroy, "resource_type", lambda token: NoKind())
    return world


class NoKind:
    """What the kinds say about resources that go: nothing."""

    def effects(self, old: object, new: object) -> tuple[()]:
        return ()

    def impact(self, old: object, new: object) -> Impact:
        return Impact()


def test_destroy_leaves_silent_machines_in_the_state_with_what_is_on_them_and_says_so(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    two_machines(world, monkeypatch)
    world.machines += ["workers-7"]
    assert cli.run(["destroy", "--yes"]) == 8
    shown = capsys.readouterr()
    kept = {"nodepool/workers[1]", "mesh/backbone[workers-1]", "mesh/backbone[keys]"}
    assert world.kept == kept
    assert world.done == ["destroy", "remove workers-7"], "nothing is swept while something is left to be asked"
    assert world.folder.is_dir(), "the state is kept"
    assert "Partly destroyed: " in shown.out
    assert "workers-1 is left alone: workers-1 does not answer" in shown.err
    assert "one machine could not be read, and is left alone" in shown.err
    for said in (*kept, "see whether it is up", "`state: lost`"):
        assert said in shown.err
    world.silent = {}
    assert cli.run(["destroy", "--yes"]) == 0
    assert world.kept == frozenset()
    assert world.done[-1] == "sweep"
    assert not world.folder.exists()


def test_a_destroy_that_fails_beside_a_silent_machine_says_what_failed(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    two_machines(world, monkeypatch)
    world.failures = (Failure("mesh/backbone[workers-0]", "workers-0", "no answer in 30 s"),)
    world.changes = (change("nodepool/workers[0]", Action.DELETE, "workers-0"),)
    assert cli.run(["destroy", "--yes", "--format", "json"]) == 7
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert [one["node"] for one in document["unread"]] == ["workers-1"]
    assert world.done == ["destroy"]
    last = shown.err[shown.err.index("error: ") :]
    kept = "still in the state: mesh/backbone[keys], mesh/backbone[workers-1], nodepool/workers[1]"
    for said in ("no answer in 30 s", "workers-1 does not answer", "see whether it is up", kept):
        assert said in last, "at the end, and not only in a warning far above"
    world.changes = ()
    assert cli.run(["destroy", "--yes"]) == 8, "nothing was done: the machine that was not read counts first"
    last = capsys.readouterr().err
    assert "no answer in 30 s" in last[last.index("error: ") :]


def test_strays_that_cannot_be_given_back_beside_a_silent_machine_lose_nothing_of_what_was_done(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    two_machines(world, monkeypatch)
    world.machines += ["workers-6", "workers-7", "workers-8"]
    world.changes = (change("nodepool/workers[0]", Action.DELETE, "workers-0"),)
    world.stubborn = {
        "workers-6": CommandFailed("workers-6: not everything could be taken away: /srv/x", "remove it"),
        "workers-7": HostUnreachable("workers-7 does not answer"),
    }
    assert cli.run(["destroy", "--yes", "--format", "json"]) == 7
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["done"]["delete"] == 1
    assert document["removed"] == ["workers-8"], "none of them keeps the next one"
    assert [one["node"] for one in document["unread"]] == ["workers-1", "workers-7"]
    why = "workers-6: not everything could be taken away: /srv/x\nhelp: remove it"
    assert document["failures"] == [{"address": "fake/workers-6", "node": "workers-6", "error": why}]
    assert document["kept"] == ["mesh/backbone[keys]", "mesh/backbone[workers-1]", "nodepool/workers[1]"]
    last = shown.err[shown.err.index("error: ") :]
    for said in ("/srv/x", "workers-1 does not answer", "workers-7 does not answer", "still in the state: "):
        assert said in last


def test_remains_that_cannot_be_swept_lose_nothing_of_what_was_done(world: World, applied: World, capsys: Out) -> None:
    world.changes = (change("nodepool/workers[0]", Action.DELETE, "workers-0"),)
    world.unswept = HostUnreachable("1 of the machines could not be given back", "mend it", details=["n4: /srv/x"])
    assert cli.run(["destroy", "--yes", "--format", "json"]) == 8
    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert document["done"]["delete"] == 1
    assert [one["error"].splitlines()[1] for one in document["failures"]] == ["n4: /srv/x"]
    assert "n4: /srv/x" in shown.err
    assert cli.run(["destroy", "--yes"]) == 8
    assert "Partly destroyed: 1 deleted" in capsys.readouterr().out
    assert world.folder.is_dir(), "the state is kept until all is gone"


def test_a_machine_that_falls_silent_while_another_is_left_out_is_told_with_it(
    world: World, monkeypatch: pytest.MonkeyPatch, capsys: Out
) -> None:
    two_machines(world, monkeypatch)
    whole = world.destroy

    def destroy_(lease: Any, keeping: Collection[str] = ()) -> Outcome:
        if keeping:
            raise WorldUnreadable("1 resource could not be read back", details=["workers-0 does not answer"])
        return whole(lease, keeping)

    monkeypatch.setattr(world, "destroy", destroy_)
    assert cli.run(["destroy", "--yes"]) == 8
    last = capsys.readouterr().err
    last = last[last.index("error: ") :]
    for said in ("workers-0 does not answer", "workers-1 does not answer", "still in the state: mesh/backbone[keys]"):
        assert said in last
