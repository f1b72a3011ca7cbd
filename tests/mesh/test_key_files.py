"""Files with keys and their folders are root's alone: read by one process, told, and closed again."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from swarmctl.hosts import reading
from swarmctl.hosts.facts import Exposed
from swarmctl.kinds.mesh import key_files
from swarmctl.kinds.mesh.resources import INTERFACE
from tests.mesh.fakes import KEY_PATH, FakeHosts
from tests.mesh.test_interface import INPUTS, present

FOLDER = "/etc/swarmctl/mesh/backbone"
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root owns files as swarmctl makes them")


def exposed(root: Path) -> tuple[Exposed, ...] | None:
    """What the script finds where `root` stands for /etc/swarmctl, with paths as on a node."""
    command = reading.SCRIPT.partition("part exposed\n")[2].partition("\nfor ")[0]
    done = subprocess.run(["sh", "-c", command.replace("/etc/swarmctl", str(root))], capture_output=True, check=False)
    return reading._exposed(done.stdout.decode().replace(str(root), "/etc/swarmctl"))


def tree(root: Path) -> Path:
    """All that a mesh keeps on a node, as swarmctl makes it."""
    before = os.umask(0o077)
    try:
        folder = root / "mesh/backbone"
        (folder / "psk/OWN").mkdir(parents=True)
        (root / "guard/touched").mkdir(parents=True)
        for name in ("private.key", "next.key", ".old.key", "psk/identity", "psk/OWN/PEER", "generation", "rp_filter"):
            (folder / name).write_text("x")
        (root / "guard/touched/peers.wg0").write_text("x")
    finally:
        os.umask(before)
    (folder / "rp_filter").chmod(0o644)
    return folder


@needs_root
def test_every_file_and_folder_of_keys_is_looked_at_and_closed_again(tmp_path: Path) -> None:
    folder = tree(tmp_path)
    assert exposed(tmp_path) == ()
    for name, mode in ((".old.key", 0o644), ("psk", 0o755), ("psk/OWN/PEER", 0o640), ("next.key", 0o604)):
        (folder / name).chmod(mode)
    (tmp_path / "guard/touched/peers.wg0").chmod(0o644)
    os.chown(folder / "psk/identity", 4711, 0)
    (folder / "private.key").rename(folder / "kept")
    (folder / "private.key").symlink_to("/etc/hostname")
    found = exposed(tmp_path)
    assert found is not None
    assert sorted((it.path, it.text) for it in found) == [
        ("/etc/swarmctl/guard/touched/peers.wg0", "has the mode 0644, not 0600"),
        (f"{FOLDER}/.old.key", "has the mode 0644, not 0600"),
        (f"{FOLDER}/next.key", "has the mode 0604, not 0600"),
        (f"{FOLDER}/private.key", "is a symbolic link"),
        (f"{FOLDER}/psk", "has the mode 0755, not 0700"),
        (f"{FOLDER}/psk/OWN/PEER", "has the mode 0640, not 0600"),
        (f"{FOLDER}/psk/identity", "belongs to the user 4711, not to root"),
    ]
    before = Path("/etc/hostname").stat().st_mode
    subprocess.run(["sh", "-eu", "-c", f"key={folder}/private.key\n{key_files.CLOSE}"], check=True)
    left = exposed(tmp_path)
    assert left is not None
    assert {it.path for it in left} == {f"{FOLDER}/private.key", "/etc/swarmctl/guard/touched/peers.wg0"}
    assert Path("/etc/hostname").stat().st_mode == before


def test_a_find_that_cannot_print_tells_nothing() -> None:
    assert reading._exposed("") is None
    assert reading._exposed("755\t0\td\t/etc/swarmctl/mesh\nnonsense\n999\t0\tf\t/etc/swarmctl/mesh/x\n") == ()


def test_what_others_can_read_beside_the_key_is_drift_and_apply_closes_it() -> None:
    open_ = (
        Exposed(f"{FOLDER}/psk/OWN/PEER", "0644", 0, "f"),
        Exposed(FOLDER, "0755", 0, "d"),
        Exposed(KEY_PATH, "0600", 33, "f"),
        Exposed("/etc/swarmctl/mesh/another/private.key", "0644", 0, "f"),
        Exposed("/etc/swarmctl/guard", "0755", 0, "d"),
    )
    hosts = FakeHosts(replace(present(), exposed=open_))
    seen = INTERFACE.read(hosts, INPUTS)
    assert seen is not None
    assert seen.inputs["exposed"] == ["psk/OWN/PEER 0644", "its folder 0755", "private.key 0600 of the user 33"]
    (effect,) = INTERFACE.effects(seen.inputs, INPUTS)
    assert "beside the key others can read psk/OWN/PEER 0644, its folder 0755" in effect.text
    INTERFACE.update(hosts, seen.inputs, INPUTS)
    assert key_files.CLOSE in hosts.host.scripts[-1]
    assert "private-key" not in hosts.host.scripts[-1]
    closed = INTERFACE.read(FakeHosts(replace(present(), exposed=())), INPUTS)
    assert closed is not None
    assert INTERFACE.diff(closed.inputs, INPUTS) == []
