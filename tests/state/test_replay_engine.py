"""What is replayed from a journal is what the real engine would have recorded, and the engine takes it as its own."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Collection, Mapping
from typing import Any

import pytest

from swarmctl.engine import publication
from swarmctl.engine.runner import Ended
from swarmctl.graph.model import Graph, Resource
from swarmctl.plans.events import Note
from swarmctl.plans.model import Action
from swarmctl.state import journal
from swarmctl.state.checkpoint import address_of, decode
from swarmctl.state.integrity import flaw
from swarmctl.state.journal import Intent, Result
from swarmctl.state.model import ResourceHeader, RunHeader
from swarmctl.state.replay import replay, urn
from tests.engine.conftest import world
from tests.engine.fake_kind import TOKEN
from tests.engine.world import STACK, World, file, graph, token

__all__ = ["world"]

pytestmark = [pytest.mark.integration, pytest.mark.slow]

COMPARED = ("type", "id", "inputs", "outputs", "dependencies", "propertyDependencies", "parent", "protect")


def recorded(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """What a checkpoint says of each resource of ours, by address; of what failed that it did, and not how."""
    found = {}
    for resource in (document["checkpoint"].get("latest") or {}).get("resources") or ():
        # What was removed and could not be made anew: the engine keeps it as a note.
        if resource["type"] == TOKEN and not resource.get("pendingReplacement"):
            told = {name: resource[name] for name in COMPARED if resource.get(name)}
            told["dependencies"] = sorted(resource.get("dependencies") or ())
            told["propertyDependencies"] = {
                name: needs for name, needs in (resource.get("propertyDependencies") or {}).items() if needs
            }
            found[address_of(resource["urn"])] = told | {"begun": bool(resource.get("initErrors"))}
    return found


class Watch:
    """Compares, at the end of each run that ended well, the engine's checkpoint with what the journal comes to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = 0
        self._result = publication.result
        monkeypatch.setattr(publication, "result", self)

    def __call__(
        self,
        base: publication.Base,
        ended: Ended,
        wanted: Collection[str],
        unsettled: Collection[str],
        undone: Collection[str],
    ) -> dict[str, Any] | None:
        before = copy.deepcopy(base.checkpoint)
        records = journal.read(base.run.journal)
        result = self._result(base, ended, wanted, unsettled, undone)
        assert ended.status == 0 or ended.gathered.finished
        document = decode(base.space.checkpoint.read_bytes())
        self.runs += 1
        if flaw(document):
            assert result is not None
            assert not flaw(result)
            return result
        replayed, saved = recorded(replay(before, base.run.header, records, undone=undone)), recorded(document)
        # What was read back as gone and needed no removal is in no journal: the next refresh finds the same.
        missing = {address for address, step in ended.gathered.refreshed.items() if step.new is None}
        for address in missing - saved.keys():
            assert replayed.pop(address)
        assert replayed.keys() == saved.keys()
        for address, told in saved.items():
            assert replayed[address] == told
        return result


def some_graph(chance: random.Random) -> Graph:
    """Some of eight files, in some order; each may refer to those before it and be one that cannot be made."""
    names = chance.sample("abcdefgh", chance.randint(2, 8))
    files: list[Resource] = []
    for place, name in enumerate(names):
        inputs: dict[str, Any] = {"x": chance.randint(0, 2)}
        if chance.random() < 0.3:
            inputs["size"] = chance.randint(1, 2)
        if chance.random() < 0.15:
            inputs["fail"] = chance.choice(["create", "update"])
        for other in names[:place]:
            if chance.random() < 0.3:
                inputs[f"of_{other}"] = token(other)
        if chance.random() < 0.3:
            inputs["deep"] = {"list": [1, 2.5, None, {"a": True}], "text": "ä\n"}
        files.append(file(name, **inputs))
    chance.shuffle(files)
    return graph(*files)


