"""`swarmctl engine` and `swarmctl version`, and how a download is drawn."""

from __future__ import annotations

import io
import json
import platform
import sys
from pathlib import Path

import pytest

from swarmctl import __version__
from swarmctl.cli import run
from swarmctl.kinds import API_VERSION
from swarmctl.plans.events import Downloaded, Note, PhaseStarted
from swarmctl.reports.fetching import fetching
from tests.toolchain import releases as fakes


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    return fakes.executable(tmp_path / "pulumi", fakes.program(fakes.VERSION))


def test_engine_path_prints_the_path_alone(on_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", "path"]) == 0
    assert capsys.readouterr().out == f"{on_path}\n"


@pytest.mark.parametrize("sub", ["path", "install"])
def test_engine_as_json(on_path: Path, sub: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["engine", sub, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "swarmctl/engine/v1",
        "path": str(on_path),
        "version": fakes.VERSION,
        "source": "PATH",
    }


def test_no_engine_ends_with_1_and_a_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert run(["engine", "path"]) == 1
    told = capsys.readouterr()
    assert told.out == ""
    assert "PATH: no pulumi there" in told.err
    assert "help: run `swarmctl engine install`" in told.err


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["version"]) == 0
    assert capsys.readouterr().out == f"swarmctl {__version__} (Python {platform.python_version()}, {API_VERSION})\n"
    assert run(["version", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == {
        "schema": "swarmctl/version/v1",
        "version": __version__,
        "python": platform.python_version(),
        "apiVersion": API_VERSION,
    }


@pytest.mark.parametrize("arguments", [["--help"], ["version"]])
def test_what_must_be_fast_imports_nothing_heavy(arguments: list[str]) -> None:
    import subprocess

    script = (
        "import sys; from swarmctl.cli import run; run(sys.argv[1:]);"
        "heavy = {'pulumi', 'grpc', 'msgspec', 'rich', 'yaml', 'jinja2', 'jsonschema_rs', 'boto3', 'asyncio'};"
        "sys.exit(', '.join(heavy & set(sys.modules)) or None)"
    )
    done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert done.returncode == 0


def test_without_a_terminal_progress_is_a_few_plain_lines() -> None:
    stream = io.StringIO()
    with fetching(stream) as emit:
        emit(PhaseStarted("download"))
        emit(Note("a note"))
        for done in range(0, 1001):
            emit(Downloaded("downloading Pulumi", done, 1000))
        emit(Downloaded("waiting", 0, 0))
    assert stream.getvalue().splitlines() == [
        "a note",
        "downloading Pulumi … 0%",
        "downloading Pulumi … 25%",
        "downloading Pulumi … 50%",
        "downloading Pulumi … 75%",
        "downloading Pulumi … 100%",
        "waiting …",
    ]
