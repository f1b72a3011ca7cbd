"""Scripts that start and stop services, run here in a folder of their own with stand-ins for what they call."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from swarmctl.backends.ssh import services

SYSTEMCTL = """#!/bin/sh
echo "$1" >>"$ASKED"
case $1 in daemon-reload) [ ! -e "$ASKED.cut" ] || { kill -s KILL $PPID; exit 1; } ;; esac
"""
"""Whatever it is asked, the service is active."""
SLOWLY = """#!/bin/sh
sleep 0.5
PATH=${PATH#*:}
exec "${0##*/}" "$@"
"""


class Machine:
    """A folder that the scripts take for `/`."""

    def __init__(self, root: Path, *, systemd: bool = True) -> None:
        self.root = root
        for folder in ("etc/systemd/system", "bin", *(["run/systemd/system"] if systemd else [])):
            (root / folder).mkdir(parents=True)
        self.asked = root / "asked"
        self.program("systemctl", SYSTEMCTL)

    def program(self, name: str, text: str) -> None:
        file = self.root / "bin" / name
        file.write_text(text)
        file.chmod(0o755)

    def begin(self, argv: list[str]) -> subprocess.Popen[str]:
        script = argv[2]
        for folder in ("/run/", "/etc/systemd/", "/var/log/"):
            script = script.replace(folder, f"{self.root}{folder}")
        environment = {"PATH": f"{self.root}/bin:{os.environ['PATH']}", "ASKED": str(self.asked)}
        return subprocess.Popen(
            [*argv[:2], script, *argv[3:]],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, argv: list[str]) -> tuple[int, list[str]]:
        self.asked.write_text("")
        begun = self.begin(argv)
        begun.communicate(timeout=60)
        return begun.returncode, self.asked.read_text().split()

    def twice(self, argv: list[str]) -> list[tuple[int, str]]:
        """Two at the same time: status and what was complained of."""
        both = [self.begin(argv) for _ in range(2)]
        said = [it.communicate(timeout=60)[1] for it in both]
        return [(it.returncode, words) for it, words in zip(both, said, strict=True)]


def test_a_unit_that_was_written_and_not_loaded_is_loaded_by_the_next_start(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    whole = ["daemon-reload", "enable", "restart"]
    assert machine.run(services.start("agent", ["sleep", "1"])) == (0, whole)
    assert machine.run(services.start("agent", ["sleep", "1"])) == (0, ["is-active"])
    (tmp_path / "asked.cut").touch()
    assert machine.run(services.start("agent", ["sleep", "2"])) == (-9, ["daemon-reload"])
    (tmp_path / "asked.cut").unlink()
    assert machine.run(services.start("agent", ["sleep", "2"])) == (0, whole)
    assert machine.run(services.start("agent", ["sleep", "2"])) == (0, ["is-active"])
    assert machine.run(services.stop("agent"))[0] == 0
    assert not [file for file in tmp_path.rglob("*agent*") if file.is_file()]


@pytest.mark.parametrize("systemd", [True, False])
def test_of_two_starts_at_once_one_starts_and_the_other_finds_it(tmp_path: Path, systemd: bool) -> None:
    machine = Machine(tmp_path, systemd=systemd)
    for program in ("sync", "setsid"):  # what each of the two ways calls after it has looked
        machine.program(program, SLOWLY)
    argv = ["sh", "-c", f'echo begun >>"{tmp_path}/begun"; exec sleep 30']
    try:
        assert machine.twice(services.start("agent", argv)) == [(0, ""), (0, "")]
        if systemd:
            assert machine.asked.read_text().split() == ["daemon-reload", "enable", "restart", "is-active"]
        else:
            deadline = time.monotonic() + 20
            while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            assert (tmp_path / "begun").read_text() == "begun\n"
            assert machine.run(services.start("agent", argv))[0] == 0, "what runs holds no lock"
    finally:
        assert machine.run(services.stop("agent"))[0] == 0
    if not systemd:
        assert machine.begin(services.listing()).communicate(timeout=60)[0] == ""
