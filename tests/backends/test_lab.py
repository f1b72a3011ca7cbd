"""The life of lab nodes, with real namespaces."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import subprocess
import sys
import termios
import time
from pathlib import Path
from typing import Any

import pytest

from swarmctl import paths
from swarmctl.backends.base import CommandFailed, Host, HostGone, HostUnreachable, Placement
from swarmctl.backends.lab import cgroups, fabric, marks, modes, network
from swarmctl.backends.lab import host as lab_host
from swarmctl.backends.lab.cgroups import CannotLimit
from swarmctl.backends.lab.launch import LabBroken

from . import labs

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.integration


def text(host: Host, *argv: str) -> str:
    return host.run(argv).text.strip()


def test_nodes_of_two_regions_reach_each_other_and_leave_nothing(lab: None) -> None:
    placements = labs.place(labs.pool("a", 5, "eu"), labs.pool("b", 4, "us"))
    labs.create(placements)
    assert labs.backend.machines(labs.STACK) == sorted(placement.name for placement in placements)
    for placement in placements:
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
    first, same, other = placements[0], placements[1], placements[-1]
    hosts = labs.host(first)
    for target in (same, other):
        hosts.run(["ping", "-c1", "-W2", target.underlay[0]])
    assert text(hosts, "hostname") == first.name
    assert text(hosts, "cat", "/etc/hostname") == first.name
    for placement in placements:
        labs.host(placement).start_service("one", ["sleep", "7654"])
    running = [found for placement in placements if (found := labs.service(placement)) is not None]
    assert len(running) == len(placements)
    holders = labs.holders()
    labs.delete(placements[:4])
    assert labs.backend.machines(labs.STACK) == sorted(placement.name for placement in placements[4:])
    hosts = labs.host(placements[4])
    hosts.run(["ping", "-c1", "-W2", other.underlay[0]])
    labs.delete(placements[4:])
    assert not labs.left_behind()
    assert not [process for process in (*running, *holders) if process.alive()]


def test_creating_again_keeps_the_node_and_deleting_again_is_no_error(placement: Placement) -> None:
    before = labs.holders()
    labs.backend.create_machine(placement.inputs)
    assert labs.holders() == before
    labs.backend.delete_machine(placement.inputs)
    labs.backend.delete_machine(placement.inputs)
    assert labs.backend.read_machine(placement.inputs) is None
    assert labs.backend.machines(labs.STACK) == []
    with pytest.raises(HostGone):
        labs.host(placement).run(["true"])


@pytest.mark.parametrize(
    ("change", "key", "seen"),
    [
        (["ip", "link", "set", "eth0", "mtu", "1400"], "mtu", 1400),
        (["ip", "addr", "flush", "dev", "eth0"], "address", ""),
        (["ip", "addr", "add", "10.9.9.9/32", "dev", "eth0"], "address", "10.9.9.9/32,"),
        (["ip", "route", "del", "default"], "gateway", ""),
        (["ip", "link", "set", "eth0", "down"], "address", ""),
        (["ip", "link", "del", "eth0"], "mtu", 0),
    ],
)
def test_a_change_of_the_underlay_is_seen_and_mended(
    placement: Placement, change: list[str], key: str, seen: object
) -> None:
    host = labs.host(placement)
    host.run(change)
    found = labs.backend.read_machine(placement.inputs)
    assert found is not None
    assert str(found[key]).startswith(str(seen))
    assert found != placement.inputs
    labs.backend.update_machine(found, placement.inputs)
    assert labs.backend.read_machine(placement.inputs) == placement.inputs
    host.run(["ping", "-c1", "-W2", placement.inputs["gateway"]])


@pytest.mark.parametrize(
    "change",
    [
        "ip link set CABLE down",
        "ip link set CABLE nomaster",
        "ip link del CABLE",
        "ip link set BRIDGE down",
        "ip link del BRIDGE",
        "ip addr flush dev BRIDGE",
    ],
)
def test_a_change_at_the_fabrics_end_is_seen_and_mended(lab: None, change: str) -> None:
    placements = labs.place(labs.pool("a", 2))
    labs.create(placements)
    for name, value in (
        ("CABLE", network.cable_name("a-0")),
        ("BRIDGE", network.bridge_name(placements[0].inputs["address"])),
    ):
        change = change.replace(name, value)
    subprocess.run(["nsenter", "-t", str(labs.holders()[-1].pid), "-n", *change.split()], check=True)
    assert labs.backend.read_machine(placements[0].inputs) != placements[0].inputs
    labs.create(placements)
    for placement in placements:
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
        labs.host(placement).run(["ping", "-c1", "-W2", placement.inputs["gateway"]])
    labs.host(placements[0]).run(["ping", "-c1", "-W2", placements[1].underlay[0]])


def test_another_host_name_and_another_number_of_processes_are_seen_and_mended(placement: Placement) -> None:
    process = str(labs.holders()[0].pid)
    subprocess.run(["nsenter", "-t", process, "-u", "hostname", "changed"], check=True)
    found = labs.backend.read_machine(placement.inputs)
    assert found == {**placement.inputs, "hostname": "changed"}
    labs.backend.update_machine(found, placement.inputs)
    assert text(labs.host(placement), "hostname") == placement.name
    group = marks.Lab(labs.STACK).record(placement.name)["cgroups"].get("pids")
    if group is not None:
        Path(group, "pids.max").write_text("77")
        found = labs.backend.read_machine(placement.inputs)
        assert found == {**placement.inputs, "resources": {"processes": "77"}}
        labs.backend.update_machine(found, placement.inputs)
        assert Path(group, "pids.max").read_text() == f"{cgroups.PIDS}\n"
    assert labs.backend.read_machine(placement.inputs) == placement.inputs


def test_a_reboot_takes_the_lab_away_and_creating_brings_it_back_with_its_files(placement: Placement) -> None:
    host = labs.host(placement)
    host.put("/etc/wireguard/wg0.key", b"made on the node", mode=0o600)
    lab = marks.Lab(labs.STACK)
    for process in labs.holders():
        process.kill()
    for path in (lab.folder / "fabric.json", lab.node(placement.name) / "node.json"):
        mark = json.loads(path.read_text())
        # As after a reboot: the ids may belong to others now.
        mark["process"] = [os.getpid(), mark["process"][1], "boot-before"]
        path.write_text(json.dumps(mark))
    assert labs.backend.read_machine(placement.inputs) is None
    with pytest.raises(HostGone):
        host.run(["true"])
    assert labs.backend.machines(labs.STACK) == [placement.name]
    labs.backend.create_machine(placement.inputs)
    assert labs.backend.read_machine(placement.inputs) == placement.inputs
    assert host.get("/etc/wireguard/wg0.key") == b"made on the node"


@pytest.mark.parametrize("which", [0, -1])
def test_a_holder_that_was_killed_is_seen_and_made_again(lab: None, which: int) -> None:
    placements = labs.place(labs.pool("a", 2))
    labs.create(placements)
    labs.holders()[which].kill()
    gone = [placement.name for placement in placements if labs.backend.read_machine(placement.inputs) is None]
    assert gone == (["a-0"] if which == 0 else ["a-0", "a-1"])  # the last one is the fabric
    labs.create(placements)
    assert all(labs.backend.read_machine(placement.inputs) == placement.inputs for placement in placements)
    labs.host(placements[0]).run(["ping", "-c1", "-W2", placements[1].underlay[0]])


def test_a_lab_whose_marks_were_removed_is_still_swept(placement: Placement) -> None:
    lab = marks.Lab(labs.STACK)
    (lab.folder / "fabric.json").unlink()
    (lab.node(placement.name) / "node.json").unlink()
    assert labs.backend.read_machine(placement.inputs) is None
    assert labs.backend.sweep(labs.STACK) == [placement.name]
    assert not labs.left_behind()


def test_two_labs_know_nothing_of_each_other(placement: Placement, monkeypatch: pytest.MonkeyPatch) -> None:
    (other,) = labs.backend.place("another", [labs.pool()], {})
    labs.backend.create_machine(other.inputs)
    try:
        first, second = labs.host(placement), labs.host(other)
        assert (
            first.run(["readlink", "/proc/self/ns/net"]).stdout != second.run(["readlink", "/proc/self/ns/net"]).stdout
        )
    finally:
        assert labs.backend.sweep("another") == [other.name]
    assert labs.backend.read_machine(placement.inputs) == placement.inputs


def test_a_command_gets_input_arguments_and_a_clean_environment(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWARMCTL_TEST_SECRET", "visible")
    done = host.run(
        ["sh", "-c", 'cat; printf %s "$1"; echo err >&2; exit 7', "sh", "a b'$(id)\n"], stdin=b"in:", check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (7, b"in:a b'$(id)\n", b"err\n")
    environment = text(host, "env")
    assert "LC_ALL=C" in environment
    assert "SECRET" not in environment
    assert marks.TAG not in environment
    assert text(host, "pwd") == "/"
    assert text(host, "sh", "-c", "ls /proc/self/fd | wc -l") == "4"  # three, and the folder that ls reads


def test_a_command_that_fails_says_so(host: Host) -> None:
    with pytest.raises(CommandFailed, match="a-0: sh ended with status 3: no luck"):
        host.run(["sh", "-c", "echo no luck >&2; exit 3"])
    assert host.run(["no-such-program"], check=False).returncode == 127
    assert host.run(["/etc/passwd"], check=False).returncode == 126
    assert host.run(["sh", "-c", "kill -9 $$"], check=False).returncode == 128 + 9


def test_a_command_that_does_not_end_is_ended(host: Host) -> None:
    with pytest.raises(HostUnreachable, match=r"sleep did not end within 0\.2 s"):
        host.run(["sleep", "5432"], timeout=0.2)
    assert labs.soon(lambda: "5432" not in text(host, "ps", "ax", "-o", "args"))


def test_output_is_bounded_and_a_child_in_the_background_does_not_hold_us_up(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = host.run(["sh", "-c", "head -c 40000000 /dev/zero"], timeout=60)
    assert len(done.stdout) == 16 * 1024 * 1024
    assert b"stdout cut off" in done.stderr
    start = time.monotonic()
    assert host.run(["sh", "-c", "sleep 60 & echo started"]).text == "started\n"
    assert time.monotonic() - start < 30


def test_files_are_written_read_and_removed(host: Host) -> None:
    content = bytes(range(256)) * 5000
    host.put("/srv/new/deep/file", content, mode=0o640)
    assert host.get("/srv/new/deep/file") == content
    assert text(host, "stat", "-c", "%a %U", "/srv/new/deep/file", "/srv/new") == "640 root\n755 root"
    host.put("/srv/new/deep/file", b"", mode=0o600)
    assert host.get("/srv/new/deep/file") == b""
    assert text(host, "ls", "-A", "/srv/new/deep") == "file"
    host.remove("/srv/new")
    host.remove("/srv/new")
    assert host.get("/srv/new/deep/file") is None
    assert host.get("/etc/passwd/x") is None
    with pytest.raises(CommandFailed, match="not a regular file"):
        host.get("/dev/zero")
    for wrong in (lambda: host.remove("/"), lambda: host.remove("//.."), lambda: host.put("relative", b"")):
        with pytest.raises(ValueError, match=r"removed|absolute"):
            wrong()


def test_no_link_in_a_node_leads_out_of_it(host: Host, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of this machine")
    host.run(["ln", "-s", str(tmp_path), "/srv/out"])
    assert host.get("/srv/out/secret") is None
    host.put(f"{tmp_path}/planted", b"x")
    host.put("/srv/out/too", b"x")
    host.run(["ln", "-s", "/proc/1/root", "/srv/root"])
    assert host.get(f"/srv/root{secret}") is None
    host.remove(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["secret"]


def test_traps_in_a_nodes_tree_do_not_work_when_it_is_made_again(placement: Placement, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "file").write_text("of this machine")
    host = labs.host(placement)
    host.run(["ln", "-sfn", str(victim), "/srv/ok"])
    host.run(
        ["sh", "-c", f"rm -f /etc/hosts; ln -s {victim}/file /etc/hosts; rm -rf /var/lib; ln -s {victim} /var/lib"]
    )
    for process in labs.holders():
        process.kill()
    # The root folder itself can't be changed while mounts stand on it, but its owner may do so meanwhile.
    tree = marks.Lab(labs.STACK).node(placement.name) / "tree"
    (tree / "run").rmdir()
    (tree / "run").symlink_to(victim)
    labs.backend.create_machine(placement.inputs)
    assert [path.name for path in victim.iterdir()] == ["file"]
    assert (victim / "file").read_text() == "of this machine"
    assert placement.name in text(host, "cat", "/etc/hosts")


def test_services_stay_restart_and_end(placement: Placement) -> None:
    host = labs.host(placement)
    script = "echo out; echo err >&2; sleep 4321"
    host.start_service("one", ["sh", "-c", script])
    (first,) = host.services()
    assert first.running
    host.start_service("one", ["sh", "-c", script])
    assert host.services() == [first]
    assert "4321" in text(host, "ps", "ax", "-o", "args")
    assert labs.soon(lambda: list(host.logs()) == [("one", "out"), ("one", "err")])
    host.start_service("one", ["sleep", "9876"])
    (second,) = host.services()
    assert second.pid != first.pid
    assert first.pid is not None
    assert second.pid is not None
    os.kill(second.pid, signal.SIGKILL)
    assert labs.soon(lambda: [found.running for found in host.services()] == [False])
    host.start_service("one", ["sleep", "9876"])
    assert [found.running for found in host.services()] == [True]
    # Another process, with nothing of ours in memory, finds and ends it.
    lab_host.LabHost(placement.host).stop_service("one")
    host.stop_service("one")
    assert host.services() == []
    assert "9876" not in text(host, "ps", "ax", "-o", "args,stat")
    assert list(host.logs(tail=1)) == [("one", "err")]


def test_orphans_and_services_are_reaped_by_the_node(host: Host) -> None:
    host.run(["sh", "-c", "(sleep 0.01 &) ; (true &)"])
    host.start_service("brief", ["true"])
    assert labs.soon(lambda: "Z" not in text(host, "ps", "ax", "-o", "stat=") and not host.services()[0].running)


def test_a_service_that_cannot_start_says_why(host: Host) -> None:
    with pytest.raises(LabBroken, match="no-such-program: No such file"):
        host.start_service("bad", ["no-such-program"])
    assert host.services() == []
    with pytest.raises(ValueError, match="not a service name"):
        host.start_service("../x", ["true"])


def test_exec_passes_streams_and_status_on(host: Host, capfd: pytest.CaptureFixture[str]) -> None:
    assert host.exec(["sh", "-c", "echo hello; exit 3"]) == 3
    assert capfd.readouterr().out == "hello\n"


def exec_outside(placement: Placement, command: str, **streams: Any) -> subprocess.Popen[bytes]:
    script = (
        "import sys; from swarmctl.backends import open_host; "
        f"sys.exit(open_host({dict(placement.host)!r}).exec(['sh', '-c', {command!r}]))"
    )
    return subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, **streams)


def test_exec_gives_no_descriptor_of_this_machine_away(
    host: Host, shared: tuple[Path, Placement], tmp_path: Path
) -> None:
    source, output, errors = (tmp_path / name for name in ("in", "out", "err"))
    source.write_bytes(b"typed" * 50_000)
    output.touch(0o600)
    command = (
        "wc -c; chmod 4777 /proc/self/fd/1 /proc/self/fd/2; stat -L -c %F /proc/self/fd/0 /proc/self/fd/1 "
        "/proc/self/fd/2; echo x >&2; (sleep 0.5; echo late) & exit 4"
    )
    with source.open("rb") as stdin, output.open("wb") as stdout, errors.open("wb") as stderr:
        with exec_outside(shared[1], command, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            assert process.wait(20) == 4
    assert output.read_text() == "250000\nfifo\nfifo\nfifo\n"
    assert errors.read_text().endswith("x\n")
    assert output.stat().st_mode & 0o7777 == 0o600
    time.sleep(0.6)
    assert "late" not in output.read_text()


def test_exec_ends_with_its_reader_and_leaves_input_to_whoever_comes_next(
    host: Host, shared: tuple[Path, Placement]
) -> None:
    with exec_outside(shared[1], "yes", stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.read(10)
        process.stdout.close()
        assert process.wait(20) == 128 + 13
    reader, writer = os.pipe()
    with exec_outside(shared[1], "cat >/dev/null 0<&0 & exit 0", stdin=reader, stdout=subprocess.DEVNULL) as process:
        assert process.wait(20) == 0
    os.write(writer, b"for another")
    time.sleep(0.2)
    assert os.read(reader, 100) == b"for another"
    os.close(reader)
    os.close(writer)


def test_wireguard_runs_in_a_node(host: Host) -> None:
    try:
        modes.require_wireguard()
    except modes.LabImpossible as error:
        pytest.skip(error.message)
    if host.run(["ip", "link", "add", "dev", "wg0", "type", "wireguard"], check=False).returncode:
        host.start_service("wireguard-wg0", ["wireguard-go", "-f", "wg0"])
    assert labs.soon(lambda: not host.run(["wg", "show", "wg0"], check=False).returncode)
    assert "wg0" in text(host, "wg", "show", "interfaces")


def test_limits_hold_are_read_back_and_change_in_place(lab: None) -> None:
    if {"cpu", "memory"} - cgroups.hierarchy().parents.keys():
        pytest.skip("no control groups here")
    (placement,) = labs.place(labs.pool(resources={"cpus": 0.5, "memory": "64Mi"}))
    labs.backend.create_machine(placement.inputs)
    assert labs.backend.read_machine(placement.inputs) == placement.inputs
    host = labs.host(placement)
    hungry = ["sh", "-c", "head -c 200000000 /dev/zero | tail -c 150000000 | wc -c"]
    assert b"150000000" not in host.run(hungry, check=False).stdout
    wider = {**placement.inputs, "resources": {"memory": "256Mi"}}
    labs.backend.update_machine(placement.inputs, wider)
    assert labs.backend.read_machine(wider) == wider
    assert b"150000000" in host.run(hungry).stdout


def test_a_limit_that_cannot_be_enforced_is_an_error_and_leaves_nothing(
    lab: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cgroups, "hierarchy", lambda: cgroups.Hierarchy(0, {}))
    (placement,) = labs.place(labs.pool(resources={"cpus": 1}))
    with pytest.raises(CannotLimit, match="cpu controller"):
        labs.backend.create_machine(placement.inputs)
    assert labs.backend.read_machine(placement.inputs) is None
    labs.backend.delete_machine(placement.inputs)
    assert not labs.left_behind()


def test_a_tree_full_of_obstacles_is_removed(placement: Placement) -> None:
    host = labs.host(placement)
    deep = "cd /srv; i=0; while [ $i -lt 400 ]; do mkdir d 2>/dev/null; cd -P d; i=$((i+1)); done"
    host.run(["sh", "-c", deep])
    host.run(
        ["sh", "-c", "mkdir -p /srv/x/y; touch /srv/x/y/f '/srv/x/-rf\n'; chmod 000 /srv/x/y /srv/x; mkfifo /srv/p"]
    )
    labs.backend.delete_machine(placement.inputs)
    assert not paths.lab_dir(labs.STACK).exists()


def test_where_no_overlay_can_be_mounted_system_folders_are_bound_read_only(
    lab: None, monkeypatch: pytest.MonkeyPatch, mode: modes.Mode
) -> None:
    (placement,) = labs.place(labs.pool())
    with monkeypatch.context() as patch:
        patch.setattr(modes, "detect", lambda *_, **__: dataclasses.replace(mode, overlay=False))
        labs.backend.create_machine(placement.inputs)
    host = labs.host(placement)
    assert host.run(["touch", "/usr/planted"], check=False).returncode
    host.put("/etc/planted", b"x")
    host.run(["ip", "link"])
    assert not Path("/etc/planted").exists()
    # An overlay can be mounted after all: trees of the other sort are made anew.
    for process in labs.holders():
        process.kill()
    labs.backend.create_machine(placement.inputs)
    assert host.run(["cat", "/etc/hostname"]).text == f"{placement.name}\n"


def test_a_wireguard_of_our_own_is_there_and_cannot_be_changed(
    lab: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    built = tmp_path / "wireguard-go-1.2"
    built.write_text("#!/bin/sh\necho built\n")
    built.chmod(0o755)
    monkeypatch.setattr(modes, "wireguard_go", lambda: built)
    (placement,) = labs.place(labs.pool())
    labs.backend.create_machine(placement.inputs)
    host = labs.host(placement)
    assert text(host, "/opt/swarmctl/bin/wireguard-go") == "built"
    assert host.run(["sh", "-c", "echo x > /opt/swarmctl/bin/wireguard-go"], check=False).returncode
    assert "built" in built.read_text()


def test_exec_gives_a_command_a_terminal_of_its_own(host: Host, shared: tuple[Path, Placement]) -> None:
    placement, command = shared[1], "stty size; read x; echo got $x; exit 5"
    script = (
        "import sys; from swarmctl.backends import open_host; "
        f"sys.exit(open_host({dict(placement.host)!r}).exec(['sh', '-c', {command!r}]))"
    )
    outer, inner = os.openpty()
    termios.tcsetwinsize(inner, (33, 77))
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=inner, stdout=inner, stderr=inner, cwd=ROOT, start_new_session=True
    ) as process:
        os.close(inner)
        seen = b""
        while b"33 77" not in seen:
            seen += os.read(outer, 1000)
        os.write(outer, b"typed\n")
        while b"got typed" not in seen:
            seen += os.read(outer, 1000)
        assert process.wait(10) == 5
    os.close(outer)


@pytest.mark.parametrize("name", ["darwin", "win32"])
def test_other_systems_are_plainly_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(sys, "platform", name)
    (check,) = labs.backend.doctor()
    assert not check.ok
    assert "Linux only" in check.detail
    with pytest.raises(modes.LabImpossible, match="Linux only"):
        modes.detect("t", None)


def test_doctor_names_the_mode_and_how_wireguard_runs(mode: modes.Mode) -> None:
    found = {check.name: check for check in labs.backend.doctor()}
    assert found["lab mode"].ok
    assert found["lab mode"].detail.startswith(mode.name)
    assert {"lab file system", "lab WireGuard", "lab limits", "lab isolation"} <= found.keys()
    assert all(check.ok or check.mend for check in found.values())
    assert list(paths.data_home().iterdir()) == []


@pytest.mark.parametrize("way", ["sweep", "delete", "create"])
def test_a_lab_whose_folder_is_lost_is_found_and_no_second_one_is_made(
    lab: None, way: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    placements = labs.place(labs.pool("a", 2))
    labs.create(placements)
    before = labs.holders()
    fabric.remove_tree(marks.Lab(labs.STACK).folder)
    assert labs.backend.machines(labs.STACK) == ["a-0", "a-1"]
    if way == "create":
        labs.create(placements)
        assert len(marks.tagged(marks.Lab(labs.STACK).tag)) == 3
        labs.host(placements[0]).run(["ping", "-c1", "-W2", placements[1].underlay[0]])
        labs.delete(placements)
    elif way == "delete":
        labs.delete(placements)
    else:
        assert labs.backend.sweep(labs.STACK) == ["a-0", "a-1"]
    assert not [process for process in before if process.alive()]
    assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()


FOREIGN = """
import dataclasses, sys
from swarmctl.backends.lab import modes
from tests.backends import labs
mode = modes.detect("tests", None)
modes.detect = lambda *_, **__: dataclasses.replace(mode, overlay=False)
(placement,) = labs.place(labs.pool())
try:
    labs.create([placement])
    host = labs.host(placement)
    print(host.run(["sh", "-c", sys.argv[1]], check=False).text)
