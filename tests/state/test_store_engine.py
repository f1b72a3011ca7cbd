"""What the store keeps of the engine's state is all that the engine needs, and little else."""

from __future__ import annotations

import json

import pytest

from swarmctl.state.checkpoint import salt
from swarmctl.state.passphrase import Crypter
from swarmctl.state.rotation import rotate
from tests.engine.conftest import world  # noqa: F401
from tests.engine.world import World, file, graph, token

pytestmark = pytest.mark.integration
COUNT = 8


def test_a_compact_state_is_taken_by_the_engine_and_takes_little(world: World) -> None:  # noqa: F811
    wanted = graph(file("a"), *(file(f"f{n}", after=("a",), note=token("a")) for n in range(COUNT)))
    assert world.update(wanted).failures == ()

    text = world.store.file.read_text()
    assert not any(needless in text for needless in ("stackTrace", "sourcePosition", "created", "modified"))
    recorded = json.loads(text)["checkpoint"]["checkpoint"]["latest"]["resources"]
    ours = [it for it in recorded if it["type"].startswith("swarm:")]
    assert len(ours) == COUNT + 1
    assert max(len(json.dumps(it, separators=(",", ":"))) for it in ours) <= 1024

    assert world.session().preview(wanted).empty
    assert world.update(graph(file("a"))).failures == ()
    assert world.files() == {"a"}


def test_after_a_rotation_the_engine_goes_on_with_the_new_passphrase(world: World) -> None:  # noqa: F811
    wanted = graph(file("a"))
    assert world.update(wanted).failures == ()
    store = world.store
    old = store.passphrase_file().read_text()
    with store.lease() as lease:
        rotate(store, lease)
    found = store.load()
    assert found is not None
    assert store.passphrase_file().read_text() != old
    Crypter.of(store.passphrase_file().read_text(), salt(found.checkpoint))

    assert world.session().preview(wanted).empty
    assert world.update(graph(file("a"), file("b"))).failures == ()
    again = store.load()
    assert again is not None
    assert salt(again.checkpoint) == salt(found.checkpoint)
    assert world.destroy().failures == ()
