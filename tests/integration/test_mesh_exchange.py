"""What the mesh is for: two nodes exchange words over it, and the same exchange outside of it is refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("exchange")]

SERVER = """
use IO::Socket::IP;
my $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => 6379, Listen => 5, ReuseAddr => 1, V6Only => 0) or die $@;
while (my $c = $s->accept) { my $line = <$c>; print $c "heard $line"; close $c }
"""
ASK = """timeout 3 bash -c 'exec 3<>/dev/tcp/{address}/6379 && echo hello >&3 && cat <&3'"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("exchange"))
    made("apply", "--yes")
    made(
        "status"
    )  # waits for the first handshakes: two ends that begin at once drop each other's, and try again in 5 s
    made.on("control-0", f"setsid perl -e '{SERVER}' >/dev/null 2>&1 </dev/null & sleep 0.5")
    yield made
    made("destroy", "--yes", code=None)
    labs.assert_nothing_left(made)


def addresses(lab: labs.Lab, node: str, interface: str) -> list[str]:
    lines = lab.on(node, f"ip -o addr show dev {interface} scope global").splitlines()
    return [line.split()[3].split("/")[0] for line in lines]


def test_a_declared_flow_carries_an_exchange_over_both_families(lab: labs.Lab) -> None:
    reached = addresses(lab, "control-0", "wg0")
    assert len(reached) == 2
    for address in reached:
        assert lab.on("workers-0", ASK.format(address=address)) == "heard hello\n"


def test_the_same_exchange_outside_the_mesh_is_refused(lab: labs.Lab) -> None:
    underlay = addresses(lab, "control-0", "eth0")
    assert underlay
    for address in underlay:
        answer = lab.on("workers-0", ASK.format(address=address) + " 2>&1; echo status $?", check=False)
        assert "heard" not in answer
        assert "status 124" in answer, f"dropped, not answered: {answer}"


def test_a_flow_that_nobody_declared_is_refused_on_the_mesh(lab: labs.Lab) -> None:
    mesh = addresses(lab, "control-0", "wg0")[0]
    answer = lab.on("control-1", ASK.format(address=mesh) + " 2>&1; echo status $?", check=False)
    assert "heard" not in answer
    assert "status 124" in answer


def test_the_exchange_travels_encrypted(lab: labs.Lab) -> None:
    mesh = addresses(lab, "control-0", "wg0")[0]
    before = int(lab.on("workers-0", "cat /sys/class/net/wg0/statistics/tx_bytes"))
    lab.on("workers-0", ASK.format(address=mesh))
    after = int(lab.on("workers-0", "cat /sys/class/net/wg0/statistics/tx_bytes"))
    assert after > before
    route = lab.on("workers-0", f"ip route get {mesh}")
    assert "dev wg0" in route


def test_path_mtu_messages_and_echo_pass_between_mesh_nodes(lab: labs.Lab) -> None:
    mesh = addresses(lab, "control-0", "wg0")
    for address in mesh:
        lab.on("workers-0", f"ping -n -c1 -W2 {address}")
    lab.on("workers-0", f"ping -n -c1 -W2 -M do -s 1392 {mesh[0]}")
