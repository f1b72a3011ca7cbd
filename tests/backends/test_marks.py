"""Marks: processes are known for sure, and folders are held by one at a time."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from pathlib import Path

import pytest

from swarmctl.backends.lab import marks
from swarmctl.backends.lab.marks import Lab, LabStuck, Process


@pytest.fixture
def sleeper() -> subprocess.Popen[bytes]:
    process = subprocess.Popen(["sleep", "60"])
    yield process
    process.kill()
    process.wait()


def test_a_process_is_found_again_by_its_mark(sleeper: subprocess.Popen[bytes]) -> None:
    found = Process.of(sleeper.pid)
    assert found is not None
    assert Process.load(found.dump()) == found
    assert found.alive()


@pytest.mark.parametrize("change", [{"start": 1}, {"boot": "another"}, {"pid": 2**22 + 1}])
def test_another_process_with_the_same_id_is_neither_alive_nor_killed(
    sleeper: subprocess.Popen[bytes], change: dict[str, object]
) -> None:
    found = Process.of(sleeper.pid)
    assert found is not None
    stale = Process(**{"pid": found.pid, "start": found.start, "boot": found.boot, **change})  # type: ignore[arg-type]
    assert not stale.alive()
    stale.kill()
    stale.end()
    assert found.alive()
    with pytest.raises(ProcessLookupError), stale.namespaces("net"):
        pass


def test_a_process_that_ignores_the_request_to_end_is_ended() -> None:
    script = "trap '' TERM; echo ready; while :; do sleep 1; done"
    with subprocess.Popen(["sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = Process.of(process.pid)
        assert found is not None
        found.end(patience=0.05)
        assert process.wait(5) == -9


@pytest.mark.parametrize("data", [None, [], [1, 2], ["1", 2, "x"], {"pid": 1}, "1 2 x"])
def test_a_broken_mark_is_no_process(data: object) -> None:
    assert Process.load(data) is None


def test_a_mark_that_was_cut_off_reads_as_empty(tmp_path: Path) -> None:
    (tmp_path / "mark.json").write_text('{"process": [1,')
    assert Lab("x").read(tmp_path / "mark.json") == {}
    assert Lab("x").read(tmp_path / "none.json") == {}


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\0b"])
def test_a_node_name_leads_nowhere_else(name: str) -> None:
    with pytest.raises(ValueError, match="not a node name"):
        Lab("x").node(name)


def test_labs_of_one_name_under_two_data_directories_have_different_tags(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tags = set()
    for name in ("one", "two"):
        monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / name))
        tags.add(Lab("x").tag)
    assert len(tags) == 2


def test_a_lock_is_held_by_one_thread_at_a_time_also_while_the_folder_comes_and_goes(tmp_path: Path) -> None:
    folder, inside, most = tmp_path / "a" / "lab", 0, 0

    def work() -> None:
        nonlocal inside, most
        for _ in range(20):
            with marks.locked(folder, create=True):
                inside += 1
                most = max(most, inside)
                time.sleep(0.0002)
                inside -= 1
                if _ % 3 == 0:
                    folder.rmdir()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 1


def test_a_lock_that_another_process_keeps_is_an_error_in_the_end(tmp_path: Path) -> None:
    with (
        marks.locked(tmp_path),
        pytest.raises(LabStuck, match="held by another run"),
        marks.locked(tmp_path, timeout=0.05),
    ):
        pass


def test_a_folder_that_is_gone_is_not_locked(tmp_path: Path) -> None:
    with marks.locked(tmp_path / "none") as there:
        assert not there


def test_processes_are_found_by_the_labs_tag_alone() -> None:
    with subprocess.Popen(["sleep", "60"], env={**os.environ, marks.TAG: "tag-of-a-test"}) as process:
        try:
            assert [found.pid for found in marks.tagged("tag-of-a-test")] == [process.pid]
            assert marks.tagged("tag-of-a") == []
        finally:
            process.kill()


def test_writing_a_mark_leaves_nothing_but_the_mark(tmp_path: Path) -> None:
    marks.write(tmp_path / "m.json", {"b": 1, "a": 2})
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]
    with pytest.raises(TypeError):
        marks.write(tmp_path / "m.json", {"a": object()})
    assert [path.name for path in tmp_path.iterdir()] == ["m.json"]
    assert Lab("x").read(tmp_path / "m.json") == {"a": 2, "b": 1}
