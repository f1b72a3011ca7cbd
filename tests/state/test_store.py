"""The store: what is published, by whom, what is kept of before, and what a crash at any moment leaves."""

from __future__ import annotations

import errno
import json
import os
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from swarmctl import __version__, paths
from swarmctl.errors import LeaseLost, SwarmError
from swarmctl.state import backups, files, published
from swarmctl.state.checkpoint import StateUnreadable
from swarmctl.state.files import DiskFull, ReadOnly
from swarmctl.state.journal import Intent, Result, encode
from swarmctl.state.lease import recorded
from swarmctl.state.model import Applied, PlanMark, ResourceHeader
from swarmctl.state.published import StateTooNew
from swarmctl.state.runs import RunFolder
from swarmctl.state.store import Recorded, Store
from tests.state.crashes import killed_after
from tests.state.published import BASE, checkpoint, leased, names, resource


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store("lab", f"file://{tmp_path}/my%20state")


def apply(store: Store, token: int, *resources: str) -> None:
    """A run that went well."""
    lease = leased(store, token)
    before = store.load()
    store.publish(lease, before.generation if before else 0, checkpoint(*map(resource, resources)), applied=None)


def cut_off(store: Store, token: int, *created: str, plan: str = "") -> RunFolder:
    """A run that was killed after it had created something."""
    wanted = {f"mesh/{name}": ResourceHeader("swarm:mesh:Peers") for name in created}
    run = store.begin(leased(store, token), operation="update", graph="digest", plan=plan, resources=wanted)
    for n, name in enumerate(created, 1):
        urn = f"{BASE}::swarm:mesh:Peers::mesh/{name}"
        with run.journal.open("ab") as journal:
            journal.write(encode(Intent(n, "create", urn, {"n": 1})) + encode(Result(n, {"key": name})))
    return run


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_store_is_where_the_stack_says_or_in_the_users_data(tmp_path: Path, store: Store) -> None:
    assert store.folder == tmp_path / "my state" / "lab"
    assert Store("lab").folder == paths.stack_dir("lab")


@pytest.mark.parametrize("url", ["s3://bucket", "file://host/folder", "file:relative", "/folder"])
def test_any_other_place_is_refused(url: str) -> None:
    with pytest.raises(SwarmError, match="is no state store"):
        Store("lab", url)


def test_who_only_looks_makes_nothing(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")

    assert store.load() is None
    assert store.current() is None
    assert not store.exists()
    assert store.snapshot().resources == {}
    assert list(tmp_path.iterdir()) == []


def test_the_digest_moves_with_the_resources_and_with_nothing_else(store: Store) -> None:
    digests = [store.snapshot().digest]
    for n, resources in enumerate(
        (
            [],
            [resource("a"), resource("b")],
            [resource("b", protect=True), resource("a")],
            [resource("a"), resource("b", outputs={"key": "c"})],
            [resource("a")],
        )
    ):
        store.publish(leased(store, 7 + n), n, checkpoint(*resources), applied=None)
        digests.append(store.snapshot().digest)

    assert digests[0] == digests[1]
    assert digests[2] == digests[3]
    assert len(set(digests)) == 4


def test_a_folder_that_cannot_be_made_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(SwarmError, match="the state store cannot be made"),
        Store("lab", f"file://{tmp_path}/file").lease(),
    ):
        pass


