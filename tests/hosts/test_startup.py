"""What a machine brings back by itself: which files, what is wrong with them, and the program that does it."""

from __future__ import annotations

import shutil
import subprocess
from hashlib import sha256
from pathlib import Path

import pytest

from swarmctl.hosts import reading, startup, startup_script
from swarmctl.hosts.guard_script import FOLDER as GUARD

SHELL = shutil.which("dash") or "sh"
PEERS = startup.peers("wg0")
RULES = "table inet swarmctl {\n}\n"


def machine(path: str, text: str) -> dict[str, str]:
    """Digests of a machine that has all that belongs to one file."""
    wanted = {path: text}
    found: dict[str, str] = {}
    script = startup.put({}, path, text)
    for block in script.split("write ")[1:]:
        at = block.partition(" ")[0]
        body = block.partition("<<'SWARMCTL_TEXT'\n")[2].partition("SWARMCTL_TEXT\n")[0]
        if body:
            wanted[at] = body
    for line in script.splitlines():
        if line.startswith("ln -sfnT "):
            _, _, target, link = line.split()
            wanted[link] = wanted[target]
    for at, body in wanted.items():
        found[at] = sha256(body.encode()).hexdigest()
    return found


def test_what_is_written_is_what_is_measured() -> None:
    found = machine(startup.FIREWALL, RULES)
    assert len(found) == 4
    assert startup.wrong(found, startup.FIREWALL, RULES) == ""
    assert startup.put(found, startup.FIREWALL, RULES) == ""


@pytest.mark.parametrize("at", sorted(machine(startup.FIREWALL, RULES)))
def test_each_of_its_files_counts(at: str) -> None:
    found = machine(startup.FIREWALL, RULES)
    assert startup.wrong({**found, at: "0" * 64}, startup.FIREWALL, RULES) == startup.ANOTHER
    del found[at]
    assert startup.wrong(found, startup.FIREWALL, RULES) == startup.GONE
    script = startup.put(found, startup.FIREWALL, RULES)
    assert at in script
    assert ("daemon-reload" in script) == ("/systemd/" in at)


def test_a_machine_without_systemd_gets_nothing() -> None:
    assert startup.parse("") is None
    assert startup.wrong(None, startup.FIREWALL, RULES) == ""
    assert startup.put(None, startup.FIREWALL, RULES) == ""
    assert startup.remove(None, [startup.FIREWALL]) == ""


def test_what_a_machine_prints_is_taken_by_its_form_alone() -> None:
    digest = "a" * 64
    lines = [
        f"{digest}  {PEERS}",
        f"{digest}  /etc/shadow",
        f"x  {PEERS}",
        f"{digest}  /etc/swarmctl/startup/../x.y",
        "",
    ]
    assert startup.parse("\n".join([startup.ON_SYSTEMD, *lines])) == {PEERS: digest}


def test_the_reading_asks_for_it() -> None:
    assert startup.READ.strip() in reading.SCRIPT


def test_removal_begins_only_where_something_is_there() -> None:
    assert startup.remove({startup.FIREWALL: "x"}, [PEERS]) == ""
    assert f"rm -f {PEERS}\n" in startup.remove({PEERS: "x"}, [PEERS, startup.interface("wg0")])


@pytest.mark.parametrize("name", ["", "../x", "wg0 ", "WG0", "a" * 16])
def test_what_is_no_interface_has_no_file(name: str) -> None:
    with pytest.raises(ValueError, match="not the name of an interface"):
        startup.peers(name)


class Booting:
    """A folder in which the program runs, with an `nft` that keeps what it is given."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.startup, self.guard = root / "startup", root / "guard"
        self.startup.mkdir()
        (root / "bin").mkdir()
        nft = root / "bin/nft"
        nft.write_text(f'#!/bin/sh\n[ "$1" = -f ] && cp "$2" {root}/table || [ -e {root}/table ]\n')
        nft.chmod(0o755)
        text = startup_script.PROGRAM.replace(startup.FOLDER, str(self.startup)).replace(GUARD, str(self.guard))
        self.program = root / "start.sh"
        self.program.write_text(text.replace("PATH=/usr/local/sbin", f"PATH={root}/bin:/usr/local/sbin"))

    def start(self, what: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([SHELL, str(self.program), what], capture_output=True, text=True, timeout=60, check=False)

    @property
    def table(self) -> str:
        path = self.root / "table"
        return path.read_text() if path.exists() else ""

    def unconfirmed(self, before: str) -> None:
        """A change of the firewall, begun before the restart; `before` is what was confirmed last."""
        (self.guard / "touched").mkdir(parents=True)
        (self.guard / "spare").mkdir()
        (self.guard / "deadline").write_text("7 600 an-earlier-boot 99999999 99999999999\n")
        (self.guard / "touched/file.startup-firewall").write_text(before)
        (self.guard / "touched/file.startup-firewall.path").write_text(f"{self.startup}/firewall.nft\n")


def test_the_firewall_is_loaded(tmp_path: Path) -> None:
    booting = Booting(tmp_path)
    (booting.startup / "firewall.nft").write_text("confirmed\n")
    done = booting.start("firewall")
    assert (done.returncode, done.stderr, booting.table) == (0, "", "confirmed\n")


def test_what_was_not_confirmed_is_not_what_a_restart_brings(tmp_path: Path) -> None:
    booting = Booting(tmp_path)
    (booting.startup / "firewall.nft").write_text("not confirmed\n")
    booting.unconfirmed("confirmed\n")
    assert booting.start("firewall").returncode == 0
    assert booting.table == "confirmed\n"
    # Nobody can confirm it any more: whoever looks next finds that its time is over.
    assert (booting.guard / "deadline").read_text() == "7 600 - 0 0\n"
    done = booting.start("mesh")
    assert done.returncode == 0, done.stderr
    assert (booting.startup / "firewall.nft").read_text() == "confirmed\n"
    assert not (booting.guard / "deadline").exists()


def test_without_its_firewall_a_machine_stays_out_of_the_mesh(tmp_path: Path) -> None:
    booting = Booting(tmp_path)
    (booting.startup / "firewall.nft").write_text("confirmed\n")
    (booting.startup / "wg0.interface").write_text("state up\n")
    done = booting.start("mesh")
    assert done.returncode == 1
    assert "the firewall is not there, so the mesh stays away" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="shellcheck is not installed")
def test_the_program_is_sound() -> None:
    command = ["shellcheck", "-s", "dash", "-S", "warning", "-"]
    done = subprocess.run(command, input=startup_script.PROGRAM, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
