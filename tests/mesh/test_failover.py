"""`swarm:mesh:Failover`: table and agent on the node, what a reading finds wrong, and what is left behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed
from swarmctl.hosts.facts import Facts, Failover, Peer, WireGuard
from swarmctl.kinds.base import UNKNOWN, Impact
from swarmctl.kinds.mesh import failover_table as tables
from swarmctl.kinds.mesh.failover import program, version
from swarmctl.kinds.mesh.failover_table import NotAWord
from swarmctl.kinds.mesh.marks import marked
from swarmctl.kinds.mesh.resources import FAILOVER
from tests.mesh.fakes import FakeHost, FakeHosts, facts, peer

WHOLE = ["10.88.0.0/16", "fd88::/64"]


def hub(number: int, *networks: str, **changes: Any) -> dict[str, Any]:
    return {
        "name": f"hub-{number}",
        "publicKey": f"+KEY{number}/=",
        "address": f"10.88.0.{number}",
        "allowedIps": list(networks),
        "persistentKeepalive": 0,
        **changes,
    }


FIRST, SECOND = hub(1, *WHOLE), hub(2, "10.88.0.2/32", "fd88::2/128")
INPUTS: dict[str, Any] = {
    "machine": "one",
    "host": {"node": "n"},
    "node": "n",
    "interface": "wg0",
    "mesh": "backbone",
    "groups": [{"networks": WHOLE, "via": [FIRST, SECOND]}],
}
TABLE = """\
interface wg0
candidate 1 hub-1 +KEY1/= 10.88.0.1 0 - 10.88.0.1/32
candidate 2 hub-2 +KEY2/= 10.88.0.2 0 10.88.0.2/32,fd88::2/128 -
group 1 10.88.0.0/16,fd88::/64 1 2
end
"""
AS_DECLARED = Failover(tables.digest(TABLE), version(), ("hub-1",))
COMMAND = (
    "sh",
    "/etc/swarmctl/failover/wg0/agent.sh",
    "/etc/swarmctl/failover/wg0/table",
    "/run/swarmctl/failover/wg0",
)
STARTED = ("start", "failover-wg0", *COMMAND, version())


class Host(FakeHost):
    """Takes files, too."""

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        self.log.append(("put", path, oct(mode), content.decode()))


PUT = ("put", "/etc/swarmctl/failover/wg0/table", "0o600", TABLE)


def having(found: Failover | None, *peers: Peer) -> Facts:
    wireguard = {"wg0": WireGuard("wg0", "PUBLIC", 51820, {peer.public_key: peer for peer in peers})}
    return replace(facts(wireguard=wireguard), failover={} if found is None else {"wg0": found})


def created(found: Failover | None) -> list[tuple[str, ...]]:
    """What is done but for the scripts."""
    hosts = FakeHosts(having(found), Host())
    FAILOVER.create(hosts, INPUTS)
    assert hosts.forgotten == bool(hosts.host.log)
    return [entry for entry in hosts.host.log if entry[0] != "sh"]


@pytest.mark.parametrize(
    ("found", "done"),
    [
        (None, [PUT, STARTED]),
        (AS_DECLARED, []),
        (replace(AS_DECLARED, agent=""), [STARTED]),
        (replace(AS_DECLARED, agent="0" * 16), [STARTED]),
        (replace(AS_DECLARED, table="0" * 64), [PUT]),
        (replace(AS_DECLARED, table=""), [PUT]),
    ],
    ids=["nothing", "all", "no agent", "another agent", "another table", "no table"],
)
def test_what_is_missing_is_done(found: Failover | None, done: list[tuple[str, ...]]) -> None:
    assert created(found) == done


def test_the_agent_is_there_before_it_is_started() -> None:
    hosts = FakeHosts(having(None), Host())
    FAILOVER.create(hosts, INPUTS)
    assert [entry[0] for entry in hosts.host.log] == ["sh", "put", "start", "sh"]
    assert program() in hosts.host.scripts[0]
    assert "\nEND OF AGENT\n" not in program()


def test_an_agent_that_does_not_start_is_told_with_its_last_words() -> None:
    hosts = FakeHosts(having(None), Host(fails="did not start"))
    with pytest.raises(CommandFailed, match="its last words: tun: Operation not permitted"):
        FAILOVER.create(hosts, INPUTS)


@pytest.mark.parametrize(
    ("found", "wrong", "words"),
    [
        (AS_DECLARED, {}, []),
        (replace(AS_DECLARED, active=("hub-2",)), {}, []),
        (replace(AS_DECLARED, agent=""), {"agent": "gone"}, ["the failover agent does not run and is started again"]),
        (
            replace(AS_DECLARED, agent="older"),
            {"agent": "another version"},
            ["the failover agent is another version and is replaced"],
        ),
        (
            replace(AS_DECLARED, table=""),
            {"table": "gone"},
            ["the failover agent's table is gone and is written again"],
        ),
        (replace(AS_DECLARED, table="1"), {"table": "another"}, ["the failover agent's table is put right"]),
    ],
)
def test_reading_tells_what_is_wrong(found: Failover, wrong: dict[str, str], words: Sequence[str]) -> None:
    seen = FAILOVER.read(FakeHosts(having(found)), INPUTS)
    assert seen is not None
    assert seen.inputs == {**INPUTS, **wrong}
    assert {change.path[0] for change in FAILOVER.diff(seen.inputs, INPUTS)} == set(wrong)
    assert [effect.text for effect in FAILOVER.effects(seen.inputs, INPUTS)] == words


def test_reading_what_is_gone() -> None:
    assert FAILOVER.read(FakeHosts(having(None)), INPUTS) is None
    assert FAILOVER.read(FakeHosts(having(Failover("", ""))), INPUTS) is None
    assert FAILOVER.read(FakeHosts(None), INPUTS) is None


def test_deleting_puts_back_what_was_moved() -> None:
    moved = (peer("+KEY1/=", "", "10.88.0.1/32"), peer("+KEY2/=", "", *WHOLE, "10.88.0.2/32", "fd88::2/128"))
    back = "wg set wg0 peer +KEY1/= allowed-ips 10.88.0.0/16,fd88::/64\n"
    remove = (
        "rm -rf /etc/swarmctl/failover/wg0 /run/swarmctl/failover/wg0\n"
        "rmdir /etc/swarmctl/failover /run/swarmctl/failover 2>/dev/null || :\n"
    )
    for found, peers, script in (
        (AS_DECLARED, moved, back + remove),
        (replace(AS_DECLARED, table=""), moved, remove),  # peers have been declared otherwise since
        (AS_DECLARED, (peer("+KEY1/=", "", *WHOLE), peer("+KEY2/=", "", "10.88.0.2/32")), remove),
        (AS_DECLARED, moved[1:], remove),
        (None, moved, remove),
    ):
        hosts = FakeHosts(having(found, *peers))
        FAILOVER.delete(hosts, INPUTS)
        assert hosts.host.log[0] == ("stop", "failover-wg0")
        assert hosts.host.scripts == [script]
    FAILOVER.delete(FakeHosts(None), INPUTS)


def test_an_agent_that_no_state_knows_is_found_and_can_be_removed() -> None:
    (found,) = marked("lab", {"n": {"node": "n"}}, FakeHosts(having(AS_DECLARED)))
    assert (found.type, found.text) == ("swarm:mesh:Failover", "failover agent on wg0")
    assert all(INPUTS[name] == found.inputs[name] for name in found.same)
    hosts = FakeHosts(having(AS_DECLARED))
    FAILOVER.delete(hosts, found.inputs)
    assert hosts.host.log[0] == ("stop", "failover-wg0")
    assert list(marked("lab", {"n": {"node": "n"}}, FakeHosts(having(Failover("", ""))))) == []


def test_what_could_bring_words_of_its_own_is_refused() -> None:
    for evil in ({"publicKey": "KEY 1"}, {"publicKey": "KEY\nend"}, {"name": "$(reboot)"}, {"name": "-n"}):
        with pytest.raises(NotAWord):
            tables.render("wg0", [{"networks": WHOLE, "via": [hub(1, *WHOLE, **evil), SECOND]}])
    for wrong in ({"address": "10.88.0.1; reboot"}, {"allowedIps": ["10.0.0.0/8 end"]}):
        with pytest.raises(ValueError, match="does not appear"):
            tables.render("wg0", [{"networks": WHOLE, "via": [hub(1, **wrong), SECOND]}])


def test_words_for_people() -> None:
    unknown = {**INPUTS, "groups": [{"networks": WHOLE, "via": [hub(1, *WHOLE, publicKey=UNKNOWN), SECOND]}]}
    assert [(effect.action.value, effect.text) for effect in FAILOVER.effects(None, unknown)] == [
        ("add", "failover agent on wg0"),
        ("add", "10.88.0.0/16, fd88::/64 via hub-1, else hub-2"),
    ]
    more = {**INPUTS, "groups": [{"networks": WHOLE, "via": [FIRST, SECOND, hub(3, "10.88.0.3/32")]}]}
    assert [(effect.action.value, effect.text) for effect in FAILOVER.effects(INPUTS, more)] == [
        ("delete", "10.88.0.0/16, fd88::/64 via hub-1, else hub-2"),
        ("add", "10.88.0.0/16, fd88::/64 via hub-1, else hub-2, else hub-3"),
    ]
    assert next(effect.text for effect in FAILOVER.effects(INPUTS, None)) == "failover agent on wg0"
    assert FAILOVER.impact(INPUTS, None) == Impact("nothing takes over on n when a peer dies")
    assert FAILOVER.impact(INPUTS, more) == Impact()


def test_a_table_with_a_key_that_is_yet_to_be_made_is_another_than_that_which_is_there() -> None:
    wanted = {**INPUTS, "groups": [{"networks": WHOLE, "via": [FIRST, {**SECOND, "publicKey": UNKNOWN}]}]}
    seen = FAILOVER.read(FakeHosts(having(AS_DECLARED), Host()), wanted)
    assert seen is not None
    assert seen.inputs == {**wanted, "table": "another"}
    assert FAILOVER.read(FakeHosts(having(None), Host()), wanted) is None
