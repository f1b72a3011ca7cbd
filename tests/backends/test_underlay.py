"""The underlay of lab nodes: pools behind routers, MTU, names, and what a reboot takes away."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest

from swarmctl.backends.base import Host, Placement
from swarmctl.backends.lab import fabric, marks, names, network

from . import labs

pytestmark = pytest.mark.integration


def reaches(source: Placement, target: Placement | str, *more: str, patience: int = 10) -> bool:
    """Whether an echo comes back within so many seconds: a busy machine may lose the first."""
    address = target if isinstance(target, str) else target.underlay[0]
    words = ["ping", "-n", "-c1", "-w", str(patience), *more, address]
    return labs.host(source).run(words, check=False).returncode == 0


def cut_off(source: Placement, target: Placement | str, *more: str) -> bool:
    return not reaches(source, target, *more, patience=1)


def on_fabric(*argv: str, stdin: str = "") -> str:
    fabric_ = fabric.running(marks.Lab(labs.STACK))
    assert fabric_ is not None
    words = ["nsenter", "-t", str(fabric_.process.pid), "-U", "--preserve-credentials", "-n", *argv]
    if not fabric_.rootless:
        words = [word for word in words if word not in ("-U", "--preserve-credentials")]
    return subprocess.run(words, check=True, capture_output=True, text=True, input=stdin).stdout


def mend(placements: list[Placement]) -> None:
    for placement in placements:
        labs.backend.update_machine(placement.inputs, placement.inputs)
        assert labs.backend.read_machine(placement.inputs) == placement.inputs


@pytest.fixture
def behind(lab: None) -> list[Placement]:
    """Two machines behind one router, one behind another, and one that stands open in another region."""
    made = labs.place(labs.pool("a", 2, nat=True), labs.pool("b", 1, nat=True), labs.pool("c", 1, "us"))
    labs.create(made)
    return made


def test_machines_behind_a_router_reach_others_and_are_not_reached(behind: list[Placement]) -> None:
    first, second, other, outside = behind
    assert [placement.endpoint for placement in behind] == [None, None, None, ""]
    for placement in behind:
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
    assert reaches(first, outside)
    assert reaches(other, outside)
    assert reaches(first, second), "they have one network"
    router = first.inputs["router"].partition("/")[0]
    assert other.inputs["router"] != first.inputs["router"]
    for target in (first, router):
        assert cut_off(outside, target)
        assert cut_off(other, target)


ANSWERS = """
import socket
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(("", 5000))
while True:
    data, sender = own.recvfrom(2000)
    own.sendto(b"%s %d" % (sender[0].encode(), sender[1]), sender)
"""
ASKS = """
import socket, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
own.bind(("", 5000)); own.settimeout(1)
try:
    own.sendto(b"?", (sys.argv[1], 5000)); print(own.recv(2000).decode())
except TimeoutError:
    print("nothing")
