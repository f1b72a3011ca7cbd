"""Output that nobody takes, and Ctrl-C before anything is loaded: the exit codes stay those that are published."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarmctl.cli.interrupts import interrupt

MAIN = [sys.executable, "-m", "swarmctl"]
FULL = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


def shell(line: str, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
    """A line of bash in which `"$@"` is swarmctl with these arguments."""
    command = ["bash", "-c", line, "bash", *MAIN, *args]
    return subprocess.run(command, env={**os.environ, **environ}, capture_output=True, text=True, check=False)


@FULL
def test_standard_output_that_cannot_be_written_is_told_once() -> None:
    for environ in ({}, {"_SWARMCTL_COMPLETE": "bash_source"}):
        run = shell('"$@" >/dev/full', "--help", **environ)
        assert run.returncode == 1
        assert run.stderr.splitlines()[0] == ("error: the system refused: standard output: No space left on device")
        assert "Exception ignored" not in run.stderr
        assert "Traceback" not in run.stderr


@FULL
@pytest.mark.parametrize(("args", "code"), [(["version"], 0), (["no-such"], 2), (["-C", "", "validate"], 2)])
def test_standard_error_that_cannot_be_written_changes_no_exit_code(args: list[str], code: int) -> None:
    assert shell('"$@" 2>/dev/full', *args).returncode == code


@pytest.mark.parametrize(("args", "code"), [(["version"], 0), (["no-such"], 2), (["-C", "", "validate"], 2)])
def test_a_reader_that_has_gone_changes_no_exit_code(args: list[str], code: int) -> None:
    # The reader is gone before the first word.
    run = shell('exec 3> >(exit 0); sleep 0.1; "$@" >&3 2>&3; echo $?', *args)
    assert run.stdout == f"{code}\n"


def test_ctrl_c_while_it_is_loaded_ends_it_in_one_line(tmp_path: Path) -> None:
    # click is the first thing that is loaded: here one that says so, and takes its time.
    (tmp_path / "click.py").write_text("import os, time; os.write(1, b'loading'); time.sleep(60)")
    run = subprocess.Popen(
        MAIN,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout
    assert run.stdout.read(7) == "loading"
    run.send_signal(signal.SIGINT)
    assert run.communicate(timeout=20)[1] == "Interrupted.\n"
    assert run.returncode == 130


def test_ctrl_c_in_the_middle_of_an_import_waits_for_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = "import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(0.03); whole = True"
    (tmp_path / "slow_to_load.py").write_text(code)
    monkeypatch.syspath_prepend(str(tmp_path))

    def load() -> None:
        importlib.import_module("slow_to_load")
        time.sleep(5)

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGALRM)}
    try:
        with pytest.raises(KeyboardInterrupt):
            load()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert sys.modules["slow_to_load"].whole


def test_ctrl_c_after_the_end_changes_nothing() -> None:
    code = (
        "import atexit, os, signal, sys; sys.argv[1:] = ['version'];"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT); from swarmctl.__main__ import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (run.returncode, run.stderr) == (0, "")
