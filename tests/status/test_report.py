"""The whole output of `status`, as text and as JSON."""

from __future__ import annotations

import json
import re
from dataclasses import replace

from swarmctl.graph.model import Machine
from swarmctl.hosts import reading
from swarmctl.hosts.facts import Facts
from swarmctl.operations.flow_traffic import count
from swarmctl.operations.status import measure
from swarmctl.operations.status_model import Status
from swarmctl.reports.console import paint
from swarmctl.reports.status import render, size
from swarmctl.reports.status_json import to_json
from swarmctl.reports.table import Column, table
from tests.status.world import FLOWS, World, declared


def see(world: World, *, probe: bool = True) -> Status:
    """Handshakes don't grow older here while silence is waited for, so that the text is the same."""
    slept: list[float] = []
    found = measure(world.stack, probe=probe, open_=world.open, sleep=slept.append, clock=lambda: sum(slept))
    return replace(found, seconds=2.34)


def drawn(world: World, *, width: int = 80, color: bool = False, probe: bool = True) -> str:
    return render(see(world, probe=probe), color=color, width=width)


HEALTHY_80 = """\
lab: 5 of 5 nodes ready; 20 of 20 links reachable; 184 of 184 ports as declared;
     measured in 2.3s

Nodes
    NODE       STATE  REGION      MESH ADDRESS  TUNNELS UP  RECEIVED      SENT
  ✓ control-0  ready  eu-central  10.88.0.1     4 of 4      12.1 KiB  11.3 KiB
  ✓ control-1  ready  eu-central  10.88.0.2     4 of 4      12.1 KiB  11.3 KiB
  ✓ workers-0  ready  us-east     10.88.0.3     4 of 4      12.1 KiB  11.3 KiB
  ✓ workers-1  ready  us-east     10.88.0.4     4 of 4      12.1 KiB  11.3 KiB
  ✓ workers-2  ready  us-east     10.88.0.5     4 of 4      12.1 KiB  11.3 KiB

Links
    LINK                   TRAFFIC    ROUND TRIP  LAST HANDSHAKE    BYTES
  ✓ control-0 ⇄ control-1  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-0 ⇄ workers-0  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-0 ⇄ workers-1  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-0 ⇄ workers-2  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-1 ⇄ workers-0  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-1 ⇄ workers-1  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-1 ⇄ workers-2  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ workers-0 ⇄ workers-1  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ workers-0 ⇄ workers-2  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ workers-1 ⇄ workers-2  reachable      0.4 ms  12s ago         5.9 KiB

Who reaches whom  (row to column, echo over the mesh, every address)
               1 2 3 4 5
  1 control-0  · ✓ ✓ ✓ ✓
  2 control-1  ✓ · ✓ ✓ ✓
  3 workers-0  ✓ ✓ · ✓ ✓
  4 workers-1  ✓ ✓ ✓ · ✓
  5 workers-2  ✓ ✓ ✓ ✓ ·
  ✓ reachable   · itself

Flows  (184 ports tried)
  ✓ baseline/ray-head       36 of 36 open
  ✓ baseline/metrics        16 of 16 open
  ✓ baseline/gossip         12 of 12 open
  ✓ undeclared on the mesh  80 of 80 closed
  ✓ outside of the mesh     40 of 40 closed
"""

TRAFFIC = """\
Traffic  (came in over the mesh since the firewalls began to count)
  FLOW               PACKETS     BYTES  NODES  UNTIL
  baseline/ray-head    1,203  12.1 KiB      2  2099-01-01T00:00:00Z
  baseline/metrics         0       0 B      0
  denied                   7     420 B      1
"""

