"""What a machine with dnf says is untrusted, too, and nothing but names and versions gets into what it runs."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.hosts import packages
from swarmctl.hosts.packages import Move, dnf, dnf_faults, openpgp
from swarmctl.hosts.packages.dnf_program import PROGRAM
from swarmctl.hosts.packages.model import RPM_NAME
from swarmctl.hosts.packages.reading import parse

LINES = b"""@ dnf x86_64
nvidia-imex\tx86_64\t3:595.91.07-1.el9\t1763770000
glibc\ti686\t0:2.34-100.el9\t1763770000
glibc\tx86_64\t0:2.34-100.el9\t1763770000
kernel-core\tx86_64\t0:5.14.0-503.el9\t1763770000
kernel-core\tx86_64\t0:5.14.0-570.el9\t1763770009
libtwice\tnoarch\t0:1-1\t1763770009
libtwice\tnoarch\t0:2-1\t1763770000
gpg-pubkey\t(none)\t0:d42d0685-62589a51\t1763770000
bad name\tx86_64\t0:1-1\t1763770000
noversion\tx86_64\t$(id)\t1763770000
@ lock nvidia-imex-3:595.91.07-1.el9.*
@ lock # a word
@ lock *glibc*2.34*
@ name nvidia-driver
@ stream 595-open
@ state enabled
@ name nodejs
@ stream
@ state enabled
@ end
"""


def test_what_is_there_what_is_held_and_what_is_kept_to() -> None:
    found = parse(LINES, "n1")
    assert found.manager == "dnf"
    assert found.installed == {
        "nvidia-imex": "3:595.91.07-1.el9",
        "glibc.i686": "2.34-100.el9",
        "glibc": "2.34-100.el9",
        "kernel-core": "5.14.0-570.el9",
        "libtwice": "1-1",
    }
    assert found.held == {"nvidia-imex", "glibc", "glibc.i686"}
    assert found.broken == ("libtwice",), "of kernels several may be there"
    assert found.streams == {"nvidia-driver:595-open"}
    assert not found.interrupted
    assert parse(LINES.replace(b"@ end", b"@ interrupted\n@ end"), "n1").interrupted
    assert (
        "nvidia-imex" not in parse(LINES.replace(b"@ lock nvidia-imex-3:595", b"@ lock nvidia-imex-3:580"), "n1").held
    )


@given(st.binary(max_size=400))
def test_noise_never_gets_past_the_parsers(noise: bytes) -> None:
    found = parse(b"@ dnf x86_64\n" + noise + b"\n@ end\n", "n1")
    assert all(RPM_NAME.fullmatch(name) for name in found.installed)
    said = noise.decode("latin-1")
    for text in (said, f"@ fault\t{said}", *(f"@ fault\t{kind}\t{said}" for kind in dnf_faults._KINDS)):
        error = dnf_faults.fault("n1", "installing x", 1, said, text)
        assert error is not None
        assert len(error.message) < 900
        assert "\n" not in error.message
    assert dnf_faults.fault("n1", "installing x", 0, said, said) is None


@pytest.mark.parametrize(
    "wanted", ["a b", "x; id", "-o=x", "x=1 2", "x=$(id)", "../x.rpm", "/tmp/a b.rpm", "", "x=*", "name-", "--"]
)
def test_what_is_no_package_is_never_put_into_a_command(wanted: str) -> None:
    with pytest.raises(ValueError, match="not a package"):
        dnf.install([wanted])


@pytest.mark.parametrize("source", ["/etc/yum.repos.d/a b.repo", "/etc/yum.repos.d/../x.repo", "swarmctl"])
def test_only_a_file_of_a_repository_is_read_anew(source: str) -> None:
    with pytest.raises(ValueError, match="not a file of a repository"):
        dnf.refresh(source)


@pytest.mark.parametrize(
    "work",
    [
        dnf.refresh("/etc/yum.repos.d/swarmctl-nvidia.repo"),
        dnf.simulate(["a1=1-*"], ["b_1"]),
        dnf.download(["a1=3:1~rc^2"], "/var/cache/x"),
        dnf.install(["/a/b.rpm"]),
        dnf.hold(["A1"]),
        dnf.enable("nvidia-driver:595-open"),
        dnf.mend(),
    ],
)
def test_every_script_is_one_command_that_a_shell_reads_whole(work: packages.Work) -> None:
    assert work.by == "dnf"
    assert work.script.startswith("{\n")
    assert work.script.endswith("\n} </dev/null\n")
    checked = subprocess.run(["sh", "-n"], input=work.script.encode(), check=False, capture_output=True)
    assert checked.returncode == 0, checked.stderr
    cut = subprocess.run(["sh", "-eu", "-s"], input=work.script[:-15].encode(), check=False, capture_output=True)
    assert cut.returncode != 0, "half of it does nothing"
    assert not cut.stdout


def test_the_program_is_one_that_the_oldest_python_of_a_machine_reads() -> None:
    ast.parse(PROGRAM, feature_version=(3, 6))


def test_files_are_on_the_disk_before_they_are_in_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = ("dnf", "dnf.callback", "dnf.exceptions", "dnf.module", "dnf.module.module_base", "rpm")
    for name in modules:
        monkeypatch.setitem(sys.modules, name, MagicMock())
    sys.modules["dnf"].callback.TransactionProgress = object  # type: ignore[attr-defined]
    program: dict[str, Any] = {}
    exec(PROGRAM.replace("sys.exit(main())", ""), program)
    done: list[str] = []

    def synced(file: int) -> None:
        done.append(f"sync {os.readlink(f'/proc/self/fd/{file}')}")

    def renamed(old: str, new: str) -> None:
        done.append(f"move {old}")
        Path(old).replace(new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "rename", renamed)
    (tmp_path / "cache.rpm").write_text("content")
    package = SimpleNamespace(name="tool", evr="1:2-3", arch="x86_64", localPkg=lambda: str(tmp_path / "cache.rpm"))
    folder = tmp_path / "into"
    folder.mkdir()
    program |= {"opened": MagicMock(), "found": lambda base, one: package, "fetched": lambda base, packages: None}
    program["download"]([str(folder), "tool"])
    whole = folder / "tool_1%3a2-3_x86%5f64.rpm"
    assert whole.read_text() == "content"
    assert done == [f"sync {whole}.part", f"move {whole}.part", f"sync {folder}"]

    done.clear()
    lines = tmp_path / "versionlock.list"
    (tmp_path / "versionlock.conf").write_text("")
    program["LOCKLIST"] = str(lines)
    program["written"](["tool-1:2-3.*"])
    assert lines.read_text() == "tool-1:2-3.*\n"
    assert done == [f"sync {lines}.new", f"move {lines}.new", f"sync {tmp_path}"]


def test_a_key_becomes_text_that_holds_the_same() -> None:
    packet = b"\x99\x00\x05\x04abcd"
    text = openpgp.armored(packet)
    assert openpgp.binary(text) == packet
    assert openpgp.armored(text) == text
    if shutil.which("gpg") is None:
        return
    checked = subprocess.run(["gpg", "--dearmor"], input=text, check=False, capture_output=True)
    assert checked.stdout == packet, checked.stderr


def test_changes_that_are_told_are_read_and_others_left_out() -> None:
    told = "@ move\tnvidia-imex\t3:595-1\t3:580-1\n@ move\tx;id\t\t1\n@ move\tnew\t\t1-1\nInstalled: other\n"
    assert packages.moves(told) == (Move("new", "", "1-1"), Move("nvidia-imex", "3:595-1", "3:580-1"))
