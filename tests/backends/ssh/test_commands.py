"""Commands, files and services over a real connection, whatever the login shell prints and sets."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from swarmctl.backends.base import OUTPUT_LIMIT, CommandFailed, Fence, Fenced, ForeignStack, HostUnreachable
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

from .servers import Server

pytestmark = pytest.mark.integration
Machine = Callable[..., SshHost]
AWKWARD = ["", "a b", "'", '"', "$HOME", "`id`", "\\", "\\n", "*", "-n", "!x", "#", "ä", "\n", "\udcff"]


@pytest.mark.parametrize("user", ["root", "worker"])
def test_a_command_is_root_in_a_clean_environment(machine: Machine, user: str) -> None:
    done = machine(user).run(
        ["sh", "-c", "id -u; pwd; umask; echo ${LC_ALL-} ${LANG-none} ${POSIXLY_CORRECT-none}; cd /no"], check=False
    )
    assert done.text.splitlines() == ["0", "/", "0022", "C none none"]
    assert b"can't cd to /no" in done.stderr
    assert b"gr" not in done.stderr


def test_arguments_and_input_arrive_as_they_are(machine: Machine) -> None:
    done = machine("worker").run(["printf", "%s\\0", *AWKWARD])
    assert done.stdout.decode("utf-8", "surrogateescape").split("\0")[:-1] == AWKWARD
    data = bytes(range(256)) * 4096
    assert machine().run(["cat"], stdin=data).stdout == data
    assert machine().run(["cat"]).stdout == b""
    many = ["x" * 1000] * 1500
    assert machine().run(["sh", "-c", "echo $#", "sh", *many]).text == "1500\n"


def test_statuses_are_the_commands_own(machine: Machine) -> None:
    host = machine()
    assert host.run(["sh", "-c", "exit 77"], check=False).returncode == 77
    assert host.run(["no-such-program"], check=False).returncode == 127
    assert host.run(["/etc/passwd"], check=False).returncode == 126
    assert host.run(["sh", "-c", "kill -TERM $$"], check=False).returncode == 128 + 15
    with pytest.raises(CommandFailed, match="m1: sh ended with status 3: what is wrong"):
        host.run(["sh", "-c", "echo what is wrong >&2; exit 3"])


def test_output_is_bounded_and_a_child_that_stays_holds_nothing_up(machine: Machine) -> None:
    done = machine().run(["head", "-c", str(OUTPUT_LIMIT + 1), "/dev/zero"])
    assert len(done.stdout) == OUTPUT_LIMIT
    assert done.stderr == f"\n[stdout cut off after {OUTPUT_LIMIT} bytes]\n".encode()
    before = time.monotonic()
    assert machine().run(["sh", "-c", "sleep 20 & echo there"]).text == "there\n"
    assert time.monotonic() - before < 10


def test_a_command_that_takes_too_long_is_ended_on_the_machine(machine: Machine) -> None:
    host = machine("worker")
    with pytest.raises(HostUnreachable, match="m1: sleep did not end within 1 s"):
        host.run(["sleep", "4321"], timeout=1)
    assert host.run(["pgrep", "-f", "^sleep 4321"], check=False).returncode == 1


def test_files(machine: Machine) -> None:
    host = machine("worker")
    host.put("/srv/deep/er/file", b"one\0", mode=0o600)
    host.put("/srv/deep/er/file", b"two\0", mode=0o4750)
    assert host.get("/srv/deep/er/file") == b"two\0"
    assert host.run(["stat", "-c", "%a %U", "/srv/deep/er", "/srv/deep/er/file"]).text == "755 root\n4750 root\n"
    assert host.run(["ls", "-A", "/srv/deep/er"]).text == "file\n"
    assert host.get("/srv/deep/none") is None
    assert host.get("/srv/deep/er/file/below") is None
    for action in (lambda: host.put("/srv/deep", b""), lambda: host.get("/srv/deep")):
        with pytest.raises(CommandFailed, match="/srv/deep is"):
            action()
    host.remove("/srv/deep")
    host.remove("/srv/deep")
    assert host.get("/srv/deep/er/file") is None
    with pytest.raises(ValueError, match="root of a machine"):
        host.remove("//")


def test_a_full_disk_leaves_the_file_as_it_was(machine: Machine) -> None:
    host = machine()
    host.put("/small/file", b"before")
    with pytest.raises(CommandFailed, match=r"writing /small/file .* No space left on device") as raised:
        host.put("/small/file", b"x" * (1 << 18))
    assert raised.value.hint == "free some space on m1"
    assert host.get("/small/file") == b"before"
    assert host.run(["ls", "-A", "/small"]).text == "file\n"


@pytest.mark.parametrize("user", ["root", "worker"])
def test_services_without_systemd(machine: Machine, user: str) -> None:
    host, name = machine(user), f"one.{user}"
    host.start_service(name, ["sh", "-c", "echo begun; exec sleep 5432"])
    (first,) = host.services()
    assert first.running
    assert host.run(["ps", "-o", "sid=", "-p", str(first.pid)]).text.split() == [str(first.pid)]
    host.start_service(name, ["sh", "-c", "echo begun; exec sleep 5432"])
    assert host.services() == [first]
    host.start_service(name, ["sh", "-c", "echo anew; trap '' TERM; while :; do sleep 1; done"])
    (second,) = host.services()
    assert second.pid != first.pid
    assert list(host.logs(tail=1)) == [(name, "anew")]
    host.run(["kill", "-KILL", str(second.pid)])
    assert [it.running for it in host.services()] == [False]
    host.stop_service(name)
    host.stop_service(name)
    assert host.services() == []
    with pytest.raises(CommandFailed, match=r"starting two .* no-such-program: no such program"):
        host.start_service("two", ["no-such-program"])
    assert host.services() == []
    host.remove(f"/var/log/swarmctl/{name}.log")


def test_a_service_that_ignores_the_end_is_made_to(machine: Machine) -> None:
    host = machine()
    host.start_service("deaf", ["sh", "-c", "trap '' TERM; while :; do sleep 0.2; done"])
    host.stop_service("deaf")
    assert host.services() == []


def test_an_older_run_changes_nothing_by_any_call(machine: Machine) -> None:
    new, old = (machine("worker", Fence("trial", token, "ann@laptop")) for token in (2, 1))
    new.put("/srv/fenced", b"new")
    calls: list[Callable[[], object]] = [
        lambda: old.run(["touch", "/srv/touched"]),
        lambda: old.put("/srv/fenced", b"old"),
        lambda: old.remove("/srv/fenced"),
        lambda: old.start_service("fenced", ["sleep", "1"]),
        lambda: old.stop_service("fenced"),
    ]
    for call in calls:
        with pytest.raises(Fenced, match=r"newer run \(ann@laptop, token 2\)"):
            call()
    with pytest.raises(ForeignStack, match="belongs to the stack trial"):
        machine("root", Fence("other", 99, "bob@desk")).run(["true"])
    assert new.get("/srv/fenced") == b"new"
    assert new.get("/srv/touched") is None
    new.remove("/var/lib/swarmctl")


def test_a_newer_run_waits_for_what_the_older_has_begun(machine: Machine) -> None:
    old, new = (machine("root", Fence("trial", token, "ann@laptop")) for token in (1, 2))
    slow = threading.Thread(
        target=old.run, args=(["sh", "-c", "echo begin >>/srv/order; sleep 1; echo end >>/srv/order"],)
    )
    slow.start()
    while machine().get("/srv/order") is None:
        time.sleep(0.05)
    new.run(["sh", "-c", "echo new >>/srv/order"])
    slow.join()
    assert machine().get("/srv/order") == b"begin\nend\nnew\n"
    for path in ("/srv/order", "/var/lib/swarmctl"):
        machine().remove(path)


def test_many_threads_share_one_connection(machine: Machine, server: Server, transport: Transport) -> None:
    host = machine()
    with ThreadPoolExecutor(30) as threads:
        found = list(threads.map(lambda number: host.run(["echo", str(number)]).text, range(60)))
    assert found == [f"{number}\n" for number in range(60)]
    assert len(transport._links) == 1
    text = (server.folder / "log").read_text(errors="replace")
    assert "no more sessions" not in text
