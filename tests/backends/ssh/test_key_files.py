"""Files of keys that can't be used to log in with: each with its reason, and nothing is left open."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.ssh import keys
from swarmctl.backends.ssh.errors import HostRefused

READERS = {"the private key": keys._private, "the public key": keys._public, "the certificate": keys._certificate}


def refused(read: Callable[[str], Any], path: str) -> str:
    with pytest.raises(HostRefused) as raised:
        read(path)
    return raised.value.message


@pytest.mark.parametrize("what", READERS)
def test_each_says_why_it_is_not_read(what: str, tmp_path: Path) -> None:
    read = READERS[what]
    assert refused(read, "~nosuchuser/key") == f"{what} ~nosuchuser/key can't be read: no such home folder"
    assert refused(read, str(tmp_path)) == f"{what} {tmp_path} can't be read: it is a folder"
    missing = tmp_path / "none"
    assert refused(read, str(missing)) == f"{what} {missing} can't be read: No such file or directory"


def test_what_is_no_key_is_not_said_to_be_unreadable(tmp_path: Path) -> None:
    (other := tmp_path / "other.pub").write_text("laptop\n")
    assert refused(keys._public, str(other)) == f"{other} is no public key"


def test_a_folder_is_not_left_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        refused(keys._private, str(tmp_path))
    assert len(os.listdir("/proc/self/fd")) == before
