"""`mesh verify`: each check fails for its own reason, and what was not measured is never ok."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmctl.errors import ExitCode
from swarmctl.hosts import mesh_probes
from swarmctl.hosts.facts import Peer
from swarmctl.operations import mesh_verify
from swarmctl.operations.mesh_verify_keys import _as_declared
from swarmctl.operations.mesh_verify_model import Name, Verdict, Verification
from swarmctl.operations.mesh_verify_seen import Wanted
from swarmctl.operations.mesh_verify_watch import changes, watch
from swarmctl.reports.mesh_verify import render
from swarmctl.reports.mesh_verify_lines import lines
from tests.status.verifying import CLEAN, check, see, troubled, world
from tests.status.world import declared


def wrong(found: Verification) -> dict[str, list[str]]:
    return {
        each.name.value: [f"{finding.node}: {finding.text}" for finding in each.findings]
        for mesh in found.meshes
        for each in mesh.checks
        if each.verdict is not Verdict.OK
    }


def test_a_mesh_with_nothing_wrong_is_verified_and_every_check_says_what_it_saw() -> None:
    found = see(world())
    assert wrong(found) == {}
    assert (found.verified, found.exit_code) == (True, ExitCode.OK)
    assert [each.name for each in found.meshes[0].checks] == list(Name)
    assert check(found, Name.REACHABILITY).said == "20 directed pairs, over IPv4 and IPv6"
    assert "ChaCha20-Poly1305" in check(found, Name.CIPHER).said
    assert "4,400 packets of WireGuard" in check(found, Name.PLAINTEXT).said


def test_a_machine_without_room_for_the_probes_is_not_measured_and_the_others_are() -> None:
    found = see(world(full={"workers-0"}))
    assert wrong(found)["nodes"] == ["workers-0: bash was not begun: no room for its input in /run"]
    assert check(found, Name.REACHABILITY).said == "16 directed pairs, over IPv4 and IPv6"
    assert found.exit_code is ExitCode.WORLD_UNREADABLE


@pytest.mark.parametrize(
    ("trouble", "name", "text"),
    [
        ({"gone": {"workers-0"}}, Name.NODES, "workers-0: the machine does not exist"),
        ({"down": {"workers-0"}}, Name.NODES, "workers-0: interface wg0 is down"),
        ({"dropped": {("workers-0", "control-0")}}, Name.TUNNELS, "workers-0: no tunnel to control-0"),
        ({"deaf": {("workers-0", "fd88::1")}}, Name.REACHABILITY, "workers-0: no answer from control-0 at fd88::1"),
        (
            {"lossy": {("workers-0", "10.88.0.1")}},
            Name.LOSS,
            "workers-0: 5 of 10 echoes to control-0 at 10.88.0.1 are lost",
        ),
        (
            {"narrow": {("workers-0", "10.88.0.1"): 1380}},
            Name.PATH_MTU,
            "workers-0: the largest packet that comes back from control-0 at 10.88.0.1 has 1380 bytes, not 1420",
        ),
        ({"wide": {"workers-0"}}, Name.PATH_MTU, "workers-0: a packet of 1421 bytes, not to be fragmented, comes"),
        (
            {"captures": {"workers-0": CLEAN.replace("@ fragments\n0", "@ fragments\n7")}},
            Name.PATH_MTU,
            "workers-0: 7 packets of WireGuard in fragments",
        ),
        ({"preshared": {"workers-0"}}, Name.PRESHARED_KEYS, "workers-0: the peer key-of-control-0 has a preshared key"),
        ({"modes": {"workers-0": "644"}}, Name.KEY_FILES, "has the mode 0644, not 0600"),
        ({"strangers": {"workers-0"}}, Name.PEERS, "workers-0: wg0 has a peer that nobody declared: key-of-a-stranger"),
        (
            {"captures": {"workers-0": CLEAN.replace("@ clear\n0", "@ clear\n  IP 10.88.0.3 > 10.88.0.1: ICMP\n4")}},
            Name.PLAINTEXT,
            "workers-0: 4 packets of the mesh in clear on eth0: IP 10.88.0.3 > 10.88.0.1: ICMP",
        ),
        (
            {"captures": {"workers-0": CLEAN.replace("@ pattern\n0", "@ pattern\n2")}},
            Name.PLAINTEXT,
            "workers-0: what was sent over the mesh is seen in clear on eth0",
        ),
    ],
)
def test_each_check_fails_alone(trouble: dict[str, object], name: Name, text: str) -> None:
    found = see(world(**trouble))
    assert check(found, name).verdict is Verdict.FAILED
    assert any(text in line for line in wrong(found)[name.value]), wrong(found)
    assert found.exit_code is ExitCode.FAILED
    if name not in (Name.NODES, Name.TUNNELS):
        assert set(wrong(found)) == {name.value}


@pytest.mark.parametrize(
    ("trouble", "text"),
    [
        ({"missing": {"workers-0": "tcpdump"}}, "tcpdump is not installed there"),
        (
            {"captures": {"workers-0": CLEAN.replace("@ wireguard\n880", "@ wireguard\n0")}},
            "saw no packet of WireGuard",
        ),
        ({"captures": {"workers-0": CLEAN.replace("kernel 0", "kernel 5")}}, "5 packets on eth0 came too fast"),
        ({"captures": {"workers-0": CLEAN.replace("captured 900", "captured 200000")}}, "more than 200,000 packets"),
        ({"captures": {"workers-0": "failed "}}, "eth0 could not be captured: tcpdump told nothing"),
        (
            {"captures": {"workers-0": CLEAN.replace("@ clear\n0", "@ clear\nunknown")}},
            "tcpdump can't read what it has",
        ),
        ({"captures": {"workers-0": CLEAN.partition("@ pattern")[0]}}, "tcpdump can't read what it has captured"),
        ({"captures": {"workers-0": "failed tcpdump: no permission"}}, "eth0 could not be captured: tcpdump: no perm"),
    ],
)
def test_a_capture_that_proves_nothing_is_not_ok(trouble: dict[str, object], text: str) -> None:
    found = see(world(**trouble))
    assert check(found, Name.PLAINTEXT).verdict is Verdict.UNMEASURED
    assert text in wrong(found)["plaintext"][0]
    assert found.exit_code is ExitCode.FAILED


def test_a_leak_counts_also_where_packets_were_missed() -> None:
    leak = CLEAN.replace("kernel 0", "kernel 5").replace("@ clear\n0", "@ clear\n1")
    assert check(see(world(captures={"workers-0": leak})), Name.PLAINTEXT).verdict is Verdict.FAILED


def test_without_ping_nothing_was_measured() -> None:
    found = see(world(missing={"workers-0": "ping"}))
    assert check(found, Name.REACHABILITY).verdict is Verdict.UNMEASURED


def test_a_machine_that_does_not_answer_is_told_by_its_own_exit_code() -> None:
    found = see(world(unreachable={"workers-0"}))
    assert found.exit_code is ExitCode.WORLD_UNREADABLE
    assert check(found, Name.NODES).verdict is Verdict.UNMEASURED
    assert check(found, Name.PEERS).verdict is Verdict.OK


def test_one_lost_echo_is_looked_at_again_and_forgiven() -> None:
    seen = world(hiccups={("workers-0", "10.88.0.1")})
    assert see(seen).verified
    again = [request for name, request in seen.requests if name == "workers-0"][1:]
    assert [line for line in again[0].splitlines() if line.startswith(("count", "group", "capture"))] == [
        "count 10",
        "group 4 1392 10.88.0.1",
    ]


FOLDER = "/etc/swarmctl/mesh/backbone"


@pytest.mark.parametrize(
    ("printed", "text"),
    [
        (f"644\t0\tf\t{FOLDER}/.old.key", f"{FOLDER}/.old.key has the mode 0644, not 0600"),
        (f"755\t0\td\t{FOLDER}/psk", f"{FOLDER}/psk has the mode 0755, not 0700"),
        (f"600\t33\tf\t{FOLDER}/psk/identity", f"{FOLDER}/psk/identity belongs to the user 33, not to root"),
        ("644\t0\tf\t/etc/swarmctl/guard/touched/peers.wg0", "touched/peers.wg0 has the mode 0644, not 0600"),
        (f"777\t0\tl\t{FOLDER}/private.key", f"{FOLDER}/private.key is a symbolic link"),
    ],
)
def test_all_that_can_hold_a_key_is_judged(printed: str, text: str) -> None:
    found = check(see(world(exposed={"workers-0": [printed]})), Name.KEY_FILES)
    assert found.verdict is Verdict.FAILED
    assert [finding.node for finding in found.findings] == ["workers-0"]
    assert text in found.findings[0].text


def test_what_lies_beside_the_key_is_not_measured_where_find_cannot_print() -> None:
    assert check(see(world(exposed={"workers-0": ["none"]})), Name.KEY_FILES).verdict is Verdict.UNMEASURED


def test_a_peer_on_the_second_interface_is_looked_at_too() -> None:
    found = see(world(peered={("workers-0", "wg0-n", "key-of-a-stranger"): "10.88.0.1/32"}))
    assert wrong(found) == {"peers": ["workers-0: wg0-n has a peer that nobody declared: key-of-a-stranger"]}


def test_a_wireguard_interface_that_no_mesh_declares_is_told_with_its_peers() -> None:
    found = see(world(peered={("workers-0", "wg7", "key-of-a-stranger"): "10.9.0.0/16"}))
    text = "workers-0: wg7, a WireGuard interface that no mesh declares, has a peer: key-of-a-stranger"
    assert wrong(found) == {"peers": [text]}


def test_a_retired_key_is_accepted_only_while_a_rotation_goes_on() -> None:
    old = {("workers-0", "wg0", "old-key"): "10.88.0.1/32"}
    found = see(world(peered=old, trails={"control-0": ("", "old-key")}))
    assert wrong(found) == {"peers": ["workers-0: wg0 has a peer with a retired key of control-0: old-key"]}
    assert see(world(peered=old, trails={"control-0": ("next-key", "old-key")})).verified
    ahead = {("workers-0", "wg0", "next-key"): "10.88.0.1/32"}
    assert see(world(peered=ahead, trails={"control-0": ("next-key", "")})).verified, "it is about to have that"


@pytest.mark.parametrize(
    ("allowed", "ok"),
    [
        ("10.88.0.1/32", True),
        ("10.88.0.1/32 10.88.0.2/32", False),
        ("10.88.0.1/32 0.0.0.0/0", False),
        ("10.88.0.0/16", False),
        ("(none)", False),
    ],
)
def test_a_peer_whose_node_cannot_be_read_is_as_it_is_declared_or_a_stranger(allowed: str, ok: bool) -> None:
    seen = world(
        hubs="control",
        unreachable={"control-0"},
        dropped={("workers-0", "control-0")},
        peered={("workers-0", "wg0", "some-key"): allowed},
    )
    found = check(see(seen), Name.PEERS)
    assert (found.verdict is Verdict.OK) is ok, found.findings


def test_networks_that_a_failover_agent_may_move_are_declared_for_every_peer_of_their_group() -> None:
    one = replace(world().stack.members[0], node="hub-0", addresses=("10.88.0.1",))
    peers = {"hub-0": {"allowedIps": ["10.88.4.0/24", "10.88.0.1/32"], "persistentKeepalive": 25}}
    groups = [{"networks": ["10.88.4.0/24"], "via": ["hub-0", "hub-1"]}]
    wanted = Wanted(one, 1420, "", 0, False, peers, groups)

    def fits(*allowed: str, keepalive: int = 25, first: bool = True) -> bool:
        return _as_declared(wanted, one, Peer("key", "", allowed, keepalive, 0, 0, 0), first)

    assert fits("10.88.0.1/32", "10.88.4.0/24")
    assert fits("10.88.0.1/32"), "they were moved to the other one"
    assert not fits("10.88.0.1/32", "10.88.5.0/24")
    assert not fits("10.88.0.1/32", keepalive=0)
    assert fits("10.88.0.1/32", keepalive=0, first=False), "on the second interface it is another while keys rotate"


def test_losses_say_how_many_addresses_they_are_of_where_others_do_not_answer() -> None:
    assert check(see(world()), Name.LOSS).said == "400 of 400 echoes came back, the slowest answer after 1.0 ms"
    found = check(see(world(deaf={("workers-0", "fd88::1"), ("workers-0", "10.88.0.1")})), Name.LOSS)
    said = "380 of 380 echoes came back from the 38 addresses that answer, 2 do not (reachability)"
    assert found.said == f"{said}, the slowest answer after 1.0 ms"


def test_a_node_whose_interface_has_another_mtu_is_named_before_the_pairs_that_show_it() -> None:
    narrow = {(f"control-{n}", "10.88.0.5"): 1380 for n in range(2)}
    found = check(see(world(mtus={"workers-2": 1380}, narrow=narrow)), Name.PATH_MTU)
    assert (found.findings[0].node, found.findings[0].text) == ("workers-2", "wg0 has an MTU of 1380, not 1420")
    assert len(found.findings) == 3


def test_keys_are_due_by_age() -> None:
    seen = world(key_ages={"workers-0": 400 * 86400})
    assert see(seen).verified, "nothing says how long keys are used"
    found = check(see(seen), Name.KEY_AGE)
    assert found.said == "the oldest key is 400d old, never due by age"


def test_the_age_of_a_key_that_was_taken_over_is_unknown_until_it_is_rotated() -> None:
    taken = see(world(trails={"workers-0": ("", "", "adopted")}))
    assert "workers-0" not in taken.meshes[0].key_ages
    assert taken.verified
    found = check(taken, Name.KEY_AGE)
    assert found.said.endswith("never due by age; 1 taken over, how old they are nobody knows")
    rotated = see(world(trails={"workers-0": ("", "before", "adopted")}))
    assert "workers-0" in rotated.meshes[0].key_ages


def test_pairs_without_a_tunnel_name_who_passes_their_traffic_on() -> None:
    pairs = {(pair.sender, pair.target): pair for pair in see(world(hubs="control")).meshes[0].pairs}
    assert pairs["workers-0", "workers-1"].via == ("control-0",)
    assert not pairs["workers-0", "workers-1"].tunnel
    assert pairs["workers-0", "control-1"].via == ()


def test_no_node_gets_more_echoes_than_it_lets_in() -> None:
    pools = {"workers": (60, "us-east", "worker")}
    stack = declared(pools=pools)
    survey = mesh_verify._Survey(stack)
    assert survey._count * mesh_verify.MAX_OTHERS <= mesh_verify.BURST
    targets = mesh_verify.status.ping_targets(stack.members, mesh_verify.MAX_OTHERS)
    assert {len(addresses) for addresses in targets.values()} == {2 * 49}
    fifty = mesh_verify.status.ping_targets(stack.members[:50], mesh_verify.MAX_OTHERS)
    assert {len(set(addresses)) for addresses in fifty.values()} == {2 * 49}, "all of the others"


def test_what_ping_prints_is_read_like_what_fping_prints() -> None:
    told = """@@ echoes
