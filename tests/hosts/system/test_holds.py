"""What a machine holds of a driver's packages, by apt and by dnf; what holds nothing starts no program for it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from swarmctl.hosts.system import holds
from swarmctl.hosts.system.script import SCRIPT
from tests.hosts.system.machines import read

APT = """@ apt amd64
hi \tnvidia-fabricmanager\tamd64\t590.48.01-1
ii \tlibnvidia-nscq\tamd64\t590.48.01-1
@ end
"""
DNF = """@ dnf x86_64
nvidia-fabricmanager\tx86_64\t3:590.48.01-1.el9\t1763770000
nvidia-imex\tx86_64\t3:590.48.01-1.el9\t1763770000
@ lock nvidia-fabricmanager-3:590.48.01-1.el9.*
@ end
"""


@pytest.mark.parametrize(
    ("said", "held"),
    [
        (APT, {"nvidia-fabricmanager": "590.48.01-1"}),
        (DNF, {"nvidia-fabricmanager": "3:590.48.01-1.el9"}),
        ("", {}),
        (APT.replace("@ end", ""), {}),
        ("@ apt\x1b[2J\nhi \n@ end", {}),
    ],
)
def test_what_is_held_is_told(said: str, held: dict[str, str]) -> None:
    assert read(held=said).held == held


def printed(root: Path, query: str = "printf 'hi query'; printf ' %s' \"$@\"; echo") -> str:
    """What the script prints where its files are those below `root`."""
    script = holds.SCRIPT.replace("/var/lib", f"{root}/var/lib").replace("/etc/dnf", f"{root}/etc/dnf")
    for name, says in (("dpkg-query", query), ("dpkg", "echo amd64"), ("rpm", 'echo "rpm $*"')):
        tool = root / "bin" / name
        tool.parent.mkdir(exist_ok=True)
        tool.write_text(f"#!/bin/sh\n{says}\n")
        tool.chmod(0o755)
    begin = "part() { :; }\n"
    path = f"{root}/bin:{os.environ['PATH']}"
    done = subprocess.run(
        ["sh", "-c", begin + script], cwd=root, env={"PATH": path}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_only_what_may_be_held_is_asked_for(tmp_path: Path) -> None:
    assert printed(tmp_path) == ""
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info / "nvidia-container-toolkit.list").touch()
    assert printed(tmp_path) == ""
    (info / "libnvidia-nscq-580:amd64.list").touch()
    (tmp_path / "libnvidia-nscq-9").touch()  # which a pattern must not be taken for
    said = printed(tmp_path)
    assert "libnvidia-nscq*" in said
    assert "rocm-core" in said
    (tmp_path / "var/lib/swarmctl/driver/current").mkdir(parents=True)
    assert printed(tmp_path) == "", "what is swarmctl's own it lets go of itself"
    (info / "rocm-core.list").touch()
    said = printed(tmp_path)
    assert "rocm-core" in said
    assert "nvidia" not in said


def test_packages_that_are_only_known_by_name_are_not_in_the_way_of_those_that_are_held(tmp_path: Path) -> None:
    info = tmp_path / "var/lib/dpkg/info"
    info.mkdir(parents=True)
    (info / "nvidia-utils-580.list").touch()
    known = "for n in $(seq 400 600); do printf 'un \\tlibnvidia-compute-%s\\t\\t\\n' $n; done\n"
    held = "printf 'hi \\tnvidia-utils-580\\tamd64\\t580.173.02-1\\n'\n"
    assert read(held=printed(tmp_path, known + held)).held == {"nvidia-utils-580": "580.173.02-1"}


def test_dnf_is_asked_where_versions_are_locked(tmp_path: Path) -> None:
    file = tmp_path / "etc/dnf/plugins/versionlock.list"
    file.parent.mkdir(parents=True)
    file.write_text("nvidia-fabricmanager-3:590.48.01-1.el9.*\n")
    said = printed(tmp_path)
    assert "@ dnf" in said
    assert "@ lock nvidia-fabricmanager-3:590.48.01-1.el9.*" in said


def test_facts_ask_for_it() -> None:
    assert holds.SCRIPT.strip() in SCRIPT