"""


def test_what_a_router_sends_on_has_its_address_and_answers_come_back(behind: list[Placement]) -> None:
    first, _, other, outside = behind
    for placement in (outside, other):
        labs.host(placement).start_service("answers", ["python3", "-c", ANSWERS])

    def asked(source: Placement, target: str) -> str:
        return labs.host(source).run(["python3", "-c", ASKS, target]).text.strip()

    router = first.inputs["router"].partition("/")[0]
    assert labs.soon(lambda: asked(first, outside.underlay[0]) == f"{router} 5000", 20)
    assert asked(first, other.underlay[0]) == "nothing"
    assert asked(first, other.inputs["router"].partition("/")[0]) == "nothing"
    # The same port that the answer above came through: it is open for the one who was asked only.
    labs.host(first).start_service("answers", ["python3", "-c", ANSWERS])
    (third,) = labs.place(labs.pool("d", 1, "us"), previous={p.name: p.inputs for p in behind})
    labs.create([third])
    assert asked(third, router) == "nothing"


@pytest.mark.parametrize(
    "change", ["nft delete table ip BRIDGE", "nft flush chain ip BRIDGE pass", "ip addr del ROUTER"]
)
def test_a_router_that_was_changed_is_seen_and_mended(behind: list[Placement], change: str) -> None:
    first, _, _, outside = behind
    outer, region = first.inputs["router"], network.bridge_name(first.inputs["router"])
    change = change.replace("BRIDGE", network.bridge_name(first.inputs["address"]))
    on_fabric(*change.replace("ROUTER", f"{outer.partition('/')[0]}/32 dev {region}").split())
    found = labs.backend.read_machine(first.inputs)
    assert found is not None
    assert found["gateway"] == ""
    mend(behind)
    assert reaches(first, outside)
    assert cut_off(outside, first)


def test_a_pool_goes_behind_a_router_and_comes_out_in_place(lab: None) -> None:
    before = labs.place(labs.pool("a", 2), labs.pool("b", 1))
    labs.create(before)
    labs.host(before[0]).start_service("stays", ["sleep", "7531"])
    running = labs.service(before[0])
    state = {placement.name: placement.inputs for placement in before}
    for nat in (True, False):
        after = labs.place(labs.pool("a", 2, nat=nat), labs.pool("b", 1), previous=state)
        assert after[2].inputs == before[2].inputs, "others stay where they are"
        for placement in after:
            labs.backend.update_machine(state[placement.name], placement.inputs)
            assert labs.backend.read_machine(placement.inputs) == placement.inputs
        assert reaches(after[0], after[2])
        assert reaches(after[0], after[1])
        assert cut_off(after[2], after[0]) if nat else reaches(after[2], after[0])
        assert labs.service(after[0]) == running
        state = {placement.name: placement.inputs for placement in after}


def test_the_address_of_a_router_that_nobody_is_behind_can_be_given_away(behind: list[Placement]) -> None:
    first, second, other, outside = behind
    labs.delete([first, second])
    address = first.inputs["router"]
    (new,) = labs.place(labs.pool("d", 1), previous={"d-0": {"region": "eu", "address": address}})
    assert new.inputs["address"] == address
    labs.create([new])
    assert reaches(outside, new)
    assert reaches(other, new)
    assert address not in marks.Lab(labs.STACK).fabric()["routers"].values()


def test_the_mtu_is_set_measured_and_changed_in_place(lab: None) -> None:
    before = labs.place(labs.pool("a", 2), labs.pool("b", 1, "us"), labs.pool("c", 1, nat=True))
    labs.create(before)
    assert cut_off(before[0], before[1], "-M", "do", "-s", "8972")
    state = {placement.name: placement.inputs for placement in before}
    after = labs.place(
        labs.pool("a", 2, mtu=9000),
        labs.pool("b", 1, "us", mtu=9000),
        labs.pool("c", 1, nat=True, mtu=1400),
        previous=state,
    )
    assert [placement.mtu for placement in after] == [9000, 9000, 9000, 1400]
    for placement in after:
        assert {**state[placement.name], "mtu": placement.mtu} == placement.inputs
        labs.backend.update_machine(state[placement.name], placement.inputs)
    for placement in after:
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
    jumbo, same, far, narrow = after
    assert reaches(jumbo, same, "-M", "do", "-s", "8972")
    assert reaches(jumbo, far, "-M", "do", "-s", "8972")
    assert cut_off(jumbo, far, "-M", "do", "-s", "8973")
    assert reaches(narrow, jumbo, "-M", "do", "-s", "1372")
    on_fabric("ip", "link", "set", network.cable_name(jumbo.name), "mtu", "1500")
    found = labs.backend.read_machine(jumbo.inputs)
    assert found is not None
    assert found["gateway"] == ""
    mend([jumbo])


def test_a_region_with_a_smaller_mtu_says_so_to_those_who_send_too_much(lab: None) -> None:
    wide, narrow = labs.place(labs.pool("a", 1, mtu=9000), labs.pool("b", 1, "us", mtu=576))
    labs.create([wide, narrow])
    assert reaches(wide, narrow, "-M", "dont", "-s", "8000"), "in fragments"
    answer = labs.host(wide).run(
        ["ping", "-n", "-c3", "-W3", "-M", "do", "-s", "1000", narrow.underlay[0]], check=False
    )
    assert "mtu = 576" in answer.text or "mtu=576" in answer.text


def address_of(host: Host, name: str) -> str:
    return host.run(["getent", "ahostsv4", name], check=False).text.partition(" ")[0]


def test_nodes_find_each_other_by_name_as_machines_come_and_go(lab: None) -> None:
    first, second = labs.place(labs.pool("a", 2))
    labs.create([first, second])
    host = labs.host(first)
    assert address_of(host, f"a-1.{names.DOMAIN}") == second.underlay[0]
    assert address_of(host, "a-0") == first.underlay[0]
    assert host.run(["hostname", "-f"]).text.strip() == f"a-0.{names.DOMAIN}"
    assert host.run(["ping", "-c1", "-w10", f"a-1.{names.DOMAIN}"]).returncode == 0
    (third,) = labs.place(labs.pool("b", 1, "us"), previous={p.name: p.inputs for p in (first, second)})
    labs.create([third])
    assert address_of(host, f"b-0.{names.DOMAIN}") == third.underlay[0]
    labs.delete([second])
    assert address_of(host, f"a-1.{names.DOMAIN}") == ""
    assert host.run(["sh", "-c", "echo 192.0.2.1 b-0 >>/etc/hosts"], check=False).returncode
    (names.folder(marks.Lab(labs.STACK)) / "hosts").unlink()
    labs.create([first])
    assert address_of(host, f"b-0.{names.DOMAIN}") == third.underlay[0]


MAKE = """
ip link add probe0 type veth peer name probe1
ip route add 203.0.113.0/24 dev lo
nft add table inet mine
echo kept >/etc/kept
"""


def test_a_reboot_ends_everything_in_memory_and_starts_the_services_again(lab: None) -> None:
    first, second = labs.place(labs.pool("a", 2))
    labs.create([first, second])
    host = labs.host(first)
    host.run(["sh", "-c", MAKE])
    host.start_service("stays", ["sleep", "7531"])
    host.start_service("stopped", ["sleep", "7532"])
    host.start_service("gone", ["sh", "-c", "cp /bin/sleep /srv/mine; exec /srv/mine 7533"])
    host.stop_service("stopped")
    assert labs.soon(lambda: host.run(["test", "-e", "/srv/mine"], check=False).returncode == 0, 20)
    host.start_service("gone", ["/srv/mine", "7533"])
    host.run(["mv", "/srv/mine", "/srv/elsewhere"])
    before = {status.name: status.pid for status in host.services()}
    labs.reboot(first)
    after = {status.name: status.pid for status in host.services()}
    assert set(before) == set(after) == {"stays", "gone"}
    assert after["stays"] not in (None, before["stays"])
    assert after["gone"] is None, "it can't be started any more, and that does not hold up the boot"
    processes = host.run(["ps", "ax", "-o", "args="]).text
    assert processes.count("sleep 7531") == 1
    assert "sleep 7532" not in processes
    assert host.get("/etc/kept") == b"kept\n"
    for probe in ("ip link show probe0", "ip route show 203.0.113.0/24 | grep .", "nft list table inet mine"):
        assert host.run(["sh", "-c", probe], check=False).returncode
    assert labs.backend.read_machine(first.inputs) == first.inputs
    assert reaches(second, first)


def test_a_node_that_died_starts_its_services_when_it_is_made_again(lab: None) -> None:
    placements: list[Any] = labs.place(labs.pool("a", 1))
    labs.create(placements)
    host = labs.host(placements[0])
    host.start_service("stays", ["sleep", "7531"])
    labs.holders()[-1].kill()
    labs.create(placements)
    assert [status.running for status in host.services()] == [True]
    assert host.run(["ps", "ax", "-o", "args="]).text.count("sleep 7531") == 1
