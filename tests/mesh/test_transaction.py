"""From the table that a node has to the one that is wanted: exact, by little, and with counters that go on counting."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from swarmctl.mesh import nft
from swarmctl.mesh.firewall import CHAINS, Door, compile_rules, compile_sets
from swarmctl.mesh.nft import Counter, Table
from swarmctl.mesh.transaction import render, transaction
from tests.mesh.test_firewall import DOOR, GRANT, doors

NFT = pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("nft"), reason="needs root and nft")


def table(door: Door = DOOR, owner: str = "baseline") -> Table:
    return Table(owner, CHAINS, compile_rules(door), compile_sets(door))


def more(door: Door = DOOR) -> Door:
    """The same with one source more."""
    (flow,) = door.flows
    return replace(door, flows=(replace(flow, sources=(*flow.sources, "10.88.7.7")),))


def test_one_node_more_is_one_element_and_no_rule() -> None:
    text = transaction(table(more()), table())
    assert text == "add element inet swarmctl flow-ray-head.ip { 10.88.7.7 }\n"
    back = transaction(table(), table(more()))
    assert back.splitlines() == [
        "add element inet swarmctl flow-ray-head.ip { 10.88.7.7 }",
        "delete element inet swarmctl flow-ray-head.ip { 10.88.7.7 }",
    ]


def test_a_rule_that_differs_never_takes_the_table_away() -> None:
    text = transaction(table(replace(DOOR, forwards=True)), table())
    assert text.startswith("table inet swarmctl\nflush table inet swarmctl\n")
    assert "delete table" not in text


@pytest.mark.parametrize(
    "found",
    [
        replace(table(), foreign=True),
        replace(table(), chains={**CHAINS, "input": "filter hook input priority -5 policy drop"}),
    ],
    ids=["something of another's", "another hook"],
)
def test_what_cannot_be_changed_is_replaced_as_a_whole_with_its_counts(found: Table) -> None:
    counted = replace(found, counters={"denied": Counter(7, 420), "old": Counter(1, 1)})
    text = transaction(table(), counted)
    assert "delete table inet swarmctl" in text
    assert "counter denied { packets 7 bytes 420 }" in text
    assert "counter flow-ray-head { packets 0 bytes 0 }" in text
    assert "counter old" not in text


def listed(*scripts: str) -> Any:
    """What nft lists after these transactions, one after the other."""
    steps = "".join(f"nft -f - <<'END_OF_STEP' || exit 1\n{script}\nEND_OF_STEP\n" for script in scripts)
    argv = ["unshare", "--net", "sh", "-c", f"{steps}TZ=UTC0 nft -j list ruleset"]
    done = subprocess.run(argv, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode() + steps
    return json.loads(done.stdout)


@pytest.mark.integration
@NFT
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(doors, doors)
def test_any_table_becomes_any_other_and_keeps_its_counts(before: Door, after: Door) -> None:
    first, wanted = table(before, "one"), table(after)
    started = render(first).replace("packets 0 bytes 0", "packets 9 bytes 90")
    seen = nft.parse(listed(started))
    assert seen == first
    found = nft.parse(listed(started, transaction(wanted, seen)))
    assert found == wanted
    assert not found.foreign
    names = {"denied", *(f"flow-{flow.name}" for flow in after.flows if f"flow-{flow.name}" in found.counters)}
    assert found.counters.keys() == names
    kept = found.counters.keys() & seen.counters.keys()
    assert "denied" in kept
    assert all((found.counters[name] == Counter(9, 90)) == (name in kept) for name in names)


FOREIGN = {
    "a chain with rules": "add chain inet swarmctl back; add rule inet swarmctl back accept; "
    "add rule inet swarmctl input jump back",
    "a base chain": "add chain inet swarmctl early { type filter hook input priority -10; }; "
    "add rule inet swarmctl early accept",
    "a set": "add set inet swarmctl friends.ip { type ipv4_addr; elements = { 10.1.1.1 }; }; "
    "insert rule inet swarmctl input ip saddr @friends.ip accept",
    "a set with time limits": "add set inet swarmctl limited { type ipv4_addr; flags timeout; }; "
    "insert rule inet swarmctl input ip saddr @limited accept",
    "a map": "add map inet swarmctl ways { type inet_service : verdict; elements = { 22 : accept }; }; "
    "insert rule inet swarmctl input tcp dport vmap @ways",
    "a counter": 'add counter inet swarmctl mine; insert rule inet swarmctl input counter name "mine"',
    "an element": "add element inet swarmctl flow-ray-head.ip { 10.9.9.9 }",
    "an element less": "delete element inet swarmctl peers.ip { 172.20.0.3 }",
    "another owner": "add chain inet swarmctl policy-another",
    "a policy that accepts": "chain inet swarmctl input { policy accept; }",
    "a table that is switched off": "add table inet swarmctl { flags dormant; }",
}


@pytest.mark.integration
@NFT
@pytest.mark.parametrize("what", FOREIGN)
def test_whatever_was_done_to_the_table_is_seen_and_undone(what: str) -> None:
    started, meddled = render(table()).replace("packets 0 bytes 0", "packets 9 bytes 90"), FOREIGN[what]
    seen = nft.parse(listed(started, meddled.replace("; add", "\nadd").replace("; insert", "\ninsert")))
    assert seen is not None
    assert seen != table()
    healed = listed(
        started, meddled.replace("; add", "\nadd").replace("; insert", "\ninsert"), transaction(table(), seen)
    )
    found = nft.parse(healed)
    assert found == table()
    assert found.counters == {"denied": Counter(9, 90), "flow-ray-head": Counter(9, 90)}
    names = {next(iter(item.values())).get("name") for item in healed["nftables"]}
    assert not names & {"back", "early", "friends.ip", "limited", "ways", "mine", "policy-another"}


@pytest.mark.integration
@NFT
def test_a_transaction_holds_when_the_table_changed_since_it_was_read() -> None:
    started = render(table(more()))
    meddled = "delete element inet swarmctl flow-ray-head.ip { 10.88.7.7 }"
    assert nft.parse(listed(started, meddled, transaction(table(), table(more())))) == table()
    other = table(replace(DOOR, flows=(GRANT,)))
    assert nft.parse(listed(started, "delete table inet swarmctl", transaction(other, table()))) == other


def test_what_goes_is_put_there_first_so_that_it_need_not_be_there_any_more() -> None:
    gone = replace(table(), chains={**CHAINS, "old": "filter hook output priority 0 policy accept"})
    gone = replace(gone, owner="another", counters={"denied": Counter(1, 60), "flow-ray-head": Counter(7, 420)})
    lines = transaction(table(replace(DOOR, flows=(GRANT,))), gone).splitlines()
    taken = [line.split()[1:5] for line in lines if line.startswith("delete ")]
    assert {kind for kind, *_ in taken} == {"chain", "set", "counter"}
    for kind, *name in taken:
        (adds,) = [at for at, line in enumerate(lines) if line.split()[:5] == ["add", kind, *name]]
        assert lines[adds + 1].split()[:5] == ["delete", kind, *name]


@pytest.mark.integration
@NFT
def test_a_transaction_holds_when_all_that_it_takes_away_has_gone_meanwhile() -> None:
    started, other = render(table()), table(replace(DOOR, flows=(GRANT,)))
    seen = nft.parse(listed(started))
    assert seen is not None
    assert "flow-ray-head" in seen.counters
    assert nft.parse(listed(started, "delete table inet swarmctl", transaction(other, seen))) == other


@pytest.mark.integration
@NFT
def test_times_are_read_in_utc_whatever_the_nodes_time_zone() -> None:
    wanted = table(replace(DOOR, flows=(GRANT,)))
    argv = ["unshare", "--net", "sh", "-c", "TZ=XYZ-7 nft -f - && TZ=UTC0 nft -j list ruleset"]
    done = subprocess.run(argv, input=render(wanted).encode(), capture_output=True, check=True)
    assert nft.parse(json.loads(done.stdout)) == wanted
