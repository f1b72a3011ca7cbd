"""Files are on the disk before they have their name, and their names are there when we go on."""

from __future__ import annotations

import errno
import os
import stat
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from swarmctl import durable
from swarmctl.plans import file as plans
from swarmctl.plans import signing
from swarmctl.plans.model import Plan, Preconditions
from swarmctl.state import backups
from swarmctl.state.journal import Journal
from swarmctl.state.store import Store
from tests.state.published import checkpoint, leased, resource

WITHOUT_LINKS = [errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK]


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was asked of the file system, in order: `sync N bytes`, `sync folder`, `link NAME`, `replace NAME`."""
    made: list[str] = []
    fsync = os.fsync

    def synced(descriptor: int) -> None:
        found = os.fstat(descriptor)
        what = "folder" if stat.S_ISDIR(found.st_mode) else f"{found.st_size} bytes"
        made.append(f"sync {what}")
        fsync(descriptor)

    def named(call: str) -> Callable[..., None]:
        real = getattr(os, call)

        def recorded(source: Any, target: Any) -> None:
            made.append(f"{call} {Path(target).name}")
            real(source, target)

        return recorded

    monkeypatch.setattr(os, "fsync", synced)
    for call in ("link", "replace", "rename"):
        monkeypatch.setattr(os, call, named(call))
    return made


def test_what_is_written_is_on_the_disk_before_it_has_its_name_and_so_is_the_name(
    tmp_path: Path, calls: list[str]
) -> None:
    durable.write(tmp_path / "file", b"content")
    assert calls == ["sync 7 bytes", "replace file", "sync folder"]


def test_so_is_what_is_created(tmp_path: Path, calls: list[str]) -> None:
    assert durable.create(tmp_path / "file", b"content") == b"content"
    assert calls == ["sync 7 bytes", "link file", "sync folder"]
    assert durable.create(tmp_path / "file", b"other") == b"content"
    assert len(calls) == 3


def test_so_is_the_folder_that_it_is_made_in(tmp_path: Path, calls: list[str]) -> None:
    durable.create(tmp_path / "folder" / "file", b"content")
    assert calls == ["sync folder", "sync 7 bytes", "link file", "sync folder"]


def test_a_new_journal_has_its_name_on_the_disk(tmp_path: Path, calls: list[str]) -> None:
    Journal(tmp_path / "journal").close()
    assert calls == ["sync folder"]


def test_a_new_signing_key_has_content_and_name_on_the_disk(tmp_path: Path, calls: list[str]) -> None:
    signing.make_local_key(tmp_path / "signing")
    size = (tmp_path / "signing").stat().st_size
    assert calls == [f"sync {size} bytes", "link signing", "sync folder"]


def test_so_has_a_saved_plan_and_others_may_read_it(tmp_path: Path, calls: list[str]) -> None:
    sign = signing.with_local_key(tmp_path / "signing")
    sign(b"")
    calls.clear()
    path = tmp_path / "plan.json"
    plans.save(path, Plan("lab", (), 0), Preconditions("d", "g", "s", {"swarmctl": "1"}), sign)
    assert calls == [f"sync {path.stat().st_size} bytes", "replace plan.json", "sync folder"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_a_backup_has_its_name_on_the_disk_before_the_state_is_replaced(tmp_path: Path, calls: list[str]) -> None:
    store = Store("lab", f"file://{tmp_path}")
    lease = leased(store, 7)
    publish(store, lease, 0)
    calls.clear()
    publish(store, lease, 1)
    calls.remove("sync folder")  # the one that `backups` was made in
    size = store.file.stat().st_size
    assert calls == ["link 0000000001.json", "sync folder", f"sync {size} bytes", "replace state.json", "sync folder"]


def test_nothing_is_left_of_a_write_that_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_bytes(b"before")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    for act in (lambda: durable.write(tmp_path / "file", b"x"), lambda: durable.create(tmp_path / "other", b"x")):
        with pytest.raises(OSError, match="No space left"):
            act()
    assert [(it.name, it.read_bytes()) for it in tmp_path.iterdir()] == [("file", b"before")]


def test_two_processes_of_the_same_number_write_beside_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 7)
    replace, seen = os.replace, []

    def meanwhile(source: Any, target: Any) -> None:
        seen.append(source)
        if len(seen) == 1:
            durable.write(tmp_path / "file", b"the other's")
        replace(source, target)

    monkeypatch.setattr(os, "replace", meanwhile)
    durable.write(tmp_path / "file", b"ours")
    assert len(set(seen)) == 2
    assert (tmp_path / "file").read_bytes() == b"ours"


def test_what_is_created_outlives_a_sweep_of_what_it_is_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = os.link

    def swept(source: Any, target: Any) -> None:
        monkeypatch.setattr(os, "link", link)
        os.unlink(source)
        link(source, target)

    monkeypatch.setattr(os, "link", swept)
    assert durable.create(tmp_path / "file", b"content") == b"content"
    assert [it.name for it in tmp_path.iterdir()] == ["file"]


class TestWithoutLinks:
    """A file has one name there: vfat, some of CIFS and FUSE."""

    @pytest.fixture(autouse=True, params=WITHOUT_LINKS, ids=errno.errorcode.__getitem__)
    def no_links(self, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
        """As such a file system answers."""

        def refused(source: Any, target: Any) -> None:
            raise OSError(request.param, os.strerror(request.param))

        monkeypatch.setattr(os, "link", refused)

    def test_one_run_after_the_other_publishes_and_the_states_before_are_kept(self, tmp_path: Path) -> None:
        store = Store("lab", f"file://{tmp_path}")
        contents, written = [], []
        for generation in range(3):
            lease = leased(store, 7 + generation)
            assert store.recover(lease) == []
            publish(store, lease, generation)
            contents.append(store.file.read_bytes())
            written.append(store.file.stat().st_mtime)

        kept = sorted(backups.found(store.backups), key=lambda backup: backup.generation)
        assert [backup.file.read_bytes() for backup in kept] == contents[:2]
        assert [backup.written for backup in kept] == written[:2], "when it was published, not when it was copied"
        assert all(stat.S_IMODE(backup.file.stat().st_mode) == 0o600 for backup in kept)

    def test_keys_are_made_once(self, tmp_path: Path) -> None:
        store = Store("lab", f"file://{tmp_path}")
        assert store.hmac(b"x") == store.hmac(b"x")
        assert store.passphrase_file().read_text() == store.passphrase_file().read_text()
        signing.make_local_key(store.signing_key())
        first = store.signing_key().read_bytes()
        signing.make_local_key(store.signing_key())
        assert store.signing_key().read_bytes() == first
        assert not list(store.folder.rglob("*.new"))

    def test_of_many_who_make_a_file_all_get_the_same(self, tmp_path: Path) -> None:
        together = threading.Barrier(8)

        def make(n: int) -> bytes:
            together.wait()
            return durable.create(tmp_path / "file", bytes((n,)) * 1000)

        with ThreadPoolExecutor(8) as pool:
            assert len(set(pool.map(make, range(8)))) == 1
        assert [it.name for it in tmp_path.iterdir()] == ["file"]


def test_another_error_of_a_link_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(source: Any, target: Any) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    store = Store("lab", f"file://{tmp_path}/store")
    lease = leased(store, 7)
    publish(store, lease, 0)
    monkeypatch.setattr(os, "link", failed)
    with pytest.raises(OSError, match="Input/output error"):
        durable.create(tmp_path / "file", b"content")
    with pytest.raises(OSError, match="Input/output error"):
        publish(store, lease, 1)


def test_what_killed_writers_left_is_swept_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")
    lease = leased(store, 7)
    store.hmac(b"")
    publish(store, lease, 0)
    publish(store, lease, 1)
    left = [store.file, store.backups / "0000000001.json", store.keys.folder / "hmac.key", store.signing_key()]
    for file in left:
        file.with_name(f"{file.name}.0123456789abcdef.new").touch()
    waiting = store.folder / "lease.json.0123456789abcdef.new"
    waiting.touch()
    dead = store.folder / "lease.json.fedcba9876543210.new"
    dead.touch()
    os.utime(dead, (0, 0))

    store.recover(leased(store, 8))

    assert list(store.folder.rglob("*.new")) == [waiting]


def publish(store: Store, lease: Any, based_on: int) -> None:
    store.publish(lease, based_on, checkpoint(resource(f"r{based_on}")), applied=None)
