"""What the mesh is for: two nodes exchange words over it, and the same exchange outside of it is refused."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from ipaddress import ip_address

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("exchange")]

SERVER = """
use IO::Socket::IP;
my $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => 6379, Listen => 5, ReuseAddr => 1, V6Only => 0) or die $@;
while (my $c = $s->accept) { my $line = <$c>; print $c "heard $line"; close $c }
"""
ASK = """timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/6379 && echo {word} >&3 && cat <&3'"""
CAPTURE = """
socket(my $s, 17, 3, 0x0300) or die "socket: $!";   # AF_PACKET, SOCK_RAW, every protocol
open(my $f, "<", "/sys/class/net/$ARGV[0]/ifindex") or die "$ARGV[0]: $!";
bind($s, pack("SnlSCCx8", 17, 3, <$f>, 0, 0, 0)) or die "bind: $!";   # struct sockaddr_ll, packet(7)
$| = 1; print "ready\\n"; $SIG{ALRM} = sub { exit }; alarm 20;
while (defined recv($s, my $packet, 65535, 0)) { print unpack("H*", $packet), "\\n" }
"""
"""Prints every packet that passes an interface, in both directions, in hexadecimal."""
UDP, WIREGUARD_PORT = 17, 51820


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("exchange"))
    made("apply", "--yes")
    made("status")  # waits for sessions: two ends that begin at once drop each other's handshake, and try again later
    listening = f"until grep -q :{6379:04X} /proc/net/tcp6; do sleep 0.05; done"
    made.on("control-0", f"setsid perl -e '{SERVER}' >/dev/null 2>&1 </dev/null & {listening}")
    yield made
    made("destroy", "--yes")
    labs.assert_nothing_left(made)


def addresses(lab: labs.Lab, node: str, interface: str) -> list[str]:
    lines = lab.on(node, f"ip -o addr show dev {interface} scope global").splitlines()
    return [line.split()[3].split("/")[0] for line in lines]


def test_a_declared_flow_carries_an_exchange_over_both_families(lab: labs.Lab) -> None:
    reached = addresses(lab, "control-0", "wg0")
    assert len(reached) == 2
    for address in reached:
        assert lab.on("workers-0", ASK.format(address=address, word="hello")) == "heard hello\n"


def test_the_same_exchange_outside_the_mesh_is_refused(lab: labs.Lab) -> None:
    underlay = addresses(lab, "control-0", "eth0")
    assert underlay
    for address in underlay:
        answer = lab.on("workers-0", ASK.format(address=address, word="hello") + " 2>&1; echo status $?", check=False)
        assert "heard" not in answer
        assert "status 124" in answer, f"dropped, not answered: {answer}"


def test_a_flow_that_nobody_declared_is_refused_on_the_mesh(lab: labs.Lab) -> None:
    mesh = addresses(lab, "control-0", "wg0")[0]
    answer = lab.on("control-1", ASK.format(address=mesh, word="hello") + " 2>&1; echo status $?", check=False)
    assert "heard" not in answer
    assert "status 124" in answer


def test_the_exchange_travels_encrypted(lab: labs.Lab) -> None:
    for address in addresses(lab, "control-0", "wg0"):
        word = secrets.token_hex(16)
        outside, inside = captured(lab, "workers-0", ASK.format(address=address, word=word), ("eth0", "wg0"))

        assert sum(word.encode() in packet for packet in inside) >= 2, "the capture sees question and answer"
        assert not any(word.encode() in packet for packet in outside)
        assert any(address_in(packet, address) for packet in inside)
        assert not any(address_in(packet, address) for packet in outside), "not even who talks to whom"
        tunnelled = [packet for packet in outside if is_wireguard(packet)]
        # Two captures end one after the other: the last packets may be in one of them only.
        assert len(tunnelled) >= max(2, len(inside) - 2), "each of the packets inside is one of WireGuard's outside"
        largest = max(map(len, inside))
        assert any(len(packet) > largest for packet in tunnelled)


def captured(lab: labs.Lab, node: str, script: str, interfaces: tuple[str, ...]) -> list[list[bytes]]:
    """The packets that pass each of the interfaces while the script runs on the node."""
    folder = "/tmp/capture"
    begin = [f"perl -e '{CAPTURE}' {name} >{folder}/{name} & pids=\"$pids $!\"\n" for name in interfaces]
    ready = [f"until grep -q ready {folder}/{name}; do sleep 0.05; done\n" for name in interfaces]
    end = f"sleep 0.3; kill $pids; cd {folder}; tail -n +2 {' '.join(interfaces)}; rm -r {folder}"
    text = lab.on(node, f"mkdir {folder}; {''.join(begin)}{''.join(ready)}{script} >/dev/null; {end}")
    parts = [part.partition("<==\n")[2].split() for part in text.split("==> ")[1:]]
    assert len(parts) == len(interfaces), text
    return [[bytes.fromhex(line) for line in part] for part in parts]


def is_wireguard(frame: bytes) -> bool:
    """Whether an Ethernet frame is UDP over IPv4 from or to WireGuard's port."""
    ports = [int.from_bytes(frame[at : at + 2], "big") for at in (34, 36)]
    return frame[12:14] == b"\x08\x00" and frame[23] == UDP and WIREGUARD_PORT in ports


def address_in(packet: bytes, address: str) -> bool:
    return ip_address(address).packed in packet


def test_echo_passes_between_mesh_nodes_up_to_the_largest_packet(lab: labs.Lab) -> None:
    for address, overhead in zip(addresses(lab, "control-0", "wg0"), (28, 48), strict=True):
        lab.on("workers-0", f"ping -n -c1 -W2 -M do -s {1420 - overhead} {address}")
        refused = lab.on("workers-0", f"ping -n -c1 -W2 -M do -s {1421 - overhead} {address} 2>&1", check=False)
        assert "message too long" in refused.lower() or "mtu=1420" in refused, refused
