"""`swarm:mesh:Interface`: only what differs is set, the key stays on the node, and people read what happens."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.hosts.facts import Facts, Interface, Route, WireGuard
from swarmctl.kinds.base import UNKNOWN, Impact, words
from swarmctl.kinds.mesh.interface import TakenByOther
from swarmctl.kinds.mesh.link import FOREGROUND, WAIT, explained
from swarmctl.kinds.mesh.resources import INTERFACE
from tests.mesh.fakes import KEY_PATH, FakeHost, FakeHosts, facts

INPUTS: dict[str, Any] = {
    "machine": "one",
    "host": {"backend": "lab", "node": "n"},
    "node": "n",
    "interface": "wg0",
    "state": "up",
    "addresses": ["10.88.3.4/16", "fd88::4/64"],
    "listenPort": 51820,
    "mtu": 1420,
    "keyPath": KEY_PATH,
    "keyMode": "0600",
    "key": "installed",
    "forwarding": False,
}


ROUTES = (
    Route("unicast", "10.88.0.0/16", "wg0", "main", None, gateway=False),
    Route("unicast", "fd88::/64", "wg0", "main", 256, gateway=False),
)


def present(**changes: Any) -> Facts:
    """A node that has the interface as declared, but for `changes`."""
    link = {"up": True, "mtu": 1420, "addresses": ("fd88::4/64", "10.88.3.4/16"), "alias": "swarmctl:backbone"}
    link |= {name: value for name, value in changes.items() if name in link}
    wireguard = {"public_key": "PUBLIC", "listen_port": 51820} | {
        name: value for name, value in changes.items() if name in ("public_key", "listen_port")
    }
    known = facts(
        links={"wg0": Interface("wg0", **link)},
        wireguard={"wg0": WireGuard("wg0", peers={}, **wireguard)},
        key="PUBLIC",
        key_mode=changes.get("key_mode", "0600"),
        sysctl=changes.get("sysctl"),
    )
    return replace(known, routes=changes.get("routes", ROUTES))


def test_an_interface_as_declared_is_adopted_without_a_command() -> None:
    hosts = FakeHosts(present())
    assert INTERFACE.create(hosts, INPUTS) == {"publicKey": "PUBLIC"}
    assert INTERFACE.update(hosts, INPUTS, INPUTS) == {"publicKey": "PUBLIC"}
    assert hosts.host.log == []
    seen = INTERFACE.read(hosts, INPUTS)
    assert seen is not None
    assert INTERFACE.diff(seen.inputs, INPUTS) == []
    assert seen.outputs == {"publicKey": "PUBLIC"}


@pytest.mark.parametrize(
    ("changes", "commands"),
    [
        ({"mtu": 1300}, ['ip link set dev "$interface" mtu 1420']),
        ({"listen_port": 1}, ['wg set "$interface" listen-port 51820']),
        ({"public_key": "OTHER"}, ['wg set "$interface" private-key "$key"']),
        ({"up": False}, ['ip link set dev "$interface" up']),
        (
            {"addresses": ("10.88.9.9/16", "fd88::4/64")},
            ['ip addr del 10.88.9.9/16 dev "$interface"', 'ip addr add 10.88.3.4/16 dev "$interface"'],
        ),
        ({"alias": ""}, ['ip link set dev "$interface" alias swarmctl:backbone']),
    ],
    ids=["mtu", "port", "key", "down", "addresses", "alias"],
)
def test_only_what_differs_is_set(changes: dict[str, Any], commands: list[str]) -> None:
    hosts = FakeHosts(present(**changes))
    INTERFACE.update(hosts, INPUTS, INPUTS)
    (script,) = hosts.host.scripts
    assert script.split("done\n")[-1].splitlines() == commands
    assert hosts.forgotten == 1


@pytest.mark.parametrize("kernel", [True, False])
def test_a_new_interface_comes_from_the_kernel_or_from_wireguard_go(kernel: bool) -> None:
    hosts = FakeHosts(facts(), FakeHost(kernel=kernel))
    assert INTERFACE.create(hosts, INPUTS) == {"publicKey": "PUBLIC"}
    started = ("start", "wireguard-wg0", *FOREGROUND, "wg0") in hosts.host.log
    assert started is not kernel
    assert "wg genkey" in hosts.host.scripts[0]
    assert "umask 077" in hosts.host.scripts[0]


def test_a_process_that_does_not_come_up_is_told_with_its_last_words() -> None:
    host = FakeHost(fails='until wg show "$interface"')
    with pytest.raises(CommandFailed, match=r"failed; the last line of its log: .*tun: Operation not permitted"):
        INTERFACE.create(FakeHosts(facts(), host), INPUTS)
    host = FakeHost(fails='until wg show "$interface"', kernel=True)
    with pytest.raises(CommandFailed, match=r"failed$"):
        INTERFACE.create(FakeHosts(facts(), host), INPUTS)


@pytest.mark.parametrize("runs", [False, True])
def test_a_process_is_waited_for_and_one_that_has_ended_is_not(tmp_path: Path, runs: bool) -> None:
    name = f"none-{tmp_path.parent.name}"[-15:]
    wg = tmp_path / "wg"
    wg.write_text('#!/bin/sh\necho >>"$0.asked"; [ "$(wc -l <"$0.asked")" -ge 25 ]\n')
    wg.chmod(0o755)
    (tmp_path / name).touch()
    process = subprocess.Popen(  # something else under its name
        ["wireguard-go" if runs else "tail", "-f", name], executable="/usr/bin/tail", cwd=tmp_path
    )
    try:
        done = subprocess.run(
            ["sh", "-eu", "-s"],
            input=f"interface={name}\n{WAIT}",
            env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    finally:
        process.kill()
        process.wait()
    said = "" if runs else f"WireGuard on {name} did not start: its process has ended\n"
    assert (done.returncode, done.stderr) == (int(not runs), said)


def test_inotify_that_is_used_up_is_hinted_at() -> None:
    class Full(FakeHost):
        def logs(self, *, tail: int = 200) -> list[tuple[str, str]]:
            return [("wireguard-wg0", "ERROR: (wg0) Failed to listen on uapi socket: too many open files")]

    host = Full()
    host.start_service("wireguard-wg0", ["wireguard-go"])
    raised = CommandFailed("n: sh ended with status 1: WireGuard on wg0 did not start: its process has ended")
    error = explained(raised, host, "wg0")
    assert error.message.startswith(
        f"{host.name}: WireGuard on wg0 did not start: its process has ended; the last line"
    )
    assert error.message.endswith("uapi socket: too many open files")
    assert "fs.inotify.max_user_instances" in error.hint


def test_a_dead_process_is_started_again_without_touching_the_key() -> None:
    hosts = FakeHosts(facts(key="PUBLIC"))
    INTERFACE.update(hosts, INPUTS, INPUTS)
    assert "genkey" not in "".join(hosts.host.scripts)
    assert ("start", "wireguard-wg0", *FOREGROUND, "wg0") in hosts.host.log
    assert 'wg set "$interface" private-key "$key"' in hosts.host.scripts[-1]


def test_the_key_goes_with_the_name_of_its_mesh_and_stays_the_same() -> None:
    hosts = FakeHosts(present(alias="swarmctl:net"))
    before = {**INPUTS, "keyPath": "/etc/swarmctl/mesh/net/private.key"}
    assert [(change.path, change.replace) for change in INTERFACE.diff(before, INPUTS)] == [(("keyPath",), False)]
    assert INTERFACE.impact(before, INPUTS) == Impact(), "the tunnels stay"
    assert INTERFACE.update(hosts, before, INPUTS) == {"publicKey": "PUBLIC"}
    moving, naming = hosts.host.scripts
    assert 'mv "$before" "$folder"' in moving
    assert "before=/etc/swarmctl/mesh/net/private.key\n" in moving
    assert 'ip link set dev "$interface" alias swarmctl:backbone' in naming
    assert "private-key" not in naming, "the kernel has it already"


def test_a_hub_forwards_and_stops_when_it_is_none_any_more() -> None:
    hub = {**INPUTS, "forwarding": True}
    hosts = FakeHosts(present())
    INTERFACE.update(hosts, INPUTS, hub)
    assert "echo 1 >/proc/sys/net/ipv4/ip_forward\n" in hosts.host.scripts[-1]
    assert "echo 1 >/proc/sys/net/ipv6/conf/all/forwarding\n" in hosts.host.scripts[-1]
    forwarding = present(sysctl={"net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1"})
    hosts = FakeHosts(forwarding)
    INTERFACE.update(hosts, hub, hub)
    assert hosts.host.log == []
    INTERFACE.update(hosts, hub, INPUTS)
    assert "echo 0 >/proc/sys/net/ipv4/ip_forward\n" in hosts.host.scripts[-1]


def test_a_node_or_a_key_that_is_gone_reads_as_nothing() -> None:
    assert INTERFACE.read(FakeHosts(None), INPUTS) is None
    assert INTERFACE.read(FakeHosts(facts()), INPUTS) is None
    seen = INTERFACE.read(FakeHosts(facts(key="PUBLIC")), INPUTS)
    assert seen is not None
    assert seen.inputs["state"] == "gone"


def test_an_interface_of_somebody_else_is_left_alone() -> None:
    foreign = facts(
        links={"wg0": Interface("wg0", True, 1420, ())}, wireguard={"wg0": WireGuard("wg0", "THEIRS", 1, {})}
    )
    hosts = FakeHosts(foreign)
    with pytest.raises(TakenByOther):
        INTERFACE.create(hosts, INPUTS)
    assert hosts.host.log == []


def test_what_a_crash_left_is_adopted() -> None:
    half = facts(links={"wg0": Interface("wg0", False, 1420, ())}, wireguard={"wg0": WireGuard("wg0", "", 7, {})})
    hosts = FakeHosts(half)
    assert INTERFACE.create(hosts, INPUTS) == {"publicKey": "PUBLIC"}
    assert not any(line[0] == "start" for line in hosts.host.log)


def test_deleting_removes_interface_process_and_key_and_is_patient_with_what_is_gone() -> None:
    hosts = FakeHosts(present())
    INTERFACE.delete(hosts, INPUTS)
    assert ("stop", "wireguard-wg0") in hosts.host.log
    assert "find /etc/swarmctl/mesh/backbone -xdev -type f -exec shred " in hosts.host.scripts[-1]
    assert hosts.host.scripts[-1].endswith("rm -rf -- /etc/swarmctl/mesh/backbone\n")
    INTERFACE.delete(FakeHosts(None), INPUTS)
    INTERFACE.delete(FakeHosts(facts()), INPUTS)


def test_deleting_leaves_an_interface_that_another_mesh_took_over() -> None:
    hosts = FakeHosts(present(alias="swarmctl:spine"))
    INTERFACE.delete(hosts, {**INPUTS, "forwarding": True})
    (script,) = hosts.host.scripts
    assert script.endswith("rm -rf -- /etc/swarmctl/mesh/backbone\n")
    assert "ip link" not in script


def test_words_for_people() -> None:
    (made,) = INTERFACE.effects(None, INPUTS)
    assert made.text == "interface wg0, 10.88.3.4/16, fd88::4/64, udp/51820, MTU 1420, key made on the node"
    changed = {**INPUTS, "mtu": 1300, "listenPort": 51999, "addresses": ["10.88.3.5/16", "fd88::4/64"]}
    assert [effect.text for effect in INTERFACE.effects(INPUTS, changed)] == [
        "interface wg0: addresses -10.88.3.4/16 +10.88.3.5/16",
        "interface wg0: listens on udp 51820 → 51999",
        "interface wg0: MTU 1420 → 1300",
    ]
    assert INTERFACE.impact(INPUTS, {**INPUTS, "mtu": 1300}) == Impact()
    assert INTERFACE.impact(INPUTS, {**INPUTS, "listenPort": 1}) == Impact("tunnels of n re-handshake")
    assert "over the old addresses end" in INTERFACE.impact(INPUTS, {**INPUTS, "addresses": ["10.9.0.1/16"]}).text
    assert INTERFACE.impact(INPUTS, None) == Impact("tunnels of n close")


def test_what_explains_others_is_shown_with_them_and_never_compared() -> None:
    notes = {"mtu": "1500 of the underlay less 60 for WireGuard over IPv4", "reserved": ["10.88.3.0/28"]}
    noted = {**INPUTS, "notes": notes}
    assert INTERFACE.diff(INPUTS, noted) == []
    assert INTERFACE.effects(noted, INPUTS) == []
    (made,) = INTERFACE.effects(None, noted)
    assert "MTU 1420 (1500 of the underlay less 60 for WireGuard over IPv4), key" in made.text
    moved = {**noted, "mtu": 1440, "addresses": ["10.88.9.9/16", "fd88::4/64"]}
    assert [effect.text for effect in INTERFACE.effects(INPUTS, moved)] == [
        "interface wg0: addresses -10.88.3.4/16 (10.88.3.0/28 is reserved) +10.88.9.9/16",
        "interface wg0: MTU 1420 → 1440 (1500 of the underlay less 60 for WireGuard over IPv4)",
    ]
    seen = INTERFACE.read(FakeHosts(present()), noted)
    assert seen is not None
    assert seen.inputs["notes"] == notes


def test_another_interface_name_makes_it_anew_and_says_why() -> None:
    (change,) = INTERFACE.diff(INPUTS, {**INPUTS, "interface": "wg1"})
    assert change.replace
    assert change.reason == "an interface that is up cannot be renamed"
    assert "made anew" in INTERFACE.impact(INPUTS, {**INPUTS, "interface": "wg1"}).text
    effects = INTERFACE.effects(INPUTS, {**INPUTS, "interface": "wg1"})
    assert [effect.text[:14] for effect in effects] == ["interface wg0,", "interface wg1,"]


def test_an_interface_that_is_taken_over_in_place_of_another_keeps_its_key_in_words_too() -> None:
    adopted = {**INPUTS, "interface": "wg1", "adopt": True}
    said = INTERFACE.impact(INPUTS, adopted).text
    assert "new key" in INTERFACE.impact(INPUTS, {**INPUTS, "interface": "wg1"}).text
    assert "made anew" not in said
    assert "over wg0 close; wg1 keeps its key and its tunnels where it runs" in said
    assert (
        "key taken over on the node, from wg1 where it runs or /etc/wireguard/wg1.conf"
        in INTERFACE.effects(INPUTS, adopted)[1].text
    )
    # Another machine has nothing that could be kept.
    assert "new key" in INTERFACE.impact({**INPUTS, "machine": "old", "adopt": True}, {**INPUTS, "adopt": True}).text


def test_unknown_inputs_are_shown_as_such() -> None:
    unknown = {**INPUTS, "mtu": UNKNOWN, "addresses": UNKNOWN}
    assert "(known after apply)" in INTERFACE.effects(None, unknown)[0].text
    assert "(known after apply)" in INTERFACE.effects(INPUTS, unknown)[0].text


def test_effects_write_values_as_yaml_does() -> None:
    (effect,) = INTERFACE.effects(INPUTS, {**INPUTS, "forwarding": not INPUTS["forwarding"]})
    before = str(INPUTS["forwarding"]).lower()
    assert f"forwarding {before} → " in effect.text
    assert words({"cpus": 0.5, "list": [True, None]}) == "{cpus: 0.5, list: [true, nothing]}"


def running(**changes: Any) -> Facts:
    """An interface of somebody else, without a key of the mesh."""
    return replace(present(alias="", **changes), key_files={}, public_keys={})


def test_a_strangers_interface_is_adopted_as_it_runs_where_that_is_declared() -> None:
    hosts = FakeHosts(running())
    inputs = {**INPUTS, "adopt": True}
    seen = INTERFACE.read(hosts, inputs)
    assert seen is not None
    assert INTERFACE.diff(seen.inputs, inputs) == []
    assert seen.outputs == {"publicKey": "PUBLIC"}

    assert INTERFACE.create(hosts, inputs) == {"publicKey": "PUBLIC"}
    copied, settings = hosts.host.scripts
    assert 'wg show "$interface" private-key >"$new"' in copied
    assert ': >"$folder/adopted"' in copied
    # Neither key nor port nor address is set again: only the mark of who looks after it from now on.
    assert settings.strip().splitlines()[-1] == 'ip link set dev "$interface" alias swarmctl:backbone'
    assert "wg set" not in settings


def test_what_differs_of_an_interface_that_is_adopted_is_a_change() -> None:
    inputs = {**INPUTS, "adopt": True}
    seen = INTERFACE.read(FakeHosts(running(mtu=1380)), inputs)
    assert seen is not None
    assert [change.path for change in INTERFACE.diff(seen.inputs, inputs)] == [("mtu",)]


def test_without_the_word_a_strangers_interface_is_left_alone() -> None:
    assert INTERFACE.read(FakeHosts(running()), INPUTS) is None
    with pytest.raises(TakenByOther, match="did not make") as refused:
        INTERFACE.create(FakeHosts(running()), INPUTS)
    assert "adopt: true" in refused.value.hint


def test_what_is_no_wireguard_interface_is_never_adopted() -> None:
    with pytest.raises(TakenByOther):
        INTERFACE.create(FakeHosts(replace(running(), wireguard={})), {**INPUTS, "adopt": True})


def test_that_an_interface_was_adopted_is_no_difference_later() -> None:
    assert INTERFACE.diff({**INPUTS, "adopt": True}, INPUTS) == []
    assert INTERFACE.diff(INPUTS, {**INPUTS, "adopt": True}) == []
