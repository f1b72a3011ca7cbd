"""Components of Pulumi's SDK beside our own resources, in one program on the real engine."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest

from swarmctl.engine.session import EngineFailed
from swarmctl.plans.model import Action
from swarmctl.state.checkpoint import latest
from tests.engine import fake_kind
from tests.engine.world import World, file, graph, token

pytestmark = pytest.mark.integration


class File(pulumi.CustomResource):
    """One of ours, written for the SDK."""

    token: pulumi.Output[str]

    def __init__(self, name: str, inputs: dict[str, Any], options: pulumi.ResourceOptions) -> None:
        super().__init__(fake_kind.TOKEN, name, {"token": None, **inputs}, options)


def pair() -> None:
    """A component with two files in it, of which one needs the other."""
    parent = pulumi.ComponentResource("example:index:Pair", "pair")

    def made(name: str, **inputs: Any) -> File:
        return File(f"test/{name}", {"name": name, **inputs}, pulumi.ResourceOptions(parent=parent))

    one = made("sdk-a", size=2)
    made("sdk-b", k=one.token)


def test_components_of_the_sdk_run_in_the_same_program(world: World) -> None:
    wanted = graph(file("b", k=token("a")), file("a"))

    plan = world.session(components=(pair,)).preview(wanted)
    assert {change.address for change in plan.changes} == {"test/a", "test/b", "test/sdk-a", "test/sdk-b"}
    assert world.files() == set()

    store = world.store
    outcome = world.update(wanted, session=world.session(store=store, components=(pair,)))

    assert outcome.failures == ()
    assert world.files() == {"a", "b", "sdk-a", "sdk-b"}
    assert world.inputs("b")["k"] == "token of a 0"
    assert world.inputs("sdk-b")["k"] == "token of sdk-a 2"
    published = world.store.load()
    assert published is not None
    resources = latest(published.checkpoint)["resources"]
    [component] = [it for it in resources if it["type"] == "example:index:Pair"]
    [stack] = [it for it in resources if it["type"] == "pulumi:pulumi:Stack"]
    assert component["parent"] == stack["urn"]
    assert {it["parent"] for it in resources if it["urn"].endswith(("sdk-a", "sdk-b"))} == {component["urn"]}

    assert world.session(components=(pair,)).preview(wanted).empty
    left = world.session().preview(wanted)
    assert {(change.address, change.action) for change in left.changes} == {
        ("test/sdk-a", Action.DELETE),
        ("test/sdk-b", Action.DELETE),
    }


def test_a_component_that_raises_ends_the_run_and_what_was_made_is_recorded(world: World) -> None:
    def broken() -> None:
        raise RuntimeError("no such chart")

    store = world.store
    with pytest.raises(EngineFailed) as error:
        world.update(graph(file("a")), session=world.session(store=store, components=(broken,)))

    assert "no such chart" in "\n".join([error.value.message, *error.value.details])
    assert set(world.store.snapshot().resources) == {f"test/{name}" for name in world.files()}