class TestPublishing:
    """Compare-and-swap."""

    def test_what_is_published_is_read_back(self, store: Store) -> None:
        applied = Applied("digest", complete=True, versions={"pulumi": "3.259.0"})
        made = store.publish(
            leased(store, 7), 0, checkpoint(resource("a")), applied=applied, plans=[PlanMark("p1", finished=True)]
        )

        assert store.load() == made
        assert (made.generation, made.token, made.writer) == (1, 7, __version__)
        assert (made.applied, made.plans) == (applied, (PlanMark("p1", finished=True),))
        assert store.snapshot().resources == {"mesh/a": Recorded("swarm:mesh:Peers", {"n": 1}, {"key": "a"})}

    def test_only_its_owner_can_read_it(self, store: Store) -> None:
        apply(store, 7, "a")
        apply(store, 8, "a")
        (kept,) = store.backups.iterdir()

        assert [path.stat().st_mode & 0o077 for path in (store.folder, store.file, store.backups, kept)] == [0] * 4

    def test_a_small_resource_takes_less_than_a_kilobyte(self, store: Store) -> None:
        frame = [{"uri": "project://x.py#1,1", "file": "x" * 900}]
        needless = {"sourcePosition": "project:///a/b.py", "stackTrace": frame, "created": "2026", "modified": "2026"}
        store.publish(leased(store, 7), 0, checkpoint(resource("a", **needless)), applied=None)

        (stored,) = json.loads(store.file.read_bytes())["checkpoint"]["checkpoint"]["latest"]["resources"]
        assert stored == resource("a")
        assert len(json.dumps(stored)) < 1024

    def test_a_state_that_was_changed_meanwhile_is_not_overwritten(self, store: Store) -> None:
        apply(store, 7, "a")
        lease = leased(store, 8)
        store.publish(lease, 1, checkpoint(resource("b")), applied=None)
        before = content(store.folder)

        with pytest.raises(LeaseLost, match="generation 2 by now"):
            store.publish(lease, 1, checkpoint(), applied=None)

        assert content(store.folder).items() >= {k: v for k, v in before.items() if k != "lease.lock"}.items()
        assert names(store) == {"b"}

    def test_who_has_lost_the_lease_writes_nothing(self, store: Store) -> None:
        apply(store, 7, "a")
        old = leased(store, 8)
        leased(store, 9)

        with pytest.raises(LeaseLost, match="another run has taken the stack over"):
            store.publish(old, 1, checkpoint(), applied=None)

        assert names(store) == {"a"}
        assert not store.backups.exists()

    def test_the_last_ten_before_are_kept(self, store: Store) -> None:
        for n in range(13):
            apply(store, 7 + n, f"r{n}")

        assert [backup.generation for backup in backups.found(store.backups)] == list(range(12, 2, -1))
        newest = backups.newest(store.backups)
        assert newest is not None
        assert "mesh/r11" in json.dumps(newest[1].checkpoint)

    def test_a_full_disk_leaves_the_state_before(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        apply(store, 7, "a")
        lease = leased(store, 8)
        written = store.file.read_bytes()

        def full(descriptor: int) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(DiskFull, match="is full"):
            store.publish(lease, 1, checkpoint(), applied=None)
        monkeypatch.undo()

        assert store.file.read_bytes() == written
        assert not list(store.folder.rglob("*.new"))

    def test_a_disk_that_is_read_only_is_said_so(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        apply(store, 7, "a")
        lease = leased(store, 8)

        def refuse(*_: object, **__: object) -> int:
            raise OSError(errno.EROFS, "Read-only file system")

        monkeypatch.setattr(files, "write", refuse)
        with pytest.raises(ReadOnly, match="read-only"):
            store.publish(lease, 1, checkpoint(), applied=None)
        assert names(store) == {"a"}


def test_a_run_begins_only_with_room_for_what_it_writes(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    apply(store, 7, "a")
    lease = leased(store, 8)
    assert store.file.stat().st_size < 4096
    needed = 3 * 4096 + 1024 * 1024

    def disk(free: int, blocks: int = 9, flags: int = 0) -> None:
        found = SimpleNamespace(f_blocks=blocks, f_bavail=free, f_frsize=1, f_flag=flags)
        monkeypatch.setattr(os, "statvfs", lambda _: found)

    disk(needed - 1)
    with pytest.raises(DiskFull, match=f"in {store.folder} is full: 1,.* KiB are free, 1,.* KiB are needed"):
        store.begin(lease, operation="update")
    disk(needed, flags=os.ST_RDONLY)
    with pytest.raises(ReadOnly):
        store.begin(lease, operation="update")
    assert not store.runs_folder.exists()
    disk(0, blocks=0)  # a file system without a limit
    store.begin(lease, operation="update")


class TestDamage:
    """A state that can't be read, or must not be."""

    @pytest.mark.parametrize(
        "damaged", [b"", b"{", b"[]", b'{"schema": 1}', b"\xff\xfe", b'{"schema":"swarmctl/state/v1","needs":"0.1.0"}']
    )
    def test_the_last_good_one_is_named_and_nothing_is_touched(self, store: Store, damaged: bytes) -> None:
        apply(store, 7, "a")
        apply(store, 8, "a", "b")
        store.file.write_bytes(damaged)

        with pytest.raises(StateUnreadable, match="the recorded state is not readable") as caught:
            store.load()

        assert names(store) == {"a"}, "what only looks is shown the last good one"
        assert str(store.damage()) == str(caught.value)
        assert "generation 1" in caught.value.hint
        assert "`swarmctl state restore 1`" in caught.value.hint
        assert store.file.read_bytes() == damaged

    def test_every_place_where_it_can_be_cut_off_is_noticed(self, store: Store) -> None:
        apply(store, 7, "a")
        whole = store.file.read_bytes()

        for length in range(len(whole) - 1):  # the last byte is the end of the line
            store.file.write_bytes(whole[:length])
            with pytest.raises(StateUnreadable):
                store.load()

    def test_a_run_keeps_it_aside_and_goes_on_from_the_last_good_one(self, store: Store) -> None:
        apply(store, 7, "a")
        apply(store, 8, "a", "b")
        store.file.write_bytes(b"junk")
        lease = leased(store, 9)

        (note,) = store.recover(lease)

        (aside,) = store.folder.glob("state.json.broken-*")
        assert aside.read_bytes() == b"junk"
        assert str(aside) in note
        assert "generation 1, the last good one" in note
        assert names(store) == {"a"}
        found = store.load()
        assert found is not None
        assert found.generation == 3  # the broken one was 2
        assert store.recover(lease) == []

    def test_what_a_run_has_done_since_is_not_lost_with_it(self, store: Store) -> None:
        apply(store, 7, "a")
        apply(store, 8, "a")
        run = cut_off(store, 9, "b")
        store.file.write_bytes(b"junk")
        lease = leased(store, 10)

        assert len(store.recover(lease)) == 2

        assert names(store) == {"a", "b"}
        assert not run.path.exists()
        assert store.recover(lease) == []

    def test_backups_that_are_broken_are_passed_over(self, store: Store) -> None:
        for n in range(3):
            apply(store, 7 + n, f"r{n}")
        (store.backups / "0000000002.json").write_bytes(b"junk")
        store.file.unlink()

        with pytest.raises(StateUnreadable, match="the recorded state is gone"):
            store.load()
        store.recover(leased(store, 10))
        assert names(store) == {"r0"}

    def test_without_a_good_one_nothing_is_touched(self, store: Store) -> None:
        apply(store, 7, "a")
        store.file.write_bytes(b"junk")
        lease = leased(store, 8)

        with pytest.raises(StateUnreadable, match="there is no earlier one"):
            store.recover(lease)
        assert store.file.read_bytes() == b"junk"

    def test_anothers_state_is_not_taken_for_ours(self, store: Store, tmp_path: Path) -> None:
        other = Store("other", f"file://{tmp_path}")
        other.publish(leased(other, 1), 0, checkpoint(), applied=None)
        store.folder.mkdir(parents=True)
        store.file.write_bytes(other.file.read_bytes())

        with pytest.raises(StateUnreadable, match="that of another stack, other"):
            store.load()

    @pytest.mark.parametrize(("key", "value"), [("schema", "swarmctl/state/v2"), ("needs", "99.1.0")])
    def test_a_newer_swarmctls_is_refused_with_the_version_that_it_needs(
        self, store: Store, key: str, value: str
    ) -> None:
        apply(store, 7, "a")
        document = json.loads(store.file.read_bytes()) | {"needs": "99.1.0", "writer": "99.2.0"} | {key: value}
        store.file.write_text(json.dumps(document))
        lease = leased(store, 8)
        before = content(store.folder)

        for attempt in (
            store.load,
            store.snapshot,
            store.passphrase_file,
            lambda: store.recover(lease),
            lambda: store.begin(lease, operation="update"),
            lambda: store.publish(lease, 1, checkpoint(), applied=None),
        ):
            with pytest.raises(StateTooNew, match=r"written by swarmctl 99\.2\.0 and needs 99\.1\.0"):
                attempt()
        after = content(store.folder)
        assert {name: after[name] for name in before if name != "lease.lock"} == {
            name: data for name, data in before.items() if name != "lease.lock"
        }

    @pytest.mark.parametrize(
        ("low", "high"), [("0.9.0", "0.10.0"), ("0.10.0rc1", "0.10.1"), ("1.2", "1.2.1"), ("", "0")]
    )
    def test_versions_are_compared_by_their_numbers(self, low: str, high: str) -> None:
        assert published.version(low) < published.version(high)


class TestRuns:
    """What runs that were cut off have left."""

    def test_a_header_is_read_back_as_it_was_written(self, store: Store) -> None:
        wanted = {
            "mesh/a": ResourceHeader("swarm:mesh:Peers", ("mesh/b",), {"n": ("mesh/b",)}, formerly="x/y", protect=True)
        }
        run = store.begin(leased(store, 7), operation="update", graph="g", plan="p", resources=wanted)

        (found,) = store.runs()
        assert found == run
        assert run.header.resources == wanted
        assert (run.header.token, run.header.generation, run.header.plan) == (7, 0, "p")
        assert run.environment == {"SWARMCTL_RUN": str(store.runs_folder / "7")}
        assert run.path.stat().st_mode & 0o077 == 0

    def test_who_looks_sees_what_they_have_done_and_writes_nothing(self, store: Store) -> None:
        apply(store, 7, "a")
        cut_off(store, 8, "b")
        before = content(store.folder)

        assert names(store) == {"a", "b"}
        assert store.exists()
        assert content(store.folder) == before

    def test_the_next_run_takes_it_into_the_state(self, store: Store) -> None:
        apply(store, 7, "a")
        run = cut_off(store, 8, "b", plan="p1")
        lease = leased(store, 9)
        seen = store.snapshot()

        (note,) = store.recover(lease)

        assert run.header.owner in note
        assert not run.path.exists()
        found = store.load()
        assert found is not None
        assert (found.generation, found.token) == (2, 8)
        assert found.plans == (PlanMark("p1", finished=False),)
        assert found.applied == Applied("digest", complete=False)
        assert store.snapshot() == seen
        assert store.recover(lease) == []

    def test_also_when_nothing_was_published_before_or_all_of_it_is_lost(self, store: Store) -> None:
        cut_off(store, 8, "b")
        store.recover(leased(store, 9))
        assert names(store) == {"b"}

    def test_a_run_whose_result_was_published_is_not_done_twice(self, store: Store) -> None:
        apply(store, 7, "a")
        run = cut_off(store, 8, "b")
        store.publish(leased(store, 8), 1, checkpoint(), applied=None)  # and killed before `finish`

        assert names(store) == set()
        assert store.recover(leased(store, 9)) == []
        assert not run.path.exists()
        assert names(store) == set()

    @pytest.mark.parametrize("header", [None, b"", b'{"schema": "swarmctl/run/v1", "tok'])
    def test_one_that_was_cut_off_before_it_began_changed_nothing(self, store: Store, header: bytes | None) -> None:
        apply(store, 7, "a")
        path = store.runs_folder / "8"
        path.mkdir(parents=True)
        if header is not None:
            (path / "run.json").write_bytes(header)

        assert store.recover(leased(store, 9)) == []
        assert not path.exists()

    def test_one_that_did_something_and_can_not_be_read_is_kept(self, store: Store) -> None:
        run = cut_off(store, 8, "b")
        (run.path / "run.json").write_bytes(b"junk")

        (note,) = store.recover(leased(store, 9))

        assert (store.runs_folder / "8.broken" / "journal").exists()
        assert "doctor --stack" in note

    def test_a_newer_swarmctls_run_is_not_touched(self, store: Store) -> None:
        run = cut_off(store, 8, "b")
        header = json.loads((run.path / "run.json").read_bytes()) | {"schema": "swarmctl/run/v2"}
        (run.path / "run.json").write_text(json.dumps(header))

        with pytest.raises(StateTooNew):
            store.recover(leased(store, 9))
        assert run.journal.exists()

    def test_who_has_lost_the_lease_removes_nothing(self, store: Store) -> None:
        run = cut_off(store, 8, "b")
        lease = leased(store, 9)
        leased(store, 10)

        with pytest.raises(LeaseLost):
            store.recover(lease)
        assert run.journal.exists()

    def test_ones_own_run_is_left_alone(self, store: Store) -> None:
        run = cut_off(store, 8, "b")
        store.recover(leased(store, 8))
        assert run.path.exists()


class TestKeys:
    """What is kept beside the state."""

    def test_the_passphrase_is_made_once_and_for_its_owner_alone(self, store: Store) -> None:
        file = store.passphrase_file()
        made = file.read_text()

        assert len(made.strip()) >= 32
        assert store.passphrase_file().read_text() == made
        assert [path.stat().st_mode & 0o077 for path in (file, file.parent)] == [0, 0]

    def test_a_digest_of_a_secret_tells_nothing_to_who_has_not_the_key(self, store: Store, tmp_path: Path) -> None:
        other = Store("lab", f"file://{tmp_path}/elsewhere")

        assert store.hmac(b"secret") == store.hmac(b"secret") != store.hmac(b"secrets")
        assert other.hmac(b"secret") != store.hmac(b"secret")
        assert store.hmac(b"secret").startswith("hmac-sha256:")
        assert store.signing_key() == store.folder / "keys" / "signing"

    def test_of_two_who_make_a_key_both_get_the_same(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "key"
        link = os.link

        def late(source: Any, target: Any) -> None:
            file.write_bytes(b"the other's")
            monkeypatch.setattr(os, "link", link)
            link(source, target)

        monkeypatch.setattr(os, "link", late)
        assert files.create(file, b"ours") == b"the other's"


def test_nothing_is_left_of_a_stack_that_was_destroyed(store: Store) -> None:
    apply(store, 7, "a")
    store.passphrase_file()
    store.hmac(b"")
    leased(store, 8).give_back()
    with store.lease() as lease, store.lease() as again:
        assert again is lease
        assert lease.token > 7
        store.forget(lease)

    assert not store.folder.exists()
    with store.lease():  # and it can be begun anew
        pass


def test_a_crash_at_any_step_of_forgetting_leaves_a_whole_store_or_none(store: Store) -> None:
    apply(store, 7, "a")
    apply(store, 8, "b")
    passphrase = store.passphrase_file().read_bytes()
    store.hmac(b"")
    cut_off(store, 9, "c")
    leased(store, 10).give_back()
    whole = store.folder.with_name("whole")
    shutil.copytree(store.folder, whole)
    outcomes = set()
    step = 0
    while True:
        shutil.rmtree(store.folder, ignore_errors=True)
        shutil.copytree(whole, store.folder)
        lease = leased(store, 11)
        if not killed_after(step, lambda lease=lease: store.forget(lease)):  # type: ignore[misc]
            break
        outcomes.add(store.exists())
        assert store.exists() == (store.folder / "keys").exists()
        if store.folder.exists():
            lease.give_back()  # its process is this one, and lives
        with store.lease() as after:
            store.recover(after)
            assert not list(store.folder.parent.glob("*.over")), "the next run ends the removal"
            if store.exists():
                assert store.passphrase_file().read_bytes() == passphrase
            store.begin(after, operation="update")
        step += 1
    assert outcomes == {True, False}
    assert step >= 8
    assert [path.name for path in store.folder.parent.iterdir()] == ["whole"]


def test_a_token_is_greater_than_all_that_the_store_knows_of(store: Store) -> None:
    ahead = 10**15  # of a machine whose clock was wrong
    apply(store, ahead, "a")
    cut_off(store, ahead + 5, "b")
    (store.folder / "lease.json").unlink()

    with store.lease() as lease:
        assert lease.token == ahead + 6
        store.recover(lease)
    assert names(store) == {"a", "b"}


def test_a_store_without_a_record_of_tokens_goes_on_from_what_is_known_elsewhere(store: Store) -> None:
    asked: list[int] = []

    def known() -> int:
        asked.append(1)
        return 10**15

    with store.lease(known=known) as lease:
        assert lease.token == 10**15 + 1
    with store.lease(known=known) as lease:
        assert lease.token == 10**15 + 2
    assert len(asked) == 1, "only while there is no record"
    (store.folder / "lease.json").write_bytes(b"?")
    assert not recorded(store.folder), "nor while nobody can read it"


def test_a_folder_in_place_of_the_state_is_damage_like_any_other(store: Store) -> None:
    apply(store, 7, "a")
    apply(store, 8, "b")
    store.file.unlink()
    store.file.mkdir()
    (store.file / "kept").write_text("x")

    with pytest.raises(StateUnreadable, match="a folder") as error:
        store.load()
    assert str(store.file) in error.value.message
    (note,) = store.recover(leased(store, 9))
    assert "kept in" in note
    assert store.file.is_file()
    (aside,) = store.folder.glob("state.json.broken-*")
    assert (aside / "kept").read_text() == "x"


def test_a_folder_in_place_of_the_lease_is_named(store: Store) -> None:
    apply(store, 7, "a")
    (store.folder / "lease.json").unlink()
    (store.folder / "lease.json").mkdir()
    with pytest.raises(SwarmError, match=str(store.folder / "lease.json")) as error, store.lease():
        pass
    assert "remove it" in error.value.hint
    (store.folder / "lease.json").rmdir()
    with store.lease():
        pass


def test_a_run_that_nobody_can_read_is_known_of(store: Store) -> None:
    assert store.unread() == ()
    cut_off(store, 7, "a")
    assert store.unread() == ()
    (store.runs_folder / "7" / "run.json").write_bytes(b"?")
    assert store.unread() == (store.runs_folder / "7",)
