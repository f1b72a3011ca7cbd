"""`swarmctl fmt`: what it prints, what it writes, and that it writes nothing when anything is wrong."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from swarmctl.cli import run
from swarmctl.operations import fmt as operation
from swarmctl.operations.fmt import fmt

UGLY = "kind:   A # why\napiVersion:  v\nspec:\n     a: [1,2]\n"
PRETTY = "apiVersion: v\nkind: A  # why\nspec:\n  a: [1, 2]\n"

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name: str, text: str = UGLY) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())
    return path


def test_files_are_laid_out_and_named(capsys: Out) -> None:
    ugly, pretty = write("b/ugly.yml"), write("pretty.yaml", PRETTY)
    before = pretty.stat().st_mtime_ns
    assert run(["fmt"]) == 0
    assert capsys.readouterr().out == "b/ugly.yml\n"
    assert ugly.read_text() == PRETTY
    assert pretty.stat().st_mtime_ns == before
    assert run(["fmt"]) == 0
    assert capsys.readouterr().out == "nothing to change in 2 files\n"


def test_check_writes_nothing_and_exits_with_1(capsys: Out) -> None:
    path = write("a.yaml")
    assert run(["fmt", "--check"]) == 1
    assert capsys.readouterr().out == "a.yaml\n"
    assert path.read_text() == UGLY
    write("a.yaml", PRETTY)
    assert run(["fmt", "--check"]) == 0


def test_diff_shows_what_changes(capsys: Out) -> None:
    path = write("a.yaml", "a:  1\nb: 2")
    assert run(["fmt", "--check", "--diff"]) == 1
    assert capsys.readouterr().out == (
        "--- a/a.yaml\n+++ b/a.yaml\n@@ -1,2 +1,2 @@\n-a:  1\n-b: 2\n\\ No newline at end of file\n+a: 1\n+b: 2\n"
    )
    assert run(["fmt", "--diff"]) == 0
    assert path.read_text() == "a: 1\nb: 2\n"


def test_json(capsys: Out) -> None:
    write("a.yaml")
    write("b.yaml", "? a\n: b\n")
    assert run(["fmt", "--check", "--format", "json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert value["schema"] == "swarmctl/fmt/v1"
    assert value["written"] is False
    assert [each["file"] for each in value["changed"]] == ["a.yaml"]
    assert "+apiVersion: v" in value["changed"][0]["diff"]
    assert value["left"] == [{"file": "b.yaml", "reason": "it has a key written with `?`"}]


def test_one_broken_file_keeps_all_as_they_are(capsys: Out) -> None:
    path = write("a.yaml")
    write("b.yaml", "a: [\n")
    assert run(["fmt"]) == 4
    assert "error[SW1013]" in capsys.readouterr().err
    assert path.read_text() == UGLY


def test_warnings_do_not_keep_a_file_from_being_laid_out() -> None:
    path = write("a.yaml", "a:   no\n")
    assert run(["fmt"]) == 0
    assert path.read_text() == "a: no\n"


def test_an_empty_folder() -> None:
    assert run(["fmt"]) == 3


def test_only_comments_stay_as_they_are() -> None:
    path = write("a.yaml", "#  nothing yet\n")
    write("b.yaml", PRETTY)
    assert run(["fmt"]) == 0
    assert path.read_text() == "#  nothing yet\n"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_other_encodings_become_utf_8(encoding: str) -> None:
    path = Path("a.yaml")
    path.write_bytes("a: é\n".encode(encoding))
    assert run(["fmt"]) == 0
    assert path.read_bytes() == "a: é\n".encode()


def test_permissions_and_links_stay() -> None:
    real = write("real.txt")
    real.chmod(0o640)
    os.symlink("real.txt", "a.yaml")
    assert run(["fmt"]) == 0
    assert Path("a.yaml").is_symlink()
    assert real.read_text() == PRETTY
    assert stat.S_IMODE(real.stat().st_mode) == 0o640


def test_a_full_disk_leaves_the_old_text(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    path = write("a.yaml")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(operation.os, "fsync", full)
    assert run(["fmt"]) == 1
    assert "a.yaml cannot be written: No space left on device" in capsys.readouterr().err
    assert path.read_text() == UGLY
    assert os.listdir() == ["a.yaml"]


def test_a_layout_that_would_change_the_meaning_is_not_written(monkeypatch: pytest.MonkeyPatch, capsys: Out) -> None:
    path = write("a.yaml")
    honest = operation.lay_out

    def wrong(text: str) -> object:
        laid = honest(text)
        laid.text = laid.text.replace("[1, 2]", "[1, 2.0]")
        return laid

    monkeypatch.setattr(operation, "lay_out", wrong)
    assert run(["fmt"]) == 0
    assert "left as it is: a.yaml: laid out it would not mean the same" in capsys.readouterr().err
    assert path.read_text() == UGLY


def test_a_layout_that_would_lose_a_comment_is_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    write("a.yaml")
    honest = operation.lay_out

    def forgetful(text: str) -> object:
        laid = honest(text)
        laid.text = laid.text.replace("  # why", "")
        return laid

    monkeypatch.setattr(operation, "lay_out", forgetful)
    formatted = fmt(Path(), write=True)
    assert not formatted.changed
    assert formatted.left == (("a.yaml", "its comments have no certain place"),)
