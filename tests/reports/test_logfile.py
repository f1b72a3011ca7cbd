"""`--debug`: a log that only the user can read and that holds no secret."""

from __future__ import annotations

import base64
import logging
import os
import re
import secrets
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl import cli
from swarmctl.reports import logfile
from swarmctl.reports.logfile import Scrubber


def key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


@pytest.fixture(autouse=True)
def root_logger() -> Iterator[None]:
    """Give the root logger back as it was."""
    root = logging.getLogger()
    before, level = list(root.handlers), root.level
    yield
    for handler in set(root.handlers) - set(before):
        handler.close()
        root.removeHandler(handler)
    root.setLevel(level)


@pytest.mark.parametrize(
    "line",
    [
        "wg set wg0 private-key {secret}",
        "PrivateKey = {secret}",
        '{{"key":"{secret}"}}',
        "a={secret}, b=2",
        "-----BEGIN OPENSSH PRIVATE KEY-----\n{secret}\nmore\n-----END OPENSSH PRIVATE KEY-----",
    ],
)
def test_keys_are_taken_out_wherever_they_stand(line: str) -> None:
    for _ in range(50):
        secret = key()
        assert secret not in Scrubber().scrub(line.format(secret=secret))


def test_the_same_key_has_the_same_fingerprint() -> None:
    one, other = key(), key()
    first, second, third = Scrubber().scrub(f"{one} {one} {other}").split(") ")
    assert first == second
    assert first != third.rstrip(")")


@pytest.mark.parametrize(
    "line",
    [
        "PULUMI_CONFIG_PASSPHRASE=hunter22",
        'passphrase: "hunter22"',
        "'api_key': 'hunter22'",
        '{"clientSecret": "hunter22"}',
        "Authorization-Token: Bearer hunter22",
    ],
)
def test_named_secrets_are_taken_out(line: str) -> None:
    assert "hunter22" not in Scrubber().scrub(line)


def test_secrets_of_the_environment_are_taken_out_by_value() -> None:
    environ = {"DB_PASSWORD": "correct horse", "PULUMI_CONFIG_PASSPHRASE_FILE": "/data/passphrase", "HOME": "/home/me"}
    scrubbed = Scrubber.of_environment(environ).scrub("correct horse at /data/passphrase in /home/me")
    assert scrubbed == "(secret) at /data/passphrase in /home/me"


def test_ordinary_lines_stay_as_they_are() -> None:
    digest = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"
    line = f"mesh/backbone[workers-0/peers] sha256 {digest} 10.88.0.1/16 fd88:5b2a::1 key files: 2"
    assert Scrubber().scrub(line) == line


def test_a_debug_run_names_its_log_and_nobody_else_can_read_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_TOKEN", "hunter22hunter22")
    assert cli.run(["--debug", "version"]) == 0
    named = re.search(r"^log: (.+)$", capsys.readouterr().err, re.MULTILINE)
    assert named
    path = Path(named[1])
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    secret = key()
    logging.getLogger("swarmctl.engine").debug("%s and %s", secret, "hunter22hunter22")
    text = path.read_text()
    assert "swarmctl.engine" in text
    assert secret not in text
    assert "hunter22" not in text


def test_a_defect_leaves_its_traceback_in_the_log(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmctl.cli.version.platform.python_version", lambda: 1 / 0)
    assert cli.run(["--debug", "version"]) == 1
    shown = capsys.readouterr().err
    assert "Traceback" not in shown
    log = Path(shown.rpartition("log: ")[2].strip())
    assert "ZeroDivisionError" in log.read_text()
    assert "Traceback" in log.read_text()


def test_a_log_that_cannot_be_made_is_a_clear_error(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    assert cli.run(["--debug", "version"]) == 1
    assert "cannot write the log" in capsys.readouterr().err


def test_only_the_last_logs_are_kept() -> None:
    from swarmctl import paths

    folder = paths.log_dir()
    folder.mkdir(parents=True)
    for number in range(40):
        (folder / f"20200101-0000{number:02d}-1.log").touch()
    logfile.start([])
    assert len(list(folder.iterdir())) == 20


def test_a_log_that_cannot_be_written_is_told_once_and_the_run_goes_on(tmp_path: Path) -> None:
    code = (
        "import logging, resource; from swarmctl.reports import logfile; logfile.start([]);"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096));"
        "[logging.getLogger('swarmctl').debug('x' * 1000) for _ in range(20)]; print('went on')"
    )
    environ = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path)}
    run = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout) == (0, "went on\n")
    (line,) = run.stderr.splitlines()
    assert re.fullmatch(r"warning: the log .*\.log is not whole: File too large", line)