TROUBLED_120 = """\
lab: 2 of 5 nodes ready; 11 of 16 links reachable; 111 of 112 ports as declared; measured in 2.3s

Nodes
    NODE       STATE      POOL     REGION      MESH ADDRESS  TUNNELS UP  RECEIVED      SENT
  ✗ control-0  not ready  control  eu-central  10.88.0.1     4 of 4      12.1 KiB  11.3 KiB
      no answer over the mesh from control-1
  ✓ control-1  ready      control  eu-central  10.88.0.2     4 of 4      12.1 KiB  11.3 KiB
  ✓ workers-0  ready      workers  us-east     10.88.0.3     2 of 2       6.1 KiB   5.7 KiB
  ✗ workers-1  missing    workers  us-east     10.88.0.4     0 of 2           0 B       0 B
      the machine does not exist
  ✗ workers-2  not ready  workers  us-east     10.88.0.5     0 of 2       6.1 KiB   5.7 KiB
      interface wg0 is down

Links
    LINK                   TRAFFIC    ROUND TRIP  LAST HANDSHAKE    BYTES
  ✗ control-0 → control-1  in part        0.4 ms  12s ago         5.9 KiB
  ✓ control-0 ⇄ workers-0  reachable      0.4 ms  12s ago         5.9 KiB
  ✗ control-0 → workers-1  no answer           -  12s ago         5.9 KiB
  ✓ control-0 ⇄ workers-2  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-1 → control-0  reachable      0.4 ms  12s ago         5.9 KiB
  ✓ control-1 ⇄ workers-0  reachable      0.4 ms  12s ago         5.9 KiB
  ✗ control-1 → workers-1  no answer           -  12s ago         5.9 KiB
  ✓ control-1 ⇄ workers-2  reachable      0.4 ms  12s ago         5.9 KiB
  ✗ workers-0 → workers-1  no answer           -  no way              0 B
  ✓ workers-0 ⇄ workers-2  reachable      0.4 ms  through a hub       0 B
  ✗ workers-2 → workers-1  no answer           -  no way              0 B

Who reaches whom  (row to column, echo over the mesh, every address)
               1 2 3 4 5
  1 control-0  · ~ ✓ ✗ ✓
  2 control-1  ✓ · ✓ ✗ ✓
  3 workers-0  ✓ ✓ · ✗ ✓
  4 workers-1  ? ? ? · ?
  5 workers-2  ✓ ✓ ✓ ✗ ·
  ✓ reachable   ✗ no answer   ~ on some of its addresses only   · itself   ? not measured

Flows  (112 ports tried)
  ✓ baseline/ray-head       24 of 24 open
  ✓ baseline/metrics        12 of 12 open
  ✓ baseline/gossip         4 of 4 open
  ✗ undeclared on the mesh  47 of 48 closed
  ✓ outside of the mesh     24 of 24 closed
    ✗ workers-0 → control-0: tcp 9 open, must be closed, on 10.88.0.1

`swarmctl drift` says what has moved away from what was applied; `swarmctl apply` heals it.
"""


def troubled() -> World:
    return World(
        declared(hubs="control"),
        gone={"workers-1"},
        down={"workers-2"},
        leaks={("workers-0", "10.88.0.1", 9)},
        deaf={("control-0", "fd88::2")},
    )


def test_a_healthy_lab_at_80_columns() -> None:
    assert drawn(World(declared())) == HEALTHY_80


def test_a_troubled_lab_at_120_columns() -> None:
    assert drawn(troubled(), width=120) == TROUBLED_120


def test_colour_adds_nothing_but_colour() -> None:
    painted = drawn(troubled(), width=120, color=True)
    assert "\x1b[31m✗\x1b[0m" in painted
    assert re.sub("\x1b\\[[0-9;]*m", "", painted) == TROUBLED_120


def test_all_but_violations_and_advice_fit_80_columns() -> None:
    pools = {"control": (5, "eu-central", "head"), "workers": (25, "us-east", "worker")}
    for world in (troubled(), World(declared(pools=pools)), World(declared(), ages={"workers-1": 5000})):
        lines = [line for line in drawn(world).splitlines() if not line.startswith(("    ✗", "`"))]
        assert max(map(len, lines)) <= 80


def test_open_ports_come_first_and_ports_of_a_pair_share_a_line() -> None:
    blocks = {("workers-0", address, port) for address in ("10.88.0.1", "fd88::1") for port in (6379, 10001)}
    text = drawn(World(declared(), blocks=blocks, leaks={("workers-2", "192.0.2.1", 9)}))
    assert [line for line in text.splitlines() if line.startswith("    ✗")] == [
        "    ✗ workers-2 → control-0: tcp 9 open, must be closed, on 192.0.2.1",
        "    ✗ workers-0 → control-0: tcp 6379, 10001 closed, must be open, on 10.88.0.1 and fd88::1",
    ]


