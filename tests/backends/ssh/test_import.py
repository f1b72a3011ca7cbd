"""Facts and `import host` from a real sshd."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
import yaml

from swarmctl import cli
from swarmctl.backends.ssh import transport as transports
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.first import host_key
from swarmctl.backends.ssh.transport import Transport
from swarmctl.errors import SwarmError
from swarmctl.hosts import public_keys
from swarmctl.operations.facts_reading import read
from tests.declarations.stacks import BASE

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


def test_what_is_written_is_valid_beside_a_stack_with_defaults_and_without(
    server: Server, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    target, base = f"worker@127.0.0.1:{server.port}", ["--key", str(server.key), "--host-key", server.host_key]
    certify = ["ssh-keygen", "-q", "-s", str(server.folder / "authority"), "-I", "t", "-n", "worker"]
    subprocess.run([*certify, f"{server.key}.pub"], check=True)
    certificate = f"{server.key}-cert.pub"
    for folder, cluster, defaults in (("with", "core", "{cluster: core, region: eu}"), ("without", "main", "{}")):
        (tmp_path / folder).mkdir()
        stack = BASE["Stack"].replace(BASE["Stack"].partition("spec:")[2], f" {{defaults: {defaults}}}\n")
        (tmp_path / folder / "stack.yaml").write_text(stack)
        for kind in ("Cluster", "Mesh", "SecurityPolicy"):
            text = BASE[kind].replace("{name: core}", f"{{name: {cluster}}}")
            (tmp_path / folder / f"{kind}.yaml").write_text(text)
        args = ["import", "host", target, *base, "--name", "n1", "--write", folder, "--certificate", certificate]
        assert cli.run(args) == 0
        text = (tmp_path / folder / "n1.yaml").read_text()
        assert f"certificate: '{certificate}'\n" in text.replace('"', "'"), text
        assert ("cluster: main  # the only one" in text, "region: default  # " in text) == (folder == "without",) * 2
        assert cli.run(["-C", folder, "validate"]) == 0, capsys.readouterr()
    assert cli.run(["import", "host", target, *base, "--name", "n2", "--cluster", "a", "--region", "b"]) == 0
    assert "\n  cluster: a\n  region: b\n" in capsys.readouterr().out
    assert cli.run(["import", "host", target, "--host-key", server.host_key, "--certificate", certificate]) == 2


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
    assert "    jump:\n      address: 127.0.0.1\n      user: worker\n" in capsys.readouterr().out

    args[args.index(jump)] = f"{jump},root@inner.test:{server.port}"
    assert cli.run(args) == 0
    (pool,) = yaml.safe_load_all(capsys.readouterr().out)
    near = pool["spec"]["ssh"]["jump"]
    assert (near["address"], near["jump"]["address"], near["jump"]["user"]) == ("inner.test", "127.0.0.1", "worker")
    assert "user" not in near, "the machine's"
    assert cli.run([*args[:4], ",".join([jump] * 3), *args[5:]]) == 2
    assert "at most two jump hosts" in capsys.readouterr().err


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