PING 10.88.0.1 (10.88.0.1) 1392(1420) bytes of data.

--- 10.88.0.1 ping statistics ---
5 packets transmitted, 4 received, 20% packet loss, time 803ms
rtt min/avg/max/mdev = 0.381/0.442/0.512/0.050 ms
larger --- 10.88.0.1 ping statistics ---
larger 1 packets transmitted, 0 received, +1 errors, 100% packet loss, time 0ms
fd88::1 : xmt/rcv/%loss = 5/5/0%, min/avg/max = 0.3/0.4/0.5
PING 10.88.0.2 (10.88.0.2) 1392(1420) bytes of data.

--- 10.88.0.2 ping statistics ---
5 packets transmitted, 0 received, 100% packet loss, time 803ms
@@ capture
@@ end
"""
    found = mesh_probes.parse(told)
    assert found.complete
    assert found.echoes == {
        "10.88.0.1": mesh_probes.Echo(5, 4, 0.381, 0.442, 0.512),
        "10.88.0.2": mesh_probes.Echo(5, 0),
        "fd88::1": mesh_probes.Echo(5, 5, 0.3, 0.4, 0.5),
    }
    assert found.larger == {"10.88.0.1": False}


@pytest.mark.parametrize(
    "text", ["", "@@ end", "@@ echoes\n@@ capture\n@ device\n@@ end", "\x00" * 99, "@ device x\n@"]
)
def test_nonsense_from_a_node_is_nothing(text: str) -> None:
    found = mesh_probes.parse(text)
    assert found.echoes == {}
    assert all(capture.failed for capture in found.captures)


def test_a_request_takes_addresses_only() -> None:
    with pytest.raises(ValueError, match="does not appear"):
        mesh_probes.request(mesh_probes.Request({"10.88.0.1; reboot": 56}, 1), "x")


def test_changes_between_two_measurements() -> None:
    good, bad = see(world()), see(troubled())
    assert list(changes(good, good)) == []
    came = list(changes(good, bad))
    assert came
    assert not any(change.gone for change in came)
    assert {change.gone for change in changes(bad, good)} == {True}
    text = lines(good, list(changes(bad, good)), color=False)
    assert "✓ backbone peers, control-1: no longer: wg0 has a peer that nobody declared" in text


def test_watching_goes_on_until_ctrl_c_and_keeps_the_last() -> None:
    measured = [see(world()), see(troubled()), see(world())]
    shown: list[int] = []
    slept: list[float] = []

    def measure() -> Verification:
        if not measured:
            raise KeyboardInterrupt
        return measured.pop()

    last = watch(measure, lambda found, told: shown.append(len(told)), 30, sleep=slept.append, clock=lambda: 0.0)
    assert last is not None
    assert last.verified
    assert shown[0] == 0
    assert shown[1] == shown[2] > 5
    assert slept == [30, 30, 30]
    assert watch(measure, lambda found, told: None, 30, sleep=slept.append) is None


def test_the_text_names_every_check_and_what_is_wrong() -> None:
    drawn = render(see(troubled()), color=False, width=100)
    for text in (
        "lab: not verified;",
        "✗ reachability",
        "workers-0: no answer from control-0 at 10.88.0.1",
        "✗ no plaintext",
        "workers-2: tcpdump is not installed there",
        "control-0: 1 packets of the mesh in clear on eth0: IP 10.88.0.1 > 10.88.0.3: ICMP echo",
    ):
        assert text in drawn, drawn