def test_never_applied() -> None:
    world = World(declared(applied=False), gone={machine.name for machine in declared().machines})
    assert drawn(world) == "lab: not applied; `swarmctl apply` makes its 5 machines.\n"


def test_gone_after_a_reboot() -> None:
    world = World(declared(), gone={machine.name for machine in declared().machines})
    assert drawn(world) == (
        "lab: the lab is gone: none of its 5 machines exists any more.\n"
        "This computer was started anew, or someone removed them; `swarmctl apply` makes the lab again.\n"
    )


def test_who_is_declared_to_take_no_part_does_not_count_as_ready() -> None:
    status = see(World(declared()))
    first, second, *others = status.nodes
    shut = replace(status, nodes=(replace(first, state="isolated"), replace(second, state="lost"), *others))
    text = render(shut, color=False, width=100)
    assert text.startswith("lab: 3 of 3 nodes ready; 1 isolated; 1 lost; ")
    assert "  · control-0  isolated " in text
    assert "  · control-1  lost " in text
    alone = render(replace(status, nodes=(replace(first, state="isolated"),)), color=False, width=100)
    assert alone.startswith("lab: 1 isolated; ")


def test_no_machines_declared() -> None:
    assert drawn(World(declared(pools={}))) == "lab: no machines are declared\n"


def test_not_probed() -> None:
    text = drawn(World(declared(), ages={"control-0": -1}), probe=False)
    assert text.startswith("lab: 4 of 5 nodes ready; not probed: no traffic was sent\n")
    assert "      no handshake within 180 s: control-1, workers-0, workers-1 and 1 more\n" in text
    assert "  ✗ control-0 → workers-2  never " in text
    assert "Flows" not in text
    assert "Who reaches whom" not in text


def test_what_could_not_be_told_is_explained() -> None:
    text = drawn(World(declared(), listens={"workers-1": [7946]}))
    assert "  ✓ baseline/gossip         8 of 12 open, 4 unknown\n" in text
    assert "unknown: nothing came back, and something on the target may have taken it in and kept quiet" in text


def test_a_large_stack_shows_what_is_wrong_and_counts_the_rest() -> None:
    pools = {"workers": (60, "us", "worker")}
    text = drawn(World(declared(pools=pools), down={"workers-7"}, deaf={("workers-3", "10.88.0.9")}))
    assert text.count("not ready  ") == 2
    assert "  ✗ workers-3 " in text
    assert "  ✗ workers-7 " in text
    assert "58 of 60 nodes are ready" in text
    assert "  ✗ workers-3 → workers-8 " in text
    assert "1,770 of 1,771 links work; slowest 0.4 ms" in text
    assert max(map(len, text.splitlines())) <= 110


def test_control_characters_from_a_machine_never_reach_the_terminal() -> None:
    world = World(declared(), unreachable={"workers-0"})
    status = see(world)
    evil = replace(status, nodes=tuple(replace(node, reasons=("\x1b[2Jgone\r",)) for node in status.nodes))
    text = render(evil, color=False, width=80)
    assert "\x1b" not in text
    assert "\\x1b[2Jgone\\r" in text


