"""A machine taken over, read, given back, and refused, over a real sshd."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest

from swarmctl.backends import looking, ways
from swarmctl.backends.base import CommandFailed, Fence, Fenced, ForeignStack, HostGone, NewMachines, Untouched
from swarmctl.backends.ssh import access, index, machine, place, transport
from swarmctl.backends.ssh.backend import BACKEND
from swarmctl.backends.ssh.host import SshHost
from swarmctl.errors import SwarmError
from swarmctl.hosts.system import READING

from .servers import Server, free_port, keygen

pytestmark = pytest.mark.integration
FENCE = Fence("trial", 5, "ann@laptop")
HOST = {"backend": "ssh", "stack": "trial", "node": "m1"}


@pytest.fixture
def inputs(server: Server) -> Iterator[dict[str, Any]]:
    """Of the server's machine, whose way is declared; nobody's before and after."""
    if not all(map(shutil.which, ("nft", "wg"))):
        pytest.skip("nftables and WireGuard are not installed")
    yield declared(server)
    with contextlib.suppress(SwarmError):
        SshHost(server.host()).run(["rm", "-rf", "/var/lib/swarmctl", "/etc/swarmctl"])
    ways.declare("trial", [])
    ways.record("trial", [])
    index.drop("trial", "m1")
    transport.shared().close()


def declared(server: Server, **more: Any) -> dict[str, Any]:
    way = {**server.host("worker"), **HOST, **more}
    ways.declare("trial", [way])
    known_by = place.known_by(way["hostKeys"], {})
    parts = {name: way[name] for name in ways.RECORDED if name in way}
    return {"backend": "ssh", "node": "m1", "host": HOST, "region": "eu", "knownBy": known_by, **parts}


def test_it_is_nobodys_until_it_is_taken_over_and_again_afterwards(server: Server, inputs: dict[str, Any]) -> None:
    fenced, plain = BACKEND.open_host(HOST, FENCE), BACKEND.open_host(HOST)
    for call in (lambda: fenced.run(["true"]), lambda: fenced.put("/srv/x", b""), fenced.services):
        with pytest.raises(HostGone, match="m1 has not been taken over"):
            call()
    assert plain.run(["ls", "-A", "/var/lib/swarmctl"], check=False).text == ""
    assert BACKEND.read_machine(inputs) is None
    assert BACKEND.read_machine(inputs, FENCE) is None
    assert BACKEND.machines("trial") == []
    for _ in range(2):
        assert BACKEND.create_machine(inputs, FENCE) == {}
    assert BACKEND.read_machine(inputs, FENCE) == inputs
    assert BACKEND.machines("trial") == ["m1"]
    assert BACKEND.machines("trial", {"m1"}) == []
    assert BACKEND.machines("other") == []
    assert BACKEND.owner("trial", "m1").owner == "ann@laptop"
    assert BACKEND.greatest_token("trial") == 5
    assert plain.run(["stat", "-c", "%a", "/var/lib/swarmctl/machine"]).text == "600\n"
    fenced.start_service("idle", ["sleep", "4321"])
    fenced.run(["mkdir", "-p", "/etc/swarmctl/mesh/x"])
    with pytest.raises(Fenced):
        BACKEND.delete_machine(inputs, Fence("trial", 4, "bob@desk"))
    for _ in range(2):
        BACKEND.delete_machine(inputs, FENCE)
    gone = ["/etc/swarmctl", "/run/swarmctl", "/var/log/swarmctl", "/var/lib/swarmctl"]
    assert plain.run(["ls", "-d", *gone], check=False).text == ""
    assert plain.run(["pgrep", "-fx", "sleep 4321"], check=False).text == ""
    assert access.look(access.way(HOST)).stack == ""
    assert index.names("trial") == []


def test_another_stacks_machine_is_left_alone(server: Server, inputs: dict[str, Any]) -> None:
    BACKEND.create_machine(inputs, FENCE)
    theirs = {**inputs, "host": {**HOST, "stack": "other"}}
    ways.declare("other", [{**server.host("worker"), **theirs["host"]}])
    try:
        for call in (BACKEND.create_machine, BACKEND.read_machine, BACKEND.delete_machine):
            with pytest.raises(ForeignStack, match=r"m1 belongs to the stack trial \(ann@laptop\)"):
                call(theirs, Fence("other", 9, "bob@desk"))
        assert BACKEND.sweep("other", Fence("other", 9, "bob@desk")) == []
    finally:
        ways.declare("other", [])
    assert BACKEND.read_machine(inputs) == inputs
    assert BACKEND.sweep("trial", FENCE) == ["m1"]


def test_what_could_not_be_taken_over_has_nothing_of_ours(server: Server, inputs: dict[str, Any]) -> None:
    with pytest.raises(Untouched, match="refuses connections"):
        BACKEND.create_machine(declared(server, port=free_port()), FENCE)
    inputs = declared(server)
    plain = SshHost(server.host())
    plain.run(["mkdir", "-p", "/var/lib/swarmctl"])
    plain.run(["mount", "-t", "tmpfs", "-o", "size=4k", "t", "/var/lib/swarmctl"])
    try:
        plain.put("/var/lib/swarmctl/filler", b"x")
        with pytest.raises(Untouched, match="m1: its disk is full: 0 KiB are free in /var/lib"):
            BACKEND.create_machine(inputs, FENCE)
        plain.run(["mount", "-o", "remount,ro", "/var/lib/swarmctl"])
        with pytest.raises(Untouched, match="m1: nobody can write to /var/lib/swarmctl"):
            BACKEND.create_machine(inputs, FENCE)
    finally:
        plain.run(["umount", "/var/lib/swarmctl"])
    plain.run(["mkdir", "/var/lib/swarmctl/owner"])
    with pytest.raises(Untouched, match="cannot tell whose it is"):
        BACKEND.create_machine(inputs, FENCE)
    assert index.names("trial") == []
    plain.run(["rm", "-rf", "/var/lib/swarmctl/owner"])
    assert BACKEND.create_machine(inputs, FENCE) == {}


def test_those_that_could_not_be_taken_over_are_told_before(server: Server, inputs: dict[str, Any]) -> None:
    assert BACKEND.look_at_new([inputs], {}) == NewMachines({}, frozenset({"m1"}))
    assert access.look({**server.host("worker"), **HOST}).stack == "", "it was only looked at"
    down = declared(server, port=free_port())
    assert "refuses connections" in BACKEND.look_at_new([down], {}).unfit["m1"].message
    said = looking.look(SshHost(server.host()), READING).seen
    assert said is not None
    assert (said.stack, said.missing, said.locked) == ("", (), "")
    assert said.room is not None
    assert (said.room > machine.ROOM, said.client, said.port) == (True, "127.0.0.1", server.port)
    down["listens"] = [server.port]
    assert BACKEND.look_at_new([down], {"m1": said}).unfit == {}, "one that has told of itself is not asked"
    assert "m1 lacks what a node needs: nft" in (
        BACKEND.look_at_new([inputs], {"m1": replace(said, missing=("nft",))}).unfit["m1"].message
    )
    SshHost(server.host()).put("/var/lib/swarmctl/owner", b"other-1\n5\nbob@desk\n")
    for told in ({}, {"m1": looking.look(SshHost(server.host()), READING).seen}):
        found = BACKEND.look_at_new([declared(server)], told)
        assert "m1 belongs to the stack other-1" in found.unfit["m1"].message
        assert found.blank == frozenset()


def test_one_that_bears_no_mark_is_not_asked_for_it_again(server: Server, inputs: dict[str, Any]) -> None:
    assert BACKEND.create_machine(inputs, FENCE) == {}
    assert BACKEND.machines("trial") == ["m1"]
    ways.blank("trial", [HOST])
    assert BACKEND.machines("trial") == []
    ways.load(ways.dump())
    ways.blank("other", [])
    assert BACKEND.machines("trial") == []
    ways.blank("trial", [])
    assert BACKEND.machines("trial") == ["m1"]
    assert BACKEND.sweep("trial", FENCE) == ["m1"]


def test_what_somebody_has_left_there_survives_a_takeover_that_fails(server: Server, inputs: dict[str, Any]) -> None:
    """A baseline's record is all that tells how to give back what it has set."""
    plain, record = SshHost(server.host()), "/var/lib/swarmctl/baseline/b/sysctl"
    plain.run(["mkdir", "-p", record, "/var/lib/swarmctl/machine"])  # a folder, so that no mark can be written
    try:
        for _ in range(2):
            with pytest.raises(Untouched, match="is a folder"):
                BACKEND.create_machine(inputs, FENCE)
            assert plain.run(["ls", "-A", "/var/lib/swarmctl"]).text == "baseline\nmachine\n"
            assert plain.run(["ls", "-d", record]).text
        plain.put("/var/lib/swarmctl/owner", b"other\n3\nbob@desk\n")
        machine._unmark({**server.host("worker"), **HOST})
        assert plain.get("/var/lib/swarmctl/owner") == b"other\n3\nbob@desk\n", "another stack was quicker"
    finally:
        plain.run(["rm", "-rf", "/var/lib/swarmctl"])


