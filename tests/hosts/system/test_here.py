"""The script, run on this very machine: it is one more kind of machine, whatever it is."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from pathlib import Path

import pytest

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts.system import READING


def test_the_script_reads_this_machine() -> None:
    done = subprocess.run(READING.argv, capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    found = READING.parse(done.stdout, "here")
    assert done.stderr == b""
    assert found.hostname == platform.node()
    assert found.kernel == platform.release()
    assert found.cpu.architecture == platform.machine()
    assert abs(found.now - time.time()) < 60
    assert found.cpu.threads == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found.memory.total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def test_a_file_whose_last_line_has_no_end_is_read_to_its_last_line(tmp_path: Path) -> None:
    file = tmp_path / "os-release"
    file.write_text("NAME=Ubuntu\nID=ubuntu\nVERSION_ID=24.04")
    script = READING.argv[-1].replace("/etc/os-release", str(file))
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    found = READING.parse(done.stdout, "here").os
    assert (found.id, found.version_id) == ("ubuntu", "24.04")


def test_a_machine_with_nothing_but_a_shell_and_coreutils_is_read(tmp_path: object) -> None:
    """Without lspci, ip, lsblk and all else that asks more than the kernel."""
    folder = str(tmp_path)
    for program in "sh date cat head sed sort grep cut ls od readlink timeout uname".split():
        os.symlink(
            f"/bin/{program}" if os.path.exists(f"/bin/{program}") else f"/usr/bin/{program}", f"{folder}/{program}"
        )
    done = subprocess.run(["/bin/sh", *READING.argv[1:]], capture_output=True, check=True, env={"PATH": folder})
    found = READING.parse(done.stdout, "here")
    assert found.kernel == platform.release()
    assert found.cpu.threads == os.sysconf("SC_NPROCESSORS_ONLN")
    assert found.nics is not None


@pytest.mark.parametrize(
    ("program", "told"),
    [
        ("seq -f '%04g:00:00.0 3D controller [0302]: N [10de:2330]' 1 5000", "more than 4,096 PCI devices"),
        ("yes '0000:10:00.0 3D controller [0302]: N [10de:2330]'", "what `lspci` prints in more than 1 MiB"),
    ],
    ids=["5,000 cards", "without end"],
)
def test_cards_that_are_cut_off_are_told_as_that(tmp_path: Path, program: str, told: str) -> None:
    (tmp_path / "lspci").write_text(f"#!/bin/sh\nexec {program}\n")
    (tmp_path / "lspci").chmod(0o755)
    done = subprocess.run(
        READING.argv, capture_output=True, check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}
    )
    with pytest.raises(WorldUnreadable, match=told):
        READING.parse(done.stdout, "here")


def test_cards_that_sysfs_has_too_many_of_are_told_as_that(tmp_path: Path) -> None:
    for number in range(4097):
        (tmp_path / f"{number:04x}:00:00.0").mkdir()
    script = READING.argv[-1].replace("/sys/bus/pci/devices", str(tmp_path)).replace("there lspci", "false")
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    with pytest.raises(WorldUnreadable, match="more than 4,096 PCI devices"):
        READING.parse(done.stdout, "here")


def test_a_card_that_the_kernel_lists_and_that_answers_nothing_is_gone(tmp_path: Path) -> None:
    whole = bytes.fromhex("de103023070010 00a1000203".replace(" ", "")).ljust(64, b"\0")
    for address, vendor, kind, config in (
        ("0000:10:00.0", "0x10de", "0x030200", whole),
        ("0000:11:00.0", "0x10de", "0x030200", b"\xff" * 64),
        ("0000:12:00.0", "0x10de", "0x030200", b"\xff" * 4 + whole[4:]),  # a virtual function
        ("0000:13:00.0", "0x1002", "0x120000", b"\xff" * 64),
        ("0000:14:00.0", "0x8086", "0x010802", b"\xff" * 64),  # nobody asks what is no card
    ):
        (tmp_path / address).mkdir()
        (tmp_path / address / "vendor").write_text(f"{vendor}\n")
        (tmp_path / address / "device").write_text("0x2330\n")
        (tmp_path / address / "class").write_text(f"{kind}\n")
        (tmp_path / address / "config").write_bytes(config)
    script = READING.argv[-1].replace("/sys/bus/pci/devices", str(tmp_path)).replace("there lspci", "false")
    done = subprocess.run(["sh", "-c", script], capture_output=True, check=True, env={"PATH": os.environ["PATH"]})
    found = READING.parse(done.stdout, "here")
    assert [device.address for device in found.gone] == ["0000:11:00.0", "0000:13:00.0"]
    assert [device.address for device in found.pci or ()] == ["0000:10:00.0", "0000:12:00.0", "0000:14:00.0"]
