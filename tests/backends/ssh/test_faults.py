"""Each way in which a machine can fail is one error that says what it is and how to mend it."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmctl.backends.base import CommandFailed, HostUnreachable
from swarmctl.backends.ssh import answers, files, shell
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.session import Outcome
from swarmctl.backends.ssh.transport import Transport
from swarmctl.errors import SwarmError

from .servers import Server, free_port, keygen

pytestmark = pytest.mark.integration
Machine = Callable[..., SshHost]


def refused(host: SshHost) -> SwarmError:
    with pytest.raises(HostUnreachable) as raised:
        host.run(["true"])
    assert raised.value.hint
    assert "\n" not in raised.value.message
    return raised.value


def refused_to(host: SshHost, argv: list[str]) -> SwarmError:
    with pytest.raises(HostRefused) as raised:
        host.run(argv, stdin=b"touch /tmp/left\n" * 60)
    return raised.value


def test_nothing_listens(machine: Machine) -> None:
    error = refused(machine(port=free_port()))
    assert "refuses connections to port" in error.message
    assert error.transient


def test_a_machine_that_is_silent(server: Server, transport: Transport) -> None:
    transport.patience = 0.5
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = SshHost(server.host(port=silent.getsockname()[1]), None, transport)
        assert "did not answer within 0.5 s" in refused(host).message


def test_something_else_listens(server: Server, transport: Transport) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:

        def answer() -> None:
            connection, _ = other.accept()
            connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 2000)
            connection.close()

        threading.Thread(target=answer, daemon=True).start()
        refused(SshHost(server.host(port=other.getsockname()[1]), None, transport))


def test_a_host_key_that_is_not_pinned(machine: Machine, server: Server, tmp_path: Path) -> None:
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", "-"], input=server.host_key, text=True, capture_output=True, check=True
    )
    fingerprint = shown.stdout.split()[1]
    changed = refused(machine(hostKeys=[keygen(tmp_path / "other")]))
    assert f"shows another host key than the declared: ssh-ed25519 {fingerprint}" in changed.message
    assert isinstance(changed, HostRefused)
    unknown = refused(machine(hostKeys=[]))
    assert f"no host key is pinned; it shows ssh-ed25519 {fingerprint}" in unknown.message
    kind = refused(machine(hostKeys=[keygen(tmp_path / "rsa", kind="rsa")]))
    assert f"another host key than the declared: ssh-ed25519 {fingerprint}" in kind.message
    assert "no public key" in refused(machine(hostKeys=["nonsense"])).message


def test_keys_that_do_not_let_in(machine: Machine, server: Server, tmp_path: Path) -> None:
    keygen(tmp_path / "wrong")
    error = refused(machine(key=str(tmp_path / "wrong")))
    assert f"does not let root in with {tmp_path / 'wrong'}" in error.message
    assert not error.transient
    assert "would take a password" in refused(machine("typed")).message
    assert "can't be read: No such file" in refused(machine(key=str(tmp_path / "none"))).message
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it
    assert "can't be read: it is no regular file" in refused(machine(key=str(tmp_path / "pipe"))).message
    assert "can't be read" in refused(machine(certificate=str(tmp_path / "pipe"))).message
    keygen(tmp_path / "locked", passphrase="secret words")
    assert "ssh-add" in refused(machine(key=str(tmp_path / "locked"))).hint
    (tmp_path / "wrong").chmod(0o644)
    assert "can be read by others" in refused(machine(key=str(tmp_path / "wrong"))).message


def test_sudo(machine: Machine) -> None:
    assert "sudo asks asking for a password" in refused(machine("asking")).message
    machine().run(["mv", "/usr/bin/sudo", "/usr/bin/sudo.away"])
    try:
        assert "plain is not root there, and there is no sudo" in refused(machine("plain")).message
    finally:
        machine().run(["mv", "/usr/bin/sudo.away", "/usr/bin/sudo"])


def test_sudo_that_wants_a_terminal(machine: Machine) -> None:
    machine().put("/etc/sudoers.d/terminal", b"Defaults:worker requiretty\n", mode=0o440)
    try:
        error = refused(machine("worker"))
        assert "sudo wants worker to have a terminal (requiretty)" in error.message
        (line,) = [part for part in error.hint.split("`") if part.startswith("Defaults")]
        machine().put("/etc/sudoers.d/until", f"{line}\n".encode(), mode=0o440)
        assert machine("worker").run(["id", "-u"]).text == "0\n"
    finally:
        machine().run(["rm", "-f", "/etc/sudoers.d/terminal", "/etc/sudoers.d/until"])


def test_a_login_shell_that_runs_nothing(machine: Machine) -> None:
    machine().run(["sed", "-i", "s,^plain:.*,plain:x:5003:5003::/:/usr/sbin/nologin,", "/etc/passwd"])
    try:
        assert "the login shell of plain ran no command (status 1): This account" in refused(machine("plain")).message
    finally:
        machine().run(["sed", "-i", "s,/usr/sbin/nologin$,/bin/sh,", "/etc/passwd"])


def test_a_connection_that_is_cut(machine: Machine, server: Server) -> None:
    host, errors = machine(), []

    def run() -> None:
        try:
            host.run(["sh", "-c", "touch /srv/began; sleep 8765"], timeout=20)
        except SwarmError as error:
            errors.append(error)

    running = threading.Thread(target=run)
    running.start()
    while machine("worker").get("/srv/began") is None:
        time.sleep(0.05)
    server.cut()
    running.join(10)
    assert [error.message for error in errors] == [
        "m1: the connection was cut while sh ran there; whether it came to its end is not known"
    ]
    assert errors[0].transient
    host.remove("/srv/began")  # by a new connection


def test_what_is_cut_off_is_never_taken_for_whole(machine: Machine, server: Server, transport: Transport) -> None:
    host = machine()
    host.put("/srv/whole", b"before")

    def say(script: bytes, sent: bytes) -> Outcome:
        about = server.host()
        line = shell.by_stdin(script, "nonce")
        return transport.run("m1", Address.load(about), line, sent, timeout=10, limit=1 << 20)

    writing = shell.script(files.put("/srv/whole", 0o644, 8), "nonce", None, sudo=False)
    assert b"did not arrive whole" in say(writing, writing + b"half").stderr
    assert host.get("/srv/whole") == b"before"
    taking = shell.script(["tee", "/srv/whole"], "nonce", 8, sudo=False)
    assert shell.refusal(say(taking, taking + b"half").stderr, "nonce") == shell.SHORT
    assert say(taking, taking + b"all of it"[:8]).returncode == 0
    assert host.get("/srv/whole") == b"all of i"
    removing = shell.script(["rm", "-r", "/srv/whole", "/srv/none"], "nonce", None, sudo=False)
    for length in range(1, len(removing), 37):
        assert say(removing, removing[:length]).returncode
    assert say(removing, removing[:-1]).returncode
    assert host.get("/srv/whole") == b"all of i"
    assert host.run(["sh", "-c", "ls -A /run | grep swarmctl[.]"], check=False).text == ""
    host.remove("/srv/whole")


def test_input_that_finds_no_room(machine: Machine) -> None:
    with pytest.raises(CommandFailed, match="m1: tee was not begun: no room for its input in /run"):
        machine().run(["tee", "/srv/never"], stdin=b"x" * (5 << 20))
    assert machine().get("/srv/never") is None
    assert machine().run(["sh", "-c", "ls -A /run | grep swarmctl[.]"], check=False).text == ""


@pytest.fixture
def shell_of_plain(machine: Machine) -> Iterator[Callable[[str], SshHost]]:
    """Gives the user `plain` another login shell."""
    root = machine()

    def become(script: str) -> SshHost:
        root.put("/srv/login", f"#!/bin/sh\n{script}\n".encode(), mode=0o755)
        root.run(["sed", "-i", "/^plain:/s#[^:]*$#/srv/login#", "/etc/passwd"])
        return machine("plain")

    yield become
    root.run(["sed", "-i", "/^plain:/s#[^:]*$#/bin/sh#", "/etc/passwd"])


@pytest.mark.parametrize(
    ("prints", "told"),
    [
        ("exec yes", "the login shell of plain printed more than 20 MiB and began no command"),
        ("while :; do echo x; sleep 0.1; done", "the login shell of plain did not begin true within 1 s"),
        ("exec sleep 60", "the login shell of plain did not begin true within 1 s"),
        ("head -c 200000 /dev/urandom; exit 3", "the login shell of plain ran no command (status 3): "),
        ("printf '\\033]0;own\\007\\033[2Jred\\302\\233\\342\\200\\256' >&2; exit 5", "ran no command (status 5)"),
        ("head -c 30000000 /dev/zero | tr '\\0' A >&2; exit 9", "printed more than 20 MiB"),
        ("kill -9 $$", "the login shell of plain ran no command (status 137)"),
        ("read x; exec /bin/sh \"$@\"", "the profile of plain reads standard input, which is the command's"),
        ("head -c 90 >/dev/null; exec /bin/sh \"$@\"", "the profile of plain reads standard input"),
        ("cat >/dev/null; exec /bin/sh \"$@\"", "the profile of plain reads standard input"),
    ],
)  # fmt: skip
def test_whatever_a_login_shell_does_instead_is_told_in_one_line_and_in_time(
    shell_of_plain: Callable[[str], SshHost],
    monkeypatch: pytest.MonkeyPatch,
    prints: str,
    told: str,
) -> None:
    monkeypatch.setattr(answers, "BEGINS", 1.0)
    host, begun = shell_of_plain(prints), time.monotonic()
    said = refused(host)
    assert isinstance(said, HostRefused)
    assert told in said.message
    assert said.message.isprintable()
    assert len(said.message) < 700
    assert time.monotonic() - begun < 15
    assert not said.transient, "it will do so again"
    assert "profile" in f"{said.message} {said.hint}"


def test_a_login_shell_that_hangs_is_waited_for_once(
    shell_of_plain: Callable[[str], SshHost], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "BEGINS", 2.0)
    host = shell_of_plain("exec sleep 60")
    assert "did not begin true within 2 s" in refused(host).message
    begun = time.monotonic()
    for program in ("id", "cat"):
        assert f"did not begin {program} within 2 s" in refused_to(host, [program]).message
    assert time.monotonic() - begun < 1.5
    (link,) = (it for it in host._transport._links.values() if it.stuck)
    assert link.stuck is not None
    link.stuck = (0.0, link.stuck[1])  # later
    assert "sudo asks plain" in refused(shell_of_plain('exec /bin/sh "$@"')).message
    assert link.stuck is None


def test_nothing_is_run_of_what_a_profile_that_reads_has_left(
    shell_of_plain: Callable[[str], SshHost], machine: Machine
) -> None:
    """However much it reads: what is left of a script, whose arguments may be shell's words, is no script."""
    root = machine()
    for length in range(1, 700, 23):
        host = shell_of_plain(f'head -c {length} >/dev/null; exec /bin/sh "$@"')
        assert (
            "reads standard input" in refused_to(host, ["true", "; touch /tmp/left; '", "\ntouch /tmp/left\n"]).message
        )
    assert root.get("/tmp/left") is None