def test_where_another_machine_stands_the_old_one_counts_as_gone(server: Server, inputs: dict[str, Any]) -> None:
    """Installed anew: other host keys at the same address. Elsewhere: the old one is asked, if it answers."""
    BACKEND.create_machine(inputs, FENCE)
    other = keygen(server.folder / "anew")
    (server.folder / "anew").unlink()
    declared(server, hostKeys=[other])
    BACKEND.delete_machine(inputs, FENCE)  # nobody is asked: another key is declared for this place
    assert access.look({**server.host("worker"), **HOST}).stack == "trial"
    declared(server, hostKeys=[other], address="127.0.0.2")
    assert BACKEND.read_machine(inputs) == inputs
    silent = {**inputs, "port": free_port()}
    assert BACKEND.read_machine(silent) is None
    BACKEND.delete_machine(inputs, FENCE)
    assert access.look({**server.host("worker"), **HOST}).stack == ""


def test_machines_that_are_silent_are_told_by_name(server: Server, inputs: dict[str, Any]) -> None:
    assert machine.silent("trial", ["m1"]) == {}
    BACKEND.create_machine(inputs, FENCE)
    declared(server, port=free_port())
    assert "refuses connections" in machine.silent("trial", ["m1"])["m1"].message
    assert BACKEND.machines("trial") == ["m1"]  # it is noted, and may well be there
    with pytest.raises(SwarmError, match="1 of the stack's machines could not be given back") as raised:
        BACKEND.sweep("trial", FENCE)
    assert str(index.folder("trial")) in raised.value.hint


