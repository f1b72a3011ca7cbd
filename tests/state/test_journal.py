"""What a provider was about to do is on the disk before it does it, whatever becomes of the provider."""

from __future__ import annotations

import errno
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from swarmctl.state import runs
from swarmctl.state.journal import Intent, Journal, JournalFailed, Result, read
from swarmctl.state.model import RunHeader
from swarmctl.state.runs import RunFolder

URN = "urn:pulumi:lab::swarmctl::swarm:test:File::test/a"


@pytest.fixture
def journal(tmp_path: Path) -> Journal:
    return Journal(tmp_path / "journal")


def test_what_is_written_is_read(journal: Journal) -> None:
    first = journal.intent("create", URN, {"name": "ä\n", "deep": [1, None, {"x": 2.5}]})
    second = journal.intent("update", URN, {"n": 2}, {"n": 1})
    journal.done(second, MappingProxyType({}))
    journal.failed(first, "no\nroom", left=False)

    assert read(journal.path) == [
        Intent(first, "create", URN, {"name": "ä\n", "deep": [1, None, {"x": 2.5}]}),
        Intent(second, "update", URN, {"n": 2}, {"n": 1}),
        Result(second, {}),
        Result(first, error="no\nroom", left=False),
    ]
    assert journal.path.stat().st_mode & 0o777 == 0o600


def test_of_a_run_that_has_begun_nothing_there_is_nothing_to_read(tmp_path: Path) -> None:
    assert read(tmp_path / "journal") == []


@pytest.mark.parametrize("cut", range(2, 60, 7))
def test_half_a_last_line_is_passed_over(journal: Journal, cut: int) -> None:
    journal.intent("create", URN, {"name": "a"})
    journal.intent("delete", URN, {"name": "b"})
    journal.path.write_bytes(journal.path.read_bytes()[:-cut])

    assert [record.n for record in read(journal.path)] == [1]


@pytest.mark.parametrize("place", range(0, 100, 9))
def test_a_damaged_line_is_passed_over_and_those_after_it_are_read(journal: Journal, place: int) -> None:
    for name in "abc":
        journal.intent("create", URN, {"name": name})
    content = bytearray(journal.path.read_bytes())
    content[content.index(b"\n") + 1 + place] ^= 0x01
    journal.path.write_bytes(content)

    assert [record.n for record in read(journal.path)] == [1, 3]


def test_those_who_come_while_others_wait_for_the_disk_are_synced_together(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    syncs: list[int] = []

    def slow(descriptor: int) -> None:
        syncs.append(journal.path.stat().st_size)
        time.sleep(0.02)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ThreadPoolExecutor(64) as callers:
        numbers = list(callers.map(lambda i: journal.intent("create", URN, {"i": i}), range(640)))

    assert sorted(numbers) == list(range(1, 641))
    assert len(read(journal.path)) == 640
    assert len(syncs) <= 60
    assert syncs[-1] == journal.path.stat().st_size, "nothing is left unsynced"


def test_an_intent_is_synced_when_it_is_answered(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    go_on = threading.Event()
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: go_on.wait(5))

    def ask() -> None:
        journal.intent("create", URN, {})
        answered.set()

    thread = threading.Thread(target=ask)
    thread.start()
    assert not answered.wait(0.1)
    go_on.set()
    assert answered.wait(5)
    thread.join()


def test_on_a_full_disk_nothing_begins_and_what_was_written_stays_whole(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.pwrite
    n = journal.intent("create", URN, {"name": "a"})

    def full(descriptor: int, content: bytes, offset: int) -> int:
        if len(content) > 20:
            return write(descriptor, content[:20], offset)  # as a disk does that has room for that much
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(JournalFailed, match="No space left on device"):
        journal.intent("create", URN, {"name": "b"})
    with pytest.raises(JournalFailed):
        journal.done(n, {"key": "a longer value"})
    monkeypatch.setattr(os, "pwrite", write)
    journal.done(n, {})

    assert read(journal.path) == [Intent(n, "create", URN, {"name": "a"}), Result(n, {})]


def test_of_a_group_that_did_not_go_in_as_a_whole_nothing_is_read(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, sync = os.pwrite, os.fdatasync
    syncing, go_on = threading.Event(), threading.Event()
    places: list[int] = []

    def slow(descriptor: int) -> None:
        syncing.set()
        go_on.wait(5)
        sync(descriptor)

    def full(descriptor: int, content: bytes, offset: int) -> int:
        places.append(content.count(b"\n"))
        if len(places) > 1:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(descriptor, content[: content.index(b"\n") + 5], offset)

    monkeypatch.setattr(os, "fdatasync", slow)
    with ThreadPoolExecutor(4) as callers:
        first = callers.submit(journal.intent, "create", URN, {"i": 0})
        assert syncing.wait(5)
        monkeypatch.setattr(os, "pwrite", full)
        others = [callers.submit(journal.intent, "create", URN, {"i": i}) for i in (1, 2, 3)]
        while len(journal._group.lines) < 3:
            time.sleep(0.001)
        go_on.set()
        assert all(isinstance(other.exception(5), JournalFailed) for other in others)

    assert places[0] == 3, "they were written together"
    assert [record.n for record in read(journal.path)] == [first.result()]


def test_a_write_that_takes_little_at_a_time_is_gone_on_with(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    write = os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda descriptor, content, offset: write(descriptor, content[:5], offset))
    n = journal.intent("create", URN, {"name": "a longer value"})
    journal.done(n, {})
    assert read(journal.path) == [Intent(n, "create", URN, {"name": "a longer value"}), Result(n, {})]


def test_after_a_sync_that_failed_nothing_is_promised_any_more(
    journal: Journal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(descriptor: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fdatasync", broken)
    with pytest.raises(JournalFailed, match="Input/output error"):
        journal.intent("create", URN, {})
    monkeypatch.undo()
    with pytest.raises(JournalFailed, match="Input/output error"):
        journal.intent("create", URN, {})


def test_where_nothing_can_be_written_no_journal_begins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: Any) -> int:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JournalFailed, match="Read-only file system") as caught:
        Journal(tmp_path / "journal")
    assert str(tmp_path) in caught.value.hint


def test_a_journal_is_never_continued_by_another_process(journal: Journal) -> None:
    with pytest.raises(JournalFailed):
        Journal(journal.path)


def test_a_run_whose_journal_is_being_replayed_begins_nothing_more(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    journal = Journal(folder / "journal")
    runs.close(RunFolder(folder, RunHeader("lab", 1, 0, "update", "me")))
    with pytest.raises(JournalFailed, match="another run has taken the place of this one"):
        journal.intent("create", URN, {})
    assert [record.n for record in read(journal.path)] == [1]


def test_a_run_whose_folder_was_removed_begins_nothing_more(tmp_path: Path) -> None:
    folder = tmp_path / "1"
    folder.mkdir()
    journal = Journal(folder / "journal")
    runs.remove(folder)
    with pytest.raises(JournalFailed, match="another run has taken the place of this one"):
        journal.intent("create", URN, {})
