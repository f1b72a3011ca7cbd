"""The store: what is recorded, who may write, what is left of a run that was killed."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl import paths
from swarmctl.errors import LockHeld, SwarmError
from swarmctl.state import lock
from swarmctl.state.checkpoint import SECRET, SIGNATURE, StateUnreadable
from swarmctl.state.safekeeping import DiskFull
from swarmctl.state.store import Recorded, Store

STACK_URN = "urn:pulumi:lab::swarmctl::pulumi:pulumi:Stack::lab"
PROVIDER_URN = "urn:pulumi:lab::swarmctl::pulumi:providers:swarm::default"


def resource(name: str, **more: Any) -> dict[str, Any]:
    return {
        "urn": f"urn:pulumi:lab::swarmctl::swarm:mesh:Peers::mesh/{name}",
        "type": "swarm:mesh:Peers",
        "custom": True,
        "id": f"mesh/{name}",
        "inputs": {"n": 1},
        "outputs": {"key": name},
        **more,
    }


def own() -> list[dict[str, Any]]:
    return [
        {"urn": STACK_URN, "type": "pulumi:pulumi:Stack"},
        {"urn": PROVIDER_URN, "type": "pulumi:providers:swarm", "id": "7"},
    ]


def pending(kind: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": kind, "resource": {key: v for key, v in resource(name, **more).items() if key != "id"}}


def checkpoint(*resources: dict[str, Any], operations: list[dict[str, Any]] | None = None) -> bytes:
    latest: dict[str, Any] = {"manifest": {"time": os.urandom(4).hex()}, "resources": [*own(), *resources]}
    if operations:
        latest["pending_operations"] = operations
    return json.dumps({"version": 3, "checkpoint": {"stack": "organization/swarmctl/lab", "latest": latest}}).encode()


@pytest.fixture
def store(tmp_path: Path) -> Store:
    made = Store("lab", f"file://{tmp_path}/my%20state")
    made.checkpoint.parent.mkdir(parents=True)
    return made


def recorded_names(store: Store) -> list[str]:
    document = json.loads(store.checkpoint.read_bytes())["checkpoint"]["latest"]
    assert "pending_operations" not in document
    return [found["urn"].split("/")[-1] for found in document["resources"] if found["type"] == "swarm:mesh:Peers"]


def test_a_store_is_where_the_stack_says_or_in_the_users_data(tmp_path: Path, store: Store) -> None:
    assert store.folder == tmp_path / "my state" / "lab"
    assert Store("lab").folder == paths.stack_dir("lab")


@pytest.mark.parametrize("url", ["s3://bucket", "file://host/folder", "file:relative", "/folder"])
def test_any_other_place_is_refused(url: str) -> None:
    with pytest.raises(SwarmError, match="is no state store"):
        Store("lab", url)


def test_nothing_is_recorded_before_the_first_run(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")

    assert not store.exists()
    assert store.snapshot().resources == {}
    assert list(tmp_path.iterdir()) == []


def test_resources_are_read_by_address_without_secrets(store: Store) -> None:
    secret = {SIGNATURE: SECRET, "ciphertext": "v1:abc"}
    store.checkpoint.write_bytes(checkpoint(resource("a", inputs={"mtu": 1420.0, "list": [1.5], "token": secret})))

    assert store.exists()
    assert store.snapshot().resources == {
        "mesh/a": Recorded("swarm:mesh:Peers", {"mtu": 1420, "list": [1.5], "token": {"secret": True}}, {"key": "a"})
    }


def test_the_digest_moves_with_the_resources_and_with_nothing_else(store: Store) -> None:
    digests = []
    for content in (
        checkpoint(resource("a"), resource("b")),
        checkpoint(resource("b", modified="now"), resource("a")),
        checkpoint(resource("a"), resource("b", outputs={"key": "c"})),
        checkpoint(resource("a")),
    ):
        store.checkpoint.write_bytes(content)
        digests.append(store.snapshot().digest)

    assert digests[0] == digests[1]
    assert len(set(digests)) == 3


def test_an_empty_state_has_the_digest_of_none_at_all(store: Store) -> None:
    nothing = store.snapshot().digest
    store.checkpoint.write_bytes(checkpoint())

    assert store.snapshot().digest == nothing != ""


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"checkpoint": 1}', b"\xff\xfe"])
def test_what_is_no_checkpoint_is_said_so(store: Store, content: bytes) -> None:
    store.checkpoint.write_bytes(content)

    with pytest.raises(StateUnreadable, match="the recorded state is not readable"):
        store.snapshot()


def test_who_only_looks_sees_the_state_before_and_changes_nothing(store: Store) -> None:
    store.checkpoint.write_bytes(b"")
    store.checkpoint.with_name("lab.json.bak").write_bytes(checkpoint(resource("a")))

    assert list(store.snapshot().resources) == ["mesh/a"]
    assert store.exists()
    assert "not readable" in store.damage()
    assert not store.checkpoint.read_bytes()


class TestRepair:
    """What a killed run has left."""

    def test_what_was_being_created_is_known_from_then_on(self, store: Store) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a"), operations=[pending("creating", "b")]))
        before = store.snapshot()

        store.repair()

        assert recorded_names(store) == ["a", "b"]
        assert json.loads(store.checkpoint.read_bytes())["checkpoint"]["latest"]["resources"][-1]["id"] == "mesh/b"
        assert set(before.resources) == {"mesh/a", "mesh/b"}
        assert store.snapshot() == before

    def test_what_was_created_already_is_not_there_twice(self, store: Store) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a"), operations=[pending("creating", "a", outputs={})]))

        store.repair()

        assert recorded_names(store) == ["a"]
        assert store.snapshot().resources["mesh/a"].outputs == {"key": "a"}

    def test_a_successor_takes_the_place_of_what_it_replaces(self, store: Store) -> None:
        old = resource("a", pendingReplacement=True)
        store.checkpoint.write_bytes(checkpoint(old, operations=[pending("creating", "a", inputs={"n": 2})]))

        store.repair()

        assert recorded_names(store) == ["a"]
        assert store.snapshot().resources["mesh/a"].inputs == {"n": 2}

    @pytest.mark.parametrize("kind", ["updating", "deleting", "reading"])
    def test_other_notes_are_dropped(self, store: Store, kind: str) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a"), operations=[pending(kind, "a", inputs={"n": 9})]))

        store.repair()

        assert recorded_names(store) == ["a"]
        assert store.snapshot().resources["mesh/a"].inputs == {"n": 1}

    def test_a_state_that_needs_nothing_is_not_written(self, store: Store) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a")))
        before = store.checkpoint.stat()

        assert store.repair() == []
        assert store.checkpoint.stat() == before

    def test_locks_of_the_engine_are_nobodys(self, store: Store) -> None:
        folder = store.engine_locks / "organization" / "swarmctl" / "lab"
        folder.mkdir(parents=True)
        (folder / "1.json").write_text("{}")
        (folder / "2.json.18ea13eebd477032.tmp").touch()

        store.repair()

        assert [path for path in store.engine_locks.rglob("*") if path.is_file()] == []

    def test_a_state_that_is_cut_off_is_kept_aside_and_the_one_before_is_used(self, store: Store) -> None:
        good = checkpoint(resource("a"))
        checkpoint_cut = checkpoint(resource("a"), resource("b"))[:-40]
        store.checkpoint.write_bytes(checkpoint_cut)
        store.checkpoint.with_name("lab.json.bak").write_bytes(good)

        (note,) = store.repair()

        assert recorded_names(store) == ["a"]
        (aside,) = store.checkpoint.parent.glob("*.broken-*")
        assert str(aside) in note
        assert aside.read_bytes() == checkpoint_cut
        assert store.damage() == ""
        assert store.repair() == []

    def test_without_a_good_one_nothing_is_touched(self, store: Store) -> None:
        store.checkpoint.write_bytes(b"junk")
        store.checkpoint.with_name("lab.json.bak").write_bytes(b"more junk")

        with pytest.raises(StateUnreadable) as caught:
            store.repair()

        assert str(store.checkpoint) in caught.value.hint
        assert store.checkpoint.read_bytes() == b"junk"


class TestSafekeeping:
    """A copy that the engine never writes."""

    def test_with_both_files_of_the_engine_cut_off_the_copy_is_read_and_used(self, store: Store) -> None:
        good = checkpoint(resource("a"))
        store.checkpoint.write_bytes(good)
        with store.safe():
            for name in ("lab.json", "lab.json.bak"):
                store.checkpoint.with_name(name).write_bytes(good[:-40])

        assert list(store.snapshot().resources) == ["mesh/a"]
        assert "not readable" in store.damage()
        (note,) = store.repair()
        assert "kept in" in note
        assert store.checkpoint.read_bytes() == good
        assert store.damage() == ""

    def test_the_engines_own_copy_is_newer(self, store: Store) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a")))
        with store.safe():
            store.checkpoint.with_name("lab.json.bak").write_bytes(checkpoint(resource("a"), resource("b")))
            store.checkpoint.write_bytes(b"")

        assert set(store.snapshot().resources) == {"mesh/a", "mesh/b"}

    def test_it_is_for_its_owner_alone_and_goes_after_a_good_run(self, store: Store) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a")))
        with store.safe():
            assert store.copy.read_bytes() == store.checkpoint.read_bytes()
            assert store.copy.stat().st_mode & 0o177 == 0
        assert not store.copy.exists()

    def test_without_room_for_what_a_run_writes_it_is_refused(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        store.checkpoint.write_bytes(checkpoint(resource("a")))
        needed = 3 * store.checkpoint.stat().st_size + 1024 * 1024

        def disk(free: int, blocks: int = 9) -> None:
            monkeypatch.setattr(
                os, "statvfs", lambda _: SimpleNamespace(f_flag=0, f_blocks=blocks, f_bavail=free, f_frsize=1)
            )

        disk(needed - 1)
        with pytest.raises(DiskFull, match=f"in {store.folder} is full: 1,.* KiB are free, 1,.* KiB are needed"):
            store.require_room()
        disk(needed)
        store.require_room()
        disk(0, blocks=0)  # a file system without a limit
        store.require_room()


def lost(name: str, **more: Any) -> dict[str, Any]:
    found = {key: value for key, value in resource(name).items() if key in ("urn", "type", "inputs")}
    return {**found, "parent": STACK_URN, "dependencies": [], **more}


def test_what_failed_without_a_record_is_recorded_with_its_provider(store: Store) -> None:
    store.checkpoint.write_bytes(checkpoint(resource("a")))

    store.adopt([lost("b", dependencies=[resource("a")["urn"]]), lost("c", dependencies=["urn:pulumi:unknown"])])

    assert recorded_names(store) == ["a", "b"]
    entry = json.loads(store.checkpoint.read_bytes())["checkpoint"]["latest"]["resources"][-1]
    assert (entry["provider"], entry["id"], entry["custom"]) == (f"{PROVIDER_URN}::7", "mesh/b", True)


def test_a_write_that_fails_leaves_the_old_state(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    content = checkpoint(resource("a"), operations=[pending("creating", "b")])
    store.checkpoint.write_bytes(content)

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DiskFull, match=r"file system with the state in .* is full"):
        store.repair()

    assert store.checkpoint.read_bytes() == content
    assert [path.name for path in store.checkpoint.parent.iterdir()] == ["lab.json"]


class TestLock:
    """One run at a time."""

    @pytest.fixture(autouse=True)
    def little_patience(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(lock, "AFTERGLOW", 0.05)
        monkeypatch.setattr(lock, "PATIENCE", 0.05)

    def test_what_a_run_that_is_gone_has_started_gets_time_to_end(
        self, store: Store, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(lock, "AFTERGLOW", 30.0)
        with store.lock():
            heir = subprocess.Popen(["sleep", "0.3"], pass_fds=[store.lock_descriptor])
        with store.lock():
            assert heir.wait() == 0

    def test_it_is_refused_with_who_holds_it(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "argv", ["/usr/bin/swarmctl", "apply", "--yes"])
        with store.lock():
            with pytest.raises(LockHeld) as caught, Store("lab", f"file://{store.folder.parent}").lock():
                pass
        assert "`swarmctl apply --yes`" in caught.value.message
        assert f"process {os.getpid()}," in caught.value.message

    def test_it_may_be_taken_again_by_who_has_it_and_is_free_afterwards(self, store: Store) -> None:
        with store.lock(), store.lock():
            assert store.lock_descriptor >= 0
        assert store.lock_descriptor == -1
        with Store("lab", f"file://{store.folder.parent}").lock():
            pass

    def test_who_inherits_it_holds_it_on(self, store: Store) -> None:
        with store.lock():
            heir = subprocess.Popen(["cat"], stdin=subprocess.PIPE, pass_fds=[store.lock_descriptor])
        with pytest.raises(LockHeld), store.lock():
            pass
        heir.communicate()
        with store.lock():
            pass

    def test_a_holder_that_has_not_signed_yet_is_told_of_all_the_same(self, store: Store) -> None:
        with (store.folder / "lock").open("w") as other:
            fcntl.flock(other, fcntl.LOCK_EX)
            with pytest.raises(LockHeld, match="another run works on this stack"), store.lock():
                pass

    def test_a_store_that_was_removed_is_made_again(self, store: Store) -> None:
        with store.lock():
            shutil.rmtree(store.folder)
            assert not store.folder.exists()
        with store.lock():
            assert store.folder.exists()

    def test_a_folder_that_cannot_be_made_is_said_so(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with (
            pytest.raises(SwarmError, match="the state store cannot be made"),
            Store("lab", f"file://{tmp_path}/file").lock(),
        ):
            pass
