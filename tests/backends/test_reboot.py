"""Restarting a machine, as far as a machine need not be there: what is asked, awaited and told."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from swarmctl.backends.base import Completed, Fenced, HostUnreachable
from swarmctl.backends.reboot import _REBOOT as REBOOT
from swarmctl.backends.reboot import CannotReboot, Unconfirmed, reboot
from swarmctl.errors import SwarmError
from swarmctl.hosts.guard_script import FOLDER

ONE, OTHER = "11111111-2222-3333-4444-555555555555", "99999999-2222-3333-4444-555555555555"
Answer = str | SwarmError


class FakeHost:
    """Says what it is told to; time passes only while somebody sleeps."""

    name = "m1"

    def __init__(self, *answers: Answer) -> None:
        self._answers: Iterator[Answer] = iter(answers)
        self.ordered = 0
        self.now = 0.0

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30, check: bool = True) -> Completed:
        if "reboot" in argv[-1]:
            self.ordered += 1
        answer = next(self._answers)
        if isinstance(answer, SwarmError):
            raise answer
        return Completed(tuple(argv), 0, answer.encode(), b"")

    def restart(self) -> None:
        reboot(self, timeout=60, sleep=self._sleep, clock=lambda: self.now)  # type: ignore[arg-type]

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def machine(boot: str) -> str:
    return f"{boot}\nmachine\n"


def test_it_waits_for_another_boot_id() -> None:
    gone = HostUnreachable("m1 refuses connections", "wait")
    host = FakeHost(machine(ONE), "", machine(ONE), gone, gone, machine(OTHER))
    host.restart()
    assert host.ordered == 1
    assert host.now == 8


def test_a_connection_that_is_cut_by_the_restart_is_no_failure() -> None:
    host = FakeHost(machine(ONE), HostUnreachable("m1: the connection was lost", ""), machine(OTHER))
    host.restart()
    assert host.ordered == 1


@pytest.mark.parametrize(
    ("said", "why"),
    [("no systemd", "its first process is not systemd"), ("container lxc", r"a container \(lxc\)"), ("", "boot id")],
)
def test_what_is_no_machine_is_left_alone(said: str, why: str) -> None:
    host = FakeHost(f"{ONE}\n{said}\n" if said else "cat: no such file\n")
    with pytest.raises(CannotReboot, match=why):
        host.restart()
    assert host.ordered == 0


def test_changes_that_a_restart_would_undo_are_waited_for(tmp_path: Path) -> None:
    host = FakeHost(machine(ONE), "unconfirmed\n")
    with pytest.raises(Unconfirmed, match="wait to be confirmed"):
        host.restart()
    # The look and the restart are one script, so that nothing comes in between.
    (tmp_path / "systemctl").write_text("#!/bin/sh\necho restarted\n")
    (tmp_path / "systemctl").chmod(0o755)
    script = REBOOT.replace(FOLDER, str(tmp_path))
    for unconfirmed, said in ((False, "restarted\n"), (True, "unconfirmed\n")):
        if unconfirmed:
            (tmp_path / "deadline").write_text("7 60\n")
        path = {"PATH": f"{tmp_path}:/usr/bin:/bin"}
        done = subprocess.run(["sh", "-c", script], env=path, capture_output=True, text=True, check=True)
        assert done.stdout == said


def test_one_that_does_not_restart_is_told_so_in_time() -> None:
    host = FakeHost(machine(ONE), "", *[machine(ONE)] * 30)
    with pytest.raises(HostUnreachable, match="not come back within 60 s: it still runs as before"):
        host.restart()
    assert host.now == 60


def test_one_that_stays_away_is_told_with_the_last_reason() -> None:
    host = FakeHost(machine(ONE), "", *[HostUnreachable("m1 did not answer within 10 s", "")] * 30)
    with pytest.raises(HostUnreachable, match="not come back within 60 s: m1 did not answer"):
        host.restart()


def test_a_run_whose_lease_is_gone_waits_no_longer() -> None:
    host = FakeHost(machine(ONE), "", Fenced("another run is at work", ""))
    with pytest.raises(Fenced):
        host.restart()
