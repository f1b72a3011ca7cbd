"""A machine that is silent at a port which the firewall that was applied there keeps shut."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest

from swarmctl.backends import ways
from swarmctl.backends.ssh.errors import HostSilent
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport

NAMED = {"backend": "ssh", "stack": "s", "node": "n1"}
WAY = {"address": "192.0.2.1", "user": "ops", "hostKeys": ["ssh-ed25519 x"]}


class Silence:
    """No server ever answers."""

    def __init__(self, at: str) -> None:
        self.at = at

    def run(self, *args: object, **more: object) -> None:
        raise HostSilent(f"{self.at} did not answer within 20 s", "see whether it is up")

    def submit(self, work: Any) -> None:
        work.close()
        self.run()


@pytest.fixture(autouse=True)
def _no_ways() -> Iterator[None]:
    yield
    ways.record("s", ())


def hint(way: Any, recorded: Any, ask: Callable[[SshHost], object], at: str = "n1 (ops@192.0.2.1:2222)") -> str:
    ways.record("s", [{"host": NAMED, **WAY, **recorded}])
    host = SshHost({**NAMED, **WAY, **way}, None, cast("Transport", Silence(at)))
    with pytest.raises(HostSilent, match="did not answer within 20 s") as raised:
        ask(host)
    return raised.value.hint


@pytest.mark.parametrize(
    "ask", [lambda host: host.run(["true"]), lambda host: host.exec(["true"])], ids=["run", "exec"]
)
@pytest.mark.parametrize(
    ("port", "recorded", "told"),
    [
        (2222, {}, "`port: 22` with `listens: [22, 2222]`"),
        (22, {"port": 2222}, "`port: 2222` with `listens: [22, 2222]`"),
        (2222, {"listens": [22, 23]}, "`port: 22` with `listens: [22, 23, 2222]`"),
    ],
)
def test_the_port_that_is_open_is_named_and_how_a_server_moves(
    ask: Callable[[SshHost], object], port: int, recorded: dict[str, Any], told: str
) -> None:
    assert told in hint({"port": port}, recorded, ask)


@pytest.mark.parametrize(
    ("port", "recorded", "at"),
    [
        (2222, {"port": 2222}, "n1 (ops@192.0.2.1:2222)"),
        (2222, {"listens": [22, 2222]}, "n1 (ops@192.0.2.1:2222)"),
        (2223, {"port": 2222, "listens": [22]}, "n1 (ops@192.0.2.1:2223)"),
        (2222, {}, "n1: its jump host ops@192.0.2.9"),
    ],
    ids=["the same", "open", "a router in between", "the jump host"],
)
def test_where_the_firewall_is_not_it_nothing_is_said_of_it(port: int, recorded: dict[str, Any], at: str) -> None:
    assert hint({"port": port}, recorded, lambda host: host.run(["true"]), at) == "see whether it is up"


def test_another_process_knows_it_too() -> None:
    ways.record("s", [{"host": NAMED, **WAY, "listens": [22]}])
    dumped = ways.dump()
    ways.record("s", ())
    ways.load(dumped)
    assert (ways.recorded_for(NAMED) or {})["listens"] == [22]
