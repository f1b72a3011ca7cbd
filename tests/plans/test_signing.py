"""Keys: an open one is read, all others are OpenSSH's own business; one that others can read is none."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from swarmctl.errors import SwarmError
from swarmctl.plans import signing, sshsig

MESSAGE = b"{}"
pytestmark = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH makes the keys")


def make(folder: Path, name: str, *, passphrase: str = "", sort: str = "ed25519") -> Path:
    file = folder / name
    # One round of the function that turns the passphrase into a key: it is made to be slow.
    command = ["ssh-keygen", "-q", "-t", sort, "-N", passphrase, "-a", "1", "-C", "", "-f", file]
    subprocess.run(command, check=True)
    return file


def blob(key: Path) -> bytes:
    return sshsig.public_blob(key.with_name(key.name + ".pub").read_text())


def test_an_open_key_signs(tmp_path: Path) -> None:
    key = make(tmp_path, "open")
    assert sshsig.verify(signing.with_key(key)(MESSAGE), MESSAGE) == blob(key)


def test_an_encrypted_key_is_opened_by_openssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make(tmp_path, "locked", passphrase="open sesame")
    asker = tmp_path / "ask"
    asker.write_text("#!/bin/sh\necho open sesame\n")
    asker.chmod(0o700)
    monkeypatch.setenv("SSH_ASKPASS", str(asker))
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    assert sshsig.verify(signing.with_key(key)(MESSAGE), MESSAGE) == blob(key)


def test_a_passphrase_that_is_not_given_is_a_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key = make(tmp_path, "locked", passphrase="open sesame")
    monkeypatch.setenv("SSH_ASKPASS", "/bin/false")
    monkeypatch.setenv("SSH_ASKPASS_REQUIRE", "force")
    with pytest.raises(SwarmError, match=r"ssh-keygen did not sign with .*locked \(exit code 255\)"):
        signing.with_key(key)(MESSAGE)


@pytest.fixture
def agent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    socket = tmp_path / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.PIPE)
    assert process.stdout
    process.stdout.readline()  # it listens
    monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
    yield
    process.terminate()
    process.communicate()


@pytest.mark.skipif(not shutil.which("ssh-agent"), reason="there is no ssh-agent")
def test_a_key_in_an_agent_is_named_by_its_public_half(tmp_path: Path, agent: None) -> None:
    key = make(tmp_path, "held")
    subprocess.run(["ssh-add", "-q", key], check=True)
    expected = blob(key)
    key.unlink()
    assert sshsig.verify(signing.with_key(tmp_path / "held.pub")(MESSAGE), MESSAGE) == expected


def test_openssh_gets_none_of_the_secrets_in_our_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGISTRY_TOKEN", "canary")
    monkeypatch.setenv("SSH_AUTH_SOCK", "/run/agent")
    passed = signing._environment(os.environ)
    assert "REGISTRY_TOKEN" not in passed
    assert passed["SSH_AUTH_SOCK"] == "/run/agent"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_key_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    key = make(tmp_path, "open")
    key.chmod(mode)
    with pytest.raises(SwarmError, match=rf"can be read by others \(mode {mode:04o}\)"):
        signing.with_key(key)(MESSAGE)


def test_another_sort_of_key_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SwarmError, match="not of Ed25519"):
        signing.with_key(make(tmp_path, "ecdsa", sort="ecdsa"))(MESSAGE)


@pytest.mark.parametrize("what", ["missing", "folder"])
def test_what_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(SwarmError, match="signing key"):
        signing.with_key(tmp_path / what)(MESSAGE)


def test_the_local_key_is_made_once_for_the_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing"
    assert signing.local_public_key(path) == ""
    first = signing.with_local_key(path)(MESSAGE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert signing.with_local_key(path)(MESSAGE) == first, "the key is the same, and Ed25519 has no dice"
    assert sshsig.verify(first, MESSAGE) == sshsig.public_blob(signing.local_public_key(path))


def test_of_many_that_make_the_local_key_at_once_one_wins(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing"
    with ThreadPoolExecutor(8) as pool:
        signatures = set(pool.map(lambda _: signing.with_local_key(path)(MESSAGE), range(16)))
    assert len(signatures) == 1
    assert [it.name for it in path.parent.iterdir()] == ["signing"]


def test_a_local_key_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> bytes:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(signing.durable, "create", full)
    with pytest.raises(SwarmError, match=r"^cannot write the signing key .*/signing: No space left on device$"):
        signing.make_local_key(tmp_path / "signing")