def test_a_command_that_prints_without_end_is_given_up(machine: Machine) -> None:
    begun = time.monotonic()
    with pytest.raises(CommandFailed, match="m1: sh was given up: it printed more than 20 MiB"):
        machine().run(["sh", "-c", "echo $$ >/srv/endless; exec yes"], timeout=60)
    assert time.monotonic() - begun < 20
    ended = ["sh", "-c", "i=0; while [ -e /proc/$(cat /srv/endless) ]; do i=$((i+1)); [ $i -lt 50 ]; sleep 0.1; done"]
    machine().run(["timeout", "10", *ended])


def test_a_connection_that_died_unnoticed_is_made_anew(machine: Machine, server: Server) -> None:
    host = machine()
    host.run(["true"])
    server.cut()
    time.sleep(0.2)
    assert host.run(["echo", "again"]).text == "again\n"


@pytest.fixture
def agent(server: Server, tmp_path: Path) -> Iterator[str]:
    path = str(tmp_path / "agent")
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    while not Path(path).exists():
        time.sleep(0.02)
    try:
        yield path
    finally:
        process.kill()
        process.wait()


def test_an_agent(
    machine: Machine, server: Server, agent: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "there is no SSH agent" in refused(machine(key="")).message
    assert "does not answer" in refused(machine(key="", agent=str(tmp_path / "none"))).message
    assert "has no key" in refused(machine(key="", agent=agent)).message
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    others = [tmp_path / f"other{number}" for number in range(7)]
    for other in others:
        keygen(other)
    subprocess.run(["ssh-add", "-q", *map(str, others), str(server.key)], check=True)
    # More keys than a server lets anybody try: the declared public key picks the one.
    assert machine("worker", key=f"{server.key}.pub").run(["id", "-u"]).text == "0\n"
    subprocess.run(["ssh-add", "-q", "-d", str(server.key)], check=True)
    assert "does not have the key" in refused(machine(key=f"{server.key}.pub")).message


def test_a_certificate(machine: Machine, server: Server, tmp_path: Path) -> None:
    key, authority = tmp_path / "own", str(server.folder / "authority")
    keygen(key)
    certify = ["ssh-keygen", "-q", "-s", authority, "-I", "test", "-n", "root", f"{key}.pub"]
    subprocess.run(certify, check=True)
    signed = str(tmp_path / "own-cert.pub")
    assert "does not let root in" in refused(machine(key=str(key))).message
    assert machine(key=str(key), certificate=signed).run(["id", "-u"]).text == "0\n"
    other = refused(machine("worker", key=str(key), certificate=signed))
    assert f"does not let worker in with the certificate {signed}: it is for root, and not for worker" in other.message
    assert "ssh-keygen -s AUTHORITY -I NAME -n worker" in other.hint
    assert "`user: root`" in other.hint
    assert "is for another key" in refused(machine(certificate=signed)).message


@pytest.mark.parametrize(
    ("options", "why", "mend"),
    [
        (["-n", "root", "-V", "20200101:20200102"], ": it expired on 2020-01-", "-n root -V"),
        (["-n", "root", "-V", "+1d:+2d"], ": it is not valid before 20", "wait until then, or have a new one signed"),
        (["-n", "ops,dev"], ": it is for ops, dev, and not for root", "-n root -V"),
        ([], ": it names nobody that it is for", "-n root -V"),
        (["-h", "-n", "root"], ": it is for servers to show, and not for users", "have a new one signed"),
        (["-n", "root", "-O", "source-address=192.0.2.7/32"], ": it is for connections from 192.0.2.7/32", "signed"),
    ],
    ids=["expired", "not yet", "for others", "for nobody", "a server's", "from elsewhere"],
)
def test_a_certificate_that_is_refused_tells_why_itself(
    machine: Machine, server: Server, tmp_path: Path, options: list[str], why: str, mend: str
) -> None:
    keygen(tmp_path / "own")
    certify = ["ssh-keygen", "-q", "-s", str(server.folder / "authority"), "-I", "test", *options]
    subprocess.run([*certify, str(tmp_path / "own.pub")], check=True)
    signed = str(tmp_path / "own-cert.pub")
    error = refused(machine(key=str(tmp_path / "own"), certificate=signed))
    assert f"does not let root in with the certificate {signed}{why}" in error.message
    assert mend in error.hint
    assert "authorized_keys" not in error.hint


def test_a_certificate_of_an_authority_that_is_not_trusted(machine: Machine, tmp_path: Path) -> None:
    keygen(tmp_path / "own")
    keygen(tmp_path / "stranger")
    certify = ["ssh-keygen", "-q", "-s", str(tmp_path / "stranger"), "-I", "test", "-n", "root"]
    subprocess.run([*certify, str(tmp_path / "own.pub")], check=True)
    error = refused(machine(key=str(tmp_path / "own"), certificate=str(tmp_path / "own-cert.pub")))
    listed = subprocess.run(["ssh-keygen", "-lf", str(tmp_path / "stranger.pub")], capture_output=True, check=True)
    assert listed.stdout.split()[1].decode() in error.hint
    assert "TrustedUserCAKeys" in error.hint


def test_a_jump_host(machine: Machine, server: Server, tmp_path: Path) -> None:
    jump = {name: value for name, value in server.host("worker").items() if name not in ("backend", "node")}
    # A name that only the jump host knows.
    assert "is not known" in refused(machine(address="inner.test")).message
    host = machine(address="inner.test", jump=jump)
    assert host.run(["id", "-u"]).text == "0\n"
    assert "can't be reached from its jump host" in refused(machine(address="127.0.0.1", jump=jump)).message
    behind = {**jump, "address": "inner.test", "user": "root"}
    assert machine(address="inner.test", jump={**behind, "jump": jump}).run(["id", "-u"]).text == "0\n"
    assert "the name inner.test is not known" in refused(machine(address="inner.test", jump=behind)).message
    wrong = {**jump, "hostKeys": [keygen(tmp_path / "other")]}
    error = refused(machine(address="inner.test", jump=wrong))
    assert "m1: its jump host worker@127.0.0.1" in error.message
    assert "another host key" in error.message


def test_the_users_key_is_nowhere_but_in_its_file(machine: Machine, server: Server) -> None:
    machine("worker").run(["true"])
    secret = server.key.read_text().splitlines()[1:-1]
    seen = [Path(f"/proc/{pid}/{what}") for pid in server.children() for what in ("cmdline", "environ")]
    for path in [*seen, Path("/proc/self/cmdline"), Path("/proc/self/environ"), server.folder / "log"]:
        text = path.read_bytes() if path.exists() else b""
        assert not any(line.encode() in text for line in secret)