@pytest.mark.parametrize("seed", range(3))
def test_a_journal_comes_to_what_the_engine_records(world: World, monkeypatch: pytest.MonkeyPatch, seed: int) -> None:
    watch = Watch(monkeypatch)
    chance = random.Random(seed)
    for _ in range(4):
        world.update(some_graph(chance))
    for name in world.files():
        world.tamper(name, fail="")
    world.destroy()
    assert watch.runs == 5


def test_so_it_does_of_what_moved(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    watch = Watch(monkeypatch)
    world.update(graph(file("a", node="n1"), file("b", node="n2", k=token("a"))))
    moved = graph(file("new", node="n1", x=1), file("b", node="n2", k=token("new")))
    assert [it.action for it in world.update(moved).changes] == [Action.UPDATE, Action.UPDATE]
    assert watch.runs == 2


def test_the_engine_goes_on_from_a_state_that_was_never_its_own(world: World) -> None:
    """Made of a journal alone: two resources done, one begun that is not there, one begun that is."""
    wanted = graph(file("a", x=1), file("b", after=("a",), k=token("a")), file("c"), file("d", x={"y": [1]}))
    for name, more in {"a": {"x": 1}, "b": {"k": "token of a 0"}, "d": {"x": {"y": [1]}}}.items():
        world.kind.create(None, {"name": name, **more})  # type: ignore[arg-type]
    run = RunHeader(
        STACK,
        1,
        0,
        "update",
        "me@here",
        resources={
            "test/a": ResourceHeader(TOKEN),
            "test/b": ResourceHeader(TOKEN, ("test/a",), {"k": ("test/a",)}),
            "test/c": ResourceHeader(TOKEN),
            "test/d": ResourceHeader(TOKEN),
        },
    )
    names = {name: urn(STACK, TOKEN, f"test/{name}") for name in "abcd"}
    document = replay(
        None,
        run,
        [
            Intent(1, "create", names["a"], {"name": "a", "x": 1}),
            Intent(2, "create", names["c"], {"name": "c"}),
            Result(1, {"token": "token of a 0"}),
            Intent(3, "create", names["b"], {"name": "b", "k": "token of a 0"}),
            Intent(4, "create", names["d"], {"name": "d", "x": {"y": [1]}}),
            Result(3, {"token": "token of b 0"}),
        ],
    )
    store = world.store
    with store.lease() as lease:
        store.publish(lease, 0, document, applied=None, plans=())

    plan = world.session().preview(wanted)
    outcome = world.update(wanted)

    assert [(it.address, it.action) for it in plan.changes] == [("test/c", Action.CREATE)]
    assert plan.drift == ()
    assert [(it.address, it.action) for it in outcome.changes] == [("test/c", Action.CREATE)]
    assert outcome.failures == ()
    assert not [event for event in world.events if isinstance(event, Note)]
    assert {name: world.kind.read_file({"name": name})["made"] for name in "abcd"} == dict.fromkeys("abcd", 1)
    now = world.store.load()
    assert now is not None
    assert not any(told["begun"] for told in recorded(now.checkpoint).values())
    assert "pending_operations" not in json.dumps(now.checkpoint)
    assert world.session().preview(wanted).empty
    assert world.destroy().failures == ()
    assert world.files() == set()


def test_what_the_engine_would_refuse_is_not_published(world: World) -> None:
    """It makes `h` anew without removing the old one first: the removal would wait for `d`, which fails."""
    world.update(graph(file("d"), file("h", k=token("d"))))

    # `e` keeps `h` waiting until `d` has failed.
    e = file("e", sleep=0.3)
    outcome = world.update(graph(file("d", x=1, fail="update"), e, file("h", size=2, k=token("e"))))

    assert [it.address for it in outcome.failures] == ["test/d"]
    now = world.store.load()
    assert now is not None
    assert flaw(now.checkpoint) == ""
    assert recorded(now.checkpoint)["test/h"]["inputs"] == {"name": "h", "size": 2, "k": "token of e 0"}
    wanted = graph(file("d", x=2), e, file("h", size=2, k=token("e")))
    assert world.update(wanted).failures == ()
    assert world.session().preview(wanted).empty
    assert world.destroy().failures == ()
    assert world.files() == set()
