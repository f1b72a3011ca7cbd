"""Machines over SSH, declared, taken over, meshed, guarded, changed and given back through the real command line.

`n3` runs systemd, the others don't; every login shell prints noise and sets another language.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.integration.fleet import HERE, Fleet, fleet
from tests.integration.lab import tree

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-fleet")]
NAMES = ("n1", "n2", "n3")
MORE = "      - {name: more, from: {}, to: {}, ports: [7950]}\n"
NFT = "/usr/local/sbin/nft"
SYSTEMD = Path("/lib/systemd/systemd")


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    systemd = ["n3"] if SYSTEMD.exists() and shutil.which("systemctl") else []
    with fleet(tmp_path_factory.mktemp("fleet"), NAMES, systemd=systemd) as made:
        path = made.stack / "cluster.yaml"
        path.write_text(path.read_text() + MORE)
        made("apply", "--yes")
        yield made


@contextmanager
def instead_of_nft(metal: Fleet, name: str, script: str) -> Iterator[None]:
    """`script` in the place of nft(8) on one machine; `$real` is the real one."""
    real = metal.inside(name, "command -v nft").strip()
    assert real != NFT
    metal.inside(name, f"cat >{NFT} <<'END'\n#!/bin/sh\nreal={real}\n{script}\nEND\nchmod +x {NFT}")
    try:
        yield
    finally:
        metal.inside(name, f"rm -f {NFT}")


def rules(metal: Fleet, name: str) -> str:
    return metal.inside(name, "nft list table inet swarmctl")


def test_what_was_applied_is_there_and_applied_again_changes_nothing(metal: Fleet) -> None:
    before = [metal.inside(name, "wg show wg0 public-key; cat /var/lib/swarmctl/machine") for name in NAMES]
    assert "Nothing to change" in metal("apply", "--yes").out
    assert metal("plan", "--detailed-exitcode").code == 0
    after = [metal.inside(name, "wg show wg0 public-key; cat /var/lib/swarmctl/machine") for name in NAMES]
    assert after == before
    metal("drift")
    status = metal("status").out
    assert "3 of 3 nodes ready; 6 of 6 links reachable" in status
    assert "verified" in metal("mesh", "verify").out
    assert metal("doctor", "--stack").out.startswith("All of metal that exists is in the state")
    assert "ssh library" in metal("doctor").out


def test_a_machine_keeps_the_port_open_that_it_is_managed_through(metal: Fleet) -> None:
    for name in NAMES:
        assert 'iifname != { "wg0", "wg0-n" } tcp dport 22 accept' in rules(metal, name)
    shown = json.loads(metal("status", "--format", "json").out)
    assert [node["managed"] for node in shown["nodes"]] == [{"ports": [22], "from": []}] * 3


def test_services_run_with_systemd_and_without(metal: Fleet) -> None:
    for name in NAMES:
        assert metal.inside(name, "pgrep -xc wireguard-go").strip() == "1"
    assert metal.on("n1", "ls /run/swarmctl/services").split() == ["wireguard-wg0"]
    if "systemd" in metal.inside("n3", "ps -o comm= -p 1"):
        assert metal.on("n3", "systemctl is-active swarmctl-wireguard-wg0").strip() == "active"
        metal.inside("n3", "systemctl kill -s KILL swarmctl-wireguard-wg0")
        assert metal("drift", code=None).code == 21
        metal("apply", "--yes")
        assert "verified" in metal("mesh", "verify").out


def test_commands_run_there_with_our_streams_and_logs_come_back(metal: Fleet) -> None:
    run = metal("exec", "n2", "--", "sh", "-c", "hostname; id -u; echo $LC_ALL; echo oops >&2; exit 7", code=7)
    assert run.out == "n2\n0\nC.UTF-8\n"
    assert run.err == "oops\n"
    metal.inside("n2", "echo said >>/var/log/swarmctl/wireguard-wg0.log")
    assert "said" in metal("logs", "n2").out


def test_no_key_file_of_ours_is_recorded_or_planned(metal: Fleet) -> None:
    needle = str(metal.key)
    assert needle not in metal("plan", "--format", "json").out
    assert needle not in metal("state", "show", "nodepool/metal[n1]", "--format", "json").out
    noted = metal.data / "ssh"
    found = [path for path in metal.data.rglob("*") if path.is_file() and needle.encode() in path.read_bytes()]
    assert found
    assert all(path.is_relative_to(noted) for path in found), found
    assert all(path.stat().st_mode & 0o077 == 0 for path in found)
    secret = metal.key.read_text().splitlines()[2]
    assert not [path for path in metal.data.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()]


def test_a_server_that_moves_to_another_port(metal: Fleet) -> None:
    others = metal.host("n2"), metal.host("n3")
    metal.inside("n1", "/usr/sbin/sshd -f /etc/ssh/test/config -p 2222")
    metal.declare(metal.host("n1", port=2222), *others)
    assert "tcp dport 2222" not in rules(metal, "n1")
    metal.declare(metal.host("n1", listens=[22, 2222]), *others)
    metal("apply", "--yes")
    assert "tcp dport { 22, 2222 } accept" in rules(metal, "n1")
    # The old port leads nowhere: what is declared counts, also to read what was recorded.
    metal.inside("n1", "nft add table inet trial; nft 'add chain inet trial i { type filter hook input priority -5; }'")
    metal.inside("n1", "nft add rule inet trial i tcp dport 22 ct state new reject with tcp reset")
    metal.declare(metal.host("n1", port=2222), *others)
    plan = json.loads(metal("plan", "--format", "json").out)
    assert [change["address"] for change in plan["changes"]] == ["nodepool/metal[n1]", "securitypolicy/baseline[n1]"]
    metal("apply", "--yes")
    assert 'iifname != { "wg0", "wg0-n" } tcp dport 2222 accept' in rules(metal, "n1")
    metal("drift")
    metal.inside("n1", "nft delete table inet trial")
    for more in ({"port": 2222, "listens": [22, 2222]}, {}):
        metal.declare(metal.host("n1", **more), *others)
        metal("apply", "--yes")


def test_a_machine_behind_a_jump_host(metal: Fleet) -> None:
    first = metal.host("n1")
    jump = {"address": first["address"], "hostKeys": first["hostKeys"], "user": "plain"}
    second = metal.host("n2")
    behind = {"address": second["address"], "hostKeys": second["hostKeys"], "user": "plain", "jump": jump}
    metal.declare(first, metal.host("n2", jump=jump), metal.host("n3", jump=behind))
    metal("apply", "--yes")
    assert metal.on("n2", "echo $SSH_CONNECTION").split()[0] == first["address"]
    assert metal.on("n3", "echo $SSH_CONNECTION").split()[0] == second["address"]
    metal("drift")
    metal.declare(*(metal.host(name) for name in NAMES))
    metal("apply", "--yes")
    assert metal.on("n2", "echo $SSH_CONNECTION").split()[0] == HERE


def test_the_firewall_lets_in_those_alone_that_manage_it_and_never_shuts_us_out(metal: Fleet) -> None:
    hosts = [metal.host(name) for name in NAMES]
    metal.declare(*hosts, managedFrom=["192.0.2.0/24"])
    run = metal("apply", "--yes", code=1)
    assert f"n1 sees swarmctl come from {HERE}, which `managedFrom` does not let in" in run.out + run.err
    assert "tcp dport 22 accept" in rules(metal, "n1")
    metal.declare(*hosts, managedFrom=[f"{HERE}/32"])
    metal("apply", "--yes")
    for name in NAMES:
        assert f"ip saddr {HERE} tcp dport 22 accept" in rules(metal, name)
    metal.declare(*hosts)
    metal("apply", "--yes")


def test_a_change_that_shuts_management_out_is_undone_by_itself(metal: Fleet) -> None:
    """A firewall that forgets the rule, once: connections that were open before go on, new ones don't come about."""
    before = {name: rules(metal, name) for name in NAMES}
    once = """
if [ "$1 $2" = '-f -' ] && [ ! -e /srv/forgot ]; then
  : >/srv/forgot; sed /dport.22.accept/d | exec "$real" "$@"; exit
fi
exec "$real" "$@"
"""
    metal.edit("cluster.yaml", MORE, "")
    with instead_of_nft(metal, "n2", once):
        run = metal("apply", "--yes", code=None)
        assert run.code != 0
        assert "n2" in run.out + run.err
        deadline = time.monotonic() + 40
        while rules(metal, "n2").count("7950") != before["n2"].count("7950") and time.monotonic() < deadline:
            time.sleep(0.5)
        metal("status")
    for name in NAMES:
        assert "7950" in rules(metal, name)
        assert "tcp dport 22 accept" in rules(metal, name)
    metal("apply", "--yes")
    assert not ["7950" for name in NAMES if "7950" in rules(metal, name)]