finally:
    labs.backend.sweep(labs.STACK)
"""


def test_mounts_of_this_machine_below_bound_folders_can_neither_be_seen_nor_written(lab: None, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can mount something to look for")
    secret = tmp_path / "a folder"
    secret.mkdir()
    (secret / "secret").write_text("of this machine")
    folder, file = "/usr/share/doc", "/usr/share/dict/../../lib/os-release"
    look = (
        f"ls {folder}; touch {folder}/planted && echo written; cat {file}; python3 -c 'print(1 + 1)'; "
        f"echo x >> {file} && echo written"
    )
    stage = f'mount --bind "$1" {folder} && mount --bind "$1/secret" {file} && shift && exec "$@"'
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", stage, "sh", str(secret)]
    done = subprocess.run(
        [*command, sys.executable, "-c", FOREIGN, look], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "secret" not in done.stdout
    assert "of this machine" not in done.stdout
    assert "planted" not in done.stdout
    assert not (secret / "planted").exists()
    assert (secret / "secret").read_text() == "of this machine"


def test_doctor_reports_a_data_folder_that_cannot_be_made(
    environment: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "file"))
    (check,) = labs.backend.doctor()
    assert not check.ok
    assert "nothing can be written" in check.detail
    assert "XDG_DATA_HOME" in check.mend