def test_one_that_something_is_left_on_keeps_no_other_from_being_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    def delete(inputs: Mapping[str, Any], fence: Fence | None) -> None:
        given.append(inputs["node"])
        if inputs["node"] == "m1":
            raise CommandFailed("m1: not everything could be taken away: /etc/swarmctl")

    given: list[str] = []
    monkeypatch.setattr(machine, "names", lambda stack: ["m1", "m2"])
    monkeypatch.setattr(machine, "delete", delete)
    with pytest.raises(SwarmError) as raised:
        machine.sweep("trial", FENCE)
    assert given == ["m1", "m2"]
    assert raised.value.details == ("m1: not everything could be taken away: /etc/swarmctl",)


def test_a_key_file_that_is_not_there(server: Server, inputs: dict[str, Any]) -> None:
    BACKEND.require_access("trial")
    declared(server, key="/nowhere/key", jump={"address": "a", "user": "b", "hostKeys": [], "key": "/nowhere/j"})
    with pytest.raises(SwarmError, match="2 of the files to log in with can't be used") as raised:
        BACKEND.require_access("trial")
    assert raised.value.details == (
        "/nowhere/j can't be used to log in: No such file or directory (for m1)",
        "/nowhere/key can't be used to log in: No such file or directory (for m1)",
    )
