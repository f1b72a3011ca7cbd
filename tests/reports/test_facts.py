"""Facts as people see them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts.system.model import Nic
from swarmctl.operations.facts import NodeFacts, Report
from swarmctl.reports import facts_words as words
from swarmctl.reports.facts import render
from tests.hosts.system.machines import BARE, MACHINES, NOW, cards, disk, read

DEAD = NodeFacts(
    "dead",
    "gpu",
    "ssh",
    error=WorldUnreadable("dead (ops@192.0.2.1) did not answer within 10 s", "see whether it is up"),
)
KNOWN = [NodeFacts(name, "gpu", "ssh", read(**parts), NOW) for name, parts in MACHINES.items()]
BLANK = set(BARE) - {"hostname", "now", "kernel", "architecture"}


def drawn(*nodes: NodeFacts, width: int = 80, single: bool = False, now: float = NOW) -> str:
    return render(Report("demo", nodes, now), color=False, width=width, single=single)


def test_a_table_of_many_machines_fits_80_columns() -> None:
    text = drawn(*KNOWN, DEAD, NodeFacts("new", "p", "lab"))
    assert "\n".join(text.splitlines()[:6]) == (
        "demo: 8 of 10 machines known\n"
        "\n"
        "NODE      SYSTEM              CPU   MEMORY  ACCELERATORS                AGE\n"
        "bare      ubuntu 24.04  112 cores  2.0 TiB  none                        now\n"
        "a100      ubuntu 24.04  112 cores  2.0 TiB  8 × A100 SXM4 80GB          now\n"
        "hgx-h100  ubuntu 24.04  112 cores  2.0 TiB  8 × H100 SXM5 80GB          now"
    )
    assert max(map(len, text.splitlines())) <= 80


def test_with_more_room_it_tells_more() -> None:
    text = drawn(*KNOWN, width=140)
    assert "8 × 3.5 TiB, 1.7 TiB" in text
    assert "6.8.0-60-generic" in text
    assert max(map(len, text.splitlines())) <= 140


def test_a_machine_without_a_device_in_its_network_has_what_carries_it() -> None:
    veth = Nic("eth0", "02:00:00:00:00:01", up=True, mtu=1500, kind="veth", speed=10_000)
    tunnel = Nic("wg0", "", up=True, mtu=1420, kind="wireguard")
    card = Nic("ens1", "02:00:00:00:00:02", up=True, mtu=9000, speed=100_000, driver="mlx5_core")
    assert words.network(replace(read(), nics=(veth, tunnel))) == "10 Gb/s (virtual)"
    assert words.network(replace(read(), nics=(veth, card))) == "100 Gb/s"
    assert words.network(replace(read(), nics=(tunnel,))) == "none"


def test_what_cannot_be_read_is_told_with_its_reason_and_the_rest_is_shown() -> None:
    text = drawn(KNOWN[0], DEAD, NodeFacts("new", "p", "lab"))
    assert "demo: 1 of 3 machines known" in text
    assert "bare  ubuntu 24.04" in text
    assert "✗ dead (ops@192.0.2.1) did not answer within 10 s\n  hint: see whether it is up\n" in text
    assert "✗ new does not exist: it is not applied yet, or somebody has removed it\n" in text


def test_age_and_a_clock_that_is_wrong() -> None:
    text = drawn(NodeFacts("n1", "p", "ssh", read(), NOW - 400 * 86400, kept=True), now=NOW - 400 * 86400 + 7500)
    assert "1 from earlier (--refresh reads all anew)" in text
    assert "2h 05m" in text
    assert "! n1: its clock is 400 days ahead of this computer's" in text
    assert "clock" not in drawn(NodeFacts("n1", "p", "ssh", read(), NOW - 20))


def test_everything_about_one_machine() -> None:
    text = drawn(KNOWN[2], single=True)
    for line in (
        "hgx-h100  (gpu, ssh; read now)",
        "  system        Ubuntu 24.04.3 LTS, Linux 6.8.0-60-generic x86_64",
        "  accelerators  8 × H100 SXM5 80GB",
        "                0000:1b:00.0  10de:2330  H100 SXM5 80GB",
        "  driver        nvidia 580.95.05, open module",
        "                nvme8n1     1.7 TiB  nvme  in use  SAMSUNG MZ1L21T9HCLS",
        "  network       ens1f0np0  400 Gb/s  mlx5_core  0000:18:00.0  203.0.113.10/24",
        "  modules       nvidia 580.95.05, nvidia_uvm, mlx5_core, wireguard",
        "  IOMMU         on, 2 groups (DMA-FQ, identity)",
        "  clock         synchronised (chronyd)",
    ):
        assert line in text.splitlines()
    assert max(map(len, text.splitlines())) <= 80


def test_what_is_not_known_is_said_to_be_so() -> None:
    text = drawn(NodeFacts("n1", "p", "ssh", read(**dict.fromkeys(BLANK, "")), NOW), single=True)
    for label in ("accelerators", "disks", "network", "modules", "secure boot", "IOMMU", "confidential", "boot"):
        assert f"  {label:14}unknown\n" in text


def test_a_card_that_is_in_no_table_is_told_by_its_id() -> None:
    text = drawn(NodeFacts("n1", "p", "ssh", read(lspci=cards(2, "10de:ffff")), NOW))
    assert "2 × 10de:ffff" in text


def test_a_card_that_has_left_the_bus_is_told_and_not_counted() -> None:
    found = read(lspci=cards(2, "10de:2330"), gone="0000:11:00.0")
    assert " H100 SXM5 80GB, 1 gone from the bus " in drawn(NodeFacts("n1", "p", "ssh", found, NOW), width=200)
    text = drawn(NodeFacts("n1", "p", "ssh", found, NOW), single=True)
    assert "0000:10:00.0  10de:2330  H100 SXM5 80GB" in text
    assert "0000:11:00.0  10de:2330  gone from the bus: answers nothing" in text


def test_many_disks_are_not_all_listed() -> None:
    import json

    found = read(lsblk=json.dumps({"blockdevices": [disk(f"sd{n:03}", 10**12) for n in range(60)]}))
    assert "… and 36 more; --format json has them all" in drawn(NodeFacts("n1", "p", "ssh", found, NOW), single=True)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("width", [40, 80, 200])
def test_nothing_that_a_machine_says_reaches_the_terminal_as_it_is(single: bool, width: int) -> None:
    found = read(
        hostname="\x1b[31mroot\u202e",
        os='ID=debian\nPRETTY_NAME="\x1b]0;owned\x07"',
        virtualisation="sys_vendor\t\x1b[2J",
        cpu="model name\t: \x9b31m\n",
        link='[{"ifname": "e\\u001b[0m", "mtu": 1}, {"ifname": "e\u202e1", "mtu": 1, "flags": ["UP"]}]',
    )
    text = drawn(NodeFacts("n1", "p", "ssh", found, NOW), single=single, width=width)
    assert all(character.isprintable() or character == "\n" for character in text)


def test_no_machines_at_all() -> None:
    assert drawn() == "demo: no machines are declared\n"
