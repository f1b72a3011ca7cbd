"""What a node sees of this machine's file system."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from swarmctl.backends.lab import layout


def test_what_ordinary_users_may_not_read_is_private(tmp_path: Path) -> None:
    for name, mode in (("open", 0o644), ("secret", 0o600), ("group", 0o640), ("d/in", 0o644), ("d/deep", 0o400)):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("x")
        path.chmod(mode)
    (tmp_path / "closed").mkdir(mode=0o700)
    (tmp_path / "closed" / "in").write_text("x")
    (tmp_path / "link").symlink_to("/etc/shadow")
    os.mkfifo(tmp_path / "pipe")
    found = set(layout.private(str(tmp_path)))
    assert found >= {"secret", "group", "d/deep", "closed", "pipe", "machine-id", "hosts"}
    assert not found & {"open", "d", "d/in", "link", "closed/in"}


def test_only_system_folders_of_this_machine_are_in_a_node() -> None:
    for overlay in (True, False):
        found = layout.mounts(Path("/x"), overlay=overlay, hidden=[], wireguard=None)
        sources = {mount["source"].split("/")[1] for mount in found if "source" in mount}
        assert sources <= {*layout.SYSTEM, "etc", "var"}
        assert "/var" not in {mount.get("source") for mount in found}


def test_our_own_folders_are_hidden_where_they_stand_in_a_system_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os.path, "isdir", lambda path: True)
    hidden = [Path("/usr/src/checkout"), Path("/home/me/checkout"), Path("/usr")]
    found = layout.mounts(Path("/x"), overlay=False, hidden=hidden, wireguard=None)
    assert [mount["target"] for mount in found if mount["kind"] == "hide"] == ["usr/src/checkout"]


def test_a_comma_in_the_path_of_the_data_folder_is_no_option_of_the_mount() -> None:
    found = layout.mounts(Path("/x,y\\z"), overlay=True, hidden=[], wireguard=None)
    assert found[0]["upper"] == "/x\\,y\\\\z/upper/usr"


def test_accounts_in_a_node_have_no_passwords(tmp_path: Path) -> None:
    layout.prepare(tmp_path, overlay=False)
    shadow = (tmp_path / "tree/etc/shadow").read_text().splitlines()
    assert shadow
    assert all(line.split(":")[1] == "*" for line in shadow)
    assert (tmp_path / "tree/tmp").stat().st_mode & 0o7777 == 0o1777
    assert not (tmp_path / "tree/etc/machine-id").exists()


def test_preparing_again_after_a_crash_in_the_middle_works(tmp_path: Path) -> None:
    layout.prepare(tmp_path, overlay=False)
    layout.prepare(tmp_path, overlay=False)
    assert (tmp_path / "tree/etc/passwd").read_bytes() == Path("/etc/passwd").read_bytes()
