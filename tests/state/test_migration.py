"""The layout of before: it is read as it is, and the first run takes it over."""

from __future__ import annotations

import fcntl
import json
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import LockHeld
from swarmctl.state import migration
from swarmctl.state.checkpoint import SECRET, SIGNATURE, StateUnreadable
from swarmctl.state.migration import checkpoint_file
from swarmctl.state.store import Store
from tests.state.published import checkpoint, leased, names, resource


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """With a checkpoint of the engine's, the passphrase, the engine's project and the lock."""
    store = Store("lab", f"file://{tmp_path}")
    secret = {SIGNATURE: SECRET, "ciphertext": "v1:abc"}
    where(store).parent.mkdir(parents=True)
    write(store, resource("a", inputs={"mtu": 1420.0, "token": secret}))
    (store.folder / "passphrase").write_text("old one\n")
    (store.folder / "project").mkdir()
    (store.folder / "lock").touch()
    return store


def where(store: Store) -> Path:
    return checkpoint_file(store.folder / "state", store.identity)


def write(store: Store, *resources: dict[str, Any], pending: list[dict[str, Any]] | None = None) -> bytes:
    document = checkpoint(*resources)
    if pending:
        document["checkpoint"]["latest"]["pending_operations"] = pending
    where(store).write_text(json.dumps(document))
    return where(store).read_bytes()


def note(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "resource": {key: v for key, v in resource(name, **more).items() if key != "id"}}


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_it_is_read_as_it_is(store: Store) -> None:
    before = content(store.folder)

    assert names(store) == {"a"}
    assert store.snapshot().resources["mesh/a"].inputs == {"mtu": 1420, "token": {"secret": True}}
    assert store.passphrase_file().read_text() == "old one\n"
    assert content(store.folder) == before


def test_the_first_run_takes_it_over(store: Store) -> None:
    seen = store.snapshot()

    assert store.recover(leased(store, 7)) == []

    assert {path.name for path in store.folder.iterdir()} == {"state.json", "keys", "lease.json", "lease.lock"}
    assert store.snapshot() == seen
    assert store.passphrase_file() == store.folder / "keys" / "passphrase"
    assert store.passphrase_file().read_text() == "old one\n"
    found = store.load()
    assert found is not None
    assert found.generation == 1


@pytest.mark.parametrize("step", ["take_keys", "clear"])
def test_also_when_it_was_cut_off_on_the_way(store: Store, step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    seen = store.snapshot()
    with monkeypatch.context() as patch:
        patch.setattr(migration, step, killed)
        with pytest.raises(KeyboardInterrupt):
            store.recover(leased(store, 7))
    assert (store.snapshot(), store.passphrase_file().read_text()) == (seen, "old one\n")

    store.recover(leased(store, 8))
    assert (store.snapshot(), store.passphrase_file().read_text()) == (seen, "old one\n")
    assert not where(store).exists()


def test_not_while_an_older_swarmctl_works_on_it(store: Store) -> None:
    with (store.folder / "lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LockHeld, match="an older version of swarmctl works"):
            store.recover(leased(store, 7))
    assert where(store).exists()


def test_what_else_would_block_is_not_taken_for_an_older_swarmctl(store: Store) -> None:
    with pytest.raises(BlockingIOError, match="something else"), migration.alone(store.folder):
        raise BlockingIOError("something else")


class TestCutOff:
    """What an older swarmctl that was killed has left."""

    def test_what_was_being_created_is_known_from_then_on(self, store: Store) -> None:
        write(store, resource("a"), pending=[note("creating", "b")])
        seen = store.snapshot()
        store.recover(leased(store, 7))

        assert names(store) == {"a", "b"}
        assert store.snapshot() == seen
        found = store.load()
        assert found is not None
        entry = found.checkpoint["checkpoint"]["latest"]["resources"][-1]
        assert (entry["id"], bool(entry["initErrors"])) == ("mesh/b", True)
        assert "pending_operations" not in found.checkpoint["checkpoint"]["latest"]

    def test_what_was_created_already_is_not_there_twice(self, store: Store) -> None:
        write(store, resource("a"), pending=[note("creating", "a", outputs={})])
        assert store.snapshot().resources["mesh/a"].outputs == {"key": "a"}

    def test_a_successor_takes_the_place_of_what_it_replaces(self, store: Store) -> None:
        write(store, resource("a", pendingReplacement=True), pending=[note("creating", "a", inputs={"n": 2})])
        assert store.snapshot().resources["mesh/a"].inputs == {"n": 2}

    @pytest.mark.parametrize("kind", ["updating", "deleting", "reading"])
    def test_other_notes_are_dropped(self, store: Store, kind: str) -> None:
        write(store, resource("a"), pending=[note(kind, "a", inputs={"n": 9})])
        assert store.snapshot().resources["mesh/a"].inputs == {"n": 1}

    @pytest.mark.parametrize("copy", ["state/.pulumi/stacks/swarmctl/lab.json.bak", "checkpoint.before.json"])
    def test_a_copy_stands_for_a_checkpoint_that_was_cut_off(self, store: Store, copy: str) -> None:
        (store.folder / copy).write_bytes(write(store, resource("b")))
        where(store).write_bytes(b'{"version": 3, "ch')

        assert names(store) == {"b"}

    @pytest.mark.parametrize("broken", [b"", b"{", b"[]", b'{"checkpoint": 1}', b"\xff\xfe"])
    def test_without_a_good_one_nothing_is_touched(self, store: Store, broken: bytes) -> None:
        where(store).write_bytes(broken)
        lease = leased(store, 7)

        with pytest.raises(StateUnreadable, match="the recorded state is not readable") as caught:
            store.recover(lease)
        assert str(where(store)) in caught.value.message
        assert where(store).read_bytes() == broken
