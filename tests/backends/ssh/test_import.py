"""Facts and `import host` from a real sshd."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest

from swarmctl import cli
from swarmctl.backends.ssh import transport as transports
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.first import host_key
from swarmctl.backends.ssh.transport import Transport
from swarmctl.errors import SwarmError
from swarmctl.hosts import public_keys
from swarmctl.operations.facts_reading import read

from .servers import Server, keygen

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def _own(transport: Transport, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(transports, "shared", lambda: transport)
    monkeypatch.setattr("swarmctl.backends.ssh.host.transport.shared", lambda: transport)
    monkeypatch.setattr("sys.stdin", io.StringIO())
    monkeypatch.chdir(tmp_path)


def logins(server: Server) -> int:
    return (server.folder / "log").read_text().count("Accepted ")


@pytest.mark.parametrize("user", ["root", "worker"])
def test_facts_are_read_as_root_whoever_logs_in(server: Server, user: str) -> None:
    from swarmctl.backends import open_host

    found = read(open_host({**server.host(user), "stack": ""}))
    here = subprocess.run(["uname", "-r"], capture_output=True, text=True, check=True).stdout.strip()
    assert found.kernel == here
    assert found.os.id == "debian"
    assert found.memory.total is not None


def test_a_machine_becomes_a_declaration(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    target = f"worker@127.0.0.1:{server.port}"
    print_ = public_keys.fingerprint(server.host_key)
    assert cli.run(["import", "host", target, "--key", str(server.key), "--fingerprint", print_, "--name", "n1"]) == 0
    out = capsys.readouterr().out
    assert f"{{name: n1, address: 127.0.0.1, hostKeys: [{server.host_key}]}}" in out
    assert f"port: {server.port}" in out


def test_through_a_jump_host_both_keys_are_compared(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    jump, key = f"worker@127.0.0.1:{server.port}", str(server.key)
    args = [
        "import",
        "host",
        f"root@inner.test:{server.port}",
        "--jump",
        jump,
        "--key",
        key,
        "--host-key",
        server.host_key,
    ]
    assert cli.run(args) == 0
    assert "jump: {address: 127.0.0.1, user: worker" in capsys.readouterr().out


def test_another_host_key_is_never_logged_in_to(
    server: Server, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other, before = keygen(tmp_path / "other"), logins(server)
    args = ["import", "host", f"root@127.0.0.1:{server.port}", "--key", str(server.key), "--host-key", other]
    assert cli.run(args) == 1
    err = capsys.readouterr().err
    assert "shows another host key than the ones that were given" in err
    assert public_keys.fingerprint(server.host_key) in err
    assert logins(server) == before


def test_the_first_look_shows_the_key_and_fails_in_words(server: Server) -> None:
    assert host_key("n1", Address("127.0.0.1", "root", (), server.port)) == server.host_key
    with pytest.raises(SwarmError, match="refuses connections"):
        host_key("n1", Address("127.0.0.1", "root", (), 1))