def test_a_connection_that_is_cut_in_the_middle_is_made_again(metal: Fleet) -> None:
    path = metal.stack / "cluster.yaml"
    path.write_text(path.read_text() + MORE)
    slow = """[ "$1 $2" != '-f -' ] || { : >/srv/began; sleep 3; }\nexec "$real" "$@"\n"""
    with instead_of_nft(metal, "n2", slow):
        running = metal.start("apply", "--yes")
        while "began" not in metal.inside("n2", "ls /srv"):
            assert running.poll() is None
            time.sleep(0.1)
        metal.servers["n2"].cut()
        out, err = running.communicate(timeout=120)
    assert running.returncode == 0, out + err
    assert "7950" in rules(metal, "n2")
    metal("drift")


def test_a_pool_that_has_left_the_declarations_is_given_back_by_what_was_recorded(metal: Fleet) -> None:
    metal.declare(metal.host("n1"), metal.host("n2"))
    assert "n3 is given back" in metal("plan").out
    metal("apply", "--yes")
    assert metal.left("n3").strip() == ""
    assert "2 of 2 nodes ready" in metal("status").out
    metal.inside("n3", "mkdir -p /var/lib/swarmctl; printf 'other-1\\n5\\nbob@desk\\n' >/var/lib/swarmctl/owner")
    metal.declare(*(metal.host(name) for name in NAMES))
    run = metal("apply", "--yes", code=8)
    assert "n3 belongs to the stack other-1 (bob@desk)" in run.out + run.err
    metal.inside("n3", "rm -r /var/lib/swarmctl")
    metal("apply", "--yes")


def test_what_nothing_remembers_is_found_by_the_marks_on_declared_machines(metal: Fleet) -> None:
    shutil.move(metal.data, metal.root / "kept")
    try:
        run = metal("doctor", "--stack", code=1)
        assert "nodepool/metal[n1]" in run.out
        assert "adopt" in metal("plan").out
    finally:
        shutil.rmtree(metal.data, ignore_errors=True)
        shutil.move(metal.root / "kept", metal.data)


def test_destroy_reaches_machines_that_are_no_longer_declared_and_leaves_nothing(metal: Fleet) -> None:
    metal.declare(metal.host("n1"))
    metal("destroy", "--yes")
    assert {name: metal.left(name).strip() for name in NAMES} == dict.fromkeys(NAMES, "")
    assert not [name for name in tree(metal.data) if name.startswith("ssh/")]
