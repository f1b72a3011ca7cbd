"""The order of a turn: what is done on which node in which phase, and what waits. Nodes print what they are told to."""

from __future__ import annotations

from collections.abc import Collection

from swarmctl.backends.base import Completed
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.mesh.rotation.nodes import Nodes
from swarmctl.kinds.mesh.rotation.survey import Link
from swarmctl.kinds.mesh.rotation.turn import Turn
from tests.mesh.fakes import FakeHost
from tests.mesh.test_rotation import Many, inputs, key, node


class Answering(Many):
    """Hosts that have had handshakes with everybody; what each was told is in `told`."""

    def __init__(self, *facts: Facts, deaf: Collection[tuple[str, str]] = ()) -> None:
        """`deaf`: pairs that have no handshake on the second interface."""
        super().__init__({it.hostname: it for it in facts})
        self.deaf = {*deaf, *((other, one) for one, other in deaf)}
        self.told: list[tuple[str, str]] = []
        self.phase = ""

    def open(self, host: dict[str, str]) -> FakeHost:
        hosts, name = self, host["node"]

        class One(FakeHost):
            def run(self, argv: object, *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
                hosts.told.append((name, stdin.decode()))
                keys = [
                    key(f"{kind}-{peer}")
                    for peer in ("1", "2", "3")
                    for kind in ("n", "next")
                    if hosts.phase != "second-handshake" or (name, f"n-{peer}") not in hosts.deaf
                ]
                return Completed((), 0, "\n".join(keys).encode(), b"")

        return One()


def turned(hosts: Answering) -> tuple[list[tuple[str, str]], list[Link]]:
    """Phases with their nodes, and pauses, in order; and what could not be brought back."""
    seen: list[tuple[str, str]] = []

    def hook(phase: str, name: str) -> None:
        hosts.phase = phase
        seen.append((phase, name))

    given = inputs(*(int(name[2:]) for name in hosts.nodes))
    nodes = Nodes(hosts, {name: it["host"] for name, it in given["nodes"].items()}, hook)
    left = Turn(nodes, given, settle=7.0, sleep=lambda seconds: seen.append((f"pause of {seconds:g} s", ""))).finish()
    return seen, left


def test_packets_on_their_way_get_a_pause_before_their_way_is_changed() -> None:
    hosts = Answering(node(1, 2, following=True), node(2, 1))
    seen, left = turned(hosts)
    assert left == []
    order = list(dict.fromkeys(phase for phase, _ in seen if phase in ("routes", "keys", "back", "end")))
    assert order == ["routes", "keys", "back", "end"]
    assert seen.count(("pause of 7 s", "")) == 2
    phases = [phase for phase, _ in seen]
    assert phases[phases.index("keys") - 1] == "pause of 7 s", "what goes over the first interface arrives first"
    assert phases[phases.index("end") - 1] == "pause of 7 s", "so does what goes over the second"


def test_a_key_that_somebody_could_not_be_reached_with_stays_in_use_with_everybody() -> None:
    """The first interface has one key for all peers: with the next one, n-3 would not be understood any more."""
    hosts = Answering(node(1, 2, 3, following=True), node(2, 1, 3), node(3, 1, 2), deaf=[("n-1", "n-3")])
    seen, left = turned(hosts)
    assert left == []
    assert ("routes", "n-1") in seen, "n-2 was reached over the second interface"
    assert [name for phase, name in seen if phase in ("keys", "back")] == []
    assert not [text for name, text in hosts.told if name == "n-1" and "wg set wg0 private-key" in text]
    ended = next(text for name, text in reversed(hosts.told) if name == "n-1")
    assert 'mv "$folder/next.key"' not in ended, "the file of the key stays too"