def test_json_is_the_published_shape() -> None:
    document = json.loads(json.dumps(to_json(see(troubled()))))
    assert document["schema"] == "swarmctl/status/v1"
    assert (document["stack"], document["applied"], document["probed"], document["healthy"]) == (
        "lab",
        True,
        True,
        False,
    )
    assert document["nodes"][3] == {
        "name": "workers-1",
        "ready": False,
        "state": None,
        "exists": False,
        "reasons": ["the machine does not exist"],
        "cluster": "core",
        "pool": "workers",
        "region": "us-east",
        "addresses": ["10.88.0.4", "fd88::4"],
        "underlay": ["192.0.2.4"],
        "tunnels": 2,
        "handshakes": 0,
        "received": 0,
        "sent": 0,
        "managed": None,
    }
    assert document["links"][0] == {
        "from": "control-0",
        "to": "control-1",
        "reachable": False,
        "handshakeAge": 12,
        "rttMs": 0.41,
        "mesh": "backbone",
        "tunnel": True,
        "established": True,
        "received": 3100,
        "sent": 2900,
        "via": [],
        "cutBy": [],
        "addresses": [
            {"address": "10.88.0.2", "reachable": True, "rttMs": 0.41},
            {"address": "fd88::2", "reachable": False, "rttMs": None},
        ],
    }
    assert [flow for flow in document["flows"] if flow["ok"] is False] == [
        {
            "policy": "baseline",
            "flow": None,
            "from": "workers-0",
            "to": "control-0",
            "protocol": "tcp",
            "port": 9,
            "expected": "closed",
            "observed": "open",
            "ok": False,
            "address": "10.88.0.1",
            "over": "mesh",
        }
    ]


def test_sizes_are_in_binary_units() -> None:
    assert [size(count) for count in (0, 1023, 1536, 5 * 1024**2, 3 * 1024**4)] == [
        "0 B",
        "1023 B",
        "1.5 KiB",
        "5.0 MiB",
        "3.0 TiB",
    ]


def test_a_table_drops_the_least_important_columns_first_and_ignores_paint() -> None:
    columns = [Column("NAME", [paint("a", "red", color=True)]), Column("B", ["bb"], drop=1), Column("C", ["c"], drop=2)]
    assert table(columns, width=12) == ["NAME  B   C", "\x1b[31ma\x1b[0m     bb  c"]
    assert table(columns, width=9) == ["NAME  B", "\x1b[31ma\x1b[0m     bb"]
    assert table(columns, width=1) == ["NAME", "\x1b[31ma\x1b[0m"]


def counting() -> World:
    """Firewalls that have counted; the third flow has a counter nowhere."""
    ray, metrics, gossip = FLOWS
    world = World(declared(flows=[{**ray, "until": "2099-01-01T00:00:00Z"}, metrics, gossip]))
    world.counted = {
        "control-0": {"flow-ray-head": (1200, 12000), "flow-metrics": (0, 0), "denied": (7, 420)},
        "control-1": {"flow-ray-head": (3, 400), "denied": (0, 0), "flow-strange": (9, 9)},
        "workers-0": {"flow-ray-head": (5, 5)},  # not a node that the flow goes to
    }
    return world


def test_what_firewalls_counted_is_summed_by_flow() -> None:
    text = drawn(counting())
    assert text[text.index("Traffic") :] == TRAFFIC


def test_what_firewalls_counted_stands_by_node_in_json() -> None:
    document = to_json(see(counting()))
    ray, metrics, gossip = document["traffic"]
    assert ray == {
        "policy": "baseline",
        "flow": "ray-head",
        "until": "2099-01-01T00:00:00Z",
        "packets": 1203,
        "bytes": 12400,
        "nodes": [
            {"node": "control-0", "packets": 1200, "bytes": 12000},
            {"node": "control-1", "packets": 3, "bytes": 400},
        ],
    }
    assert (metrics["until"], metrics["nodes"]) == (None, [{"node": "control-0", "packets": 0, "bytes": 0}])
    assert gossip["nodes"] == []
    assert (document["denied"]["packets"], document["denied"]["bytes"]) == (7, 420)
    assert [one["node"] for one in document["denied"]["nodes"]] == ["control-0", "control-1"]


def test_a_table_of_another_policy_counts_for_none_of_ours() -> None:
    world = counting()
    facts = {machine.name: see_facts(world, machine) for machine in world.stack.machines}
    other = json.dumps(facts["control-0"].nftables).replace("policy-baseline", "policy-other")
    facts["control-0"] = replace(facts["control-0"], nftables=json.loads(other))
    facts["control-1"] = replace(facts["control-1"], nftables={"nftables": [{"counter": {"family": "inet"}}, 7]})
    counted = count(world.stack.inventory, world.stack.machines, facts)
    assert counted.flows[0].nodes == {}


def see_facts(world: World, machine: Machine) -> Facts:
    return reading.parse(world.open(machine).run(reading.ARGV, check=False).stdout, machine.name)
