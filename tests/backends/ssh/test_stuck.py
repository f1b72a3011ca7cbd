"""Commands that begin too late: when that says something about the login shell, and how long anybody waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from typing import Any, cast

import pytest

from swarmctl.backends.ssh import answers, session, terminal
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.session import Outcome
from swarmctl.backends.ssh.transport import Transport

WHERE = Address("10.0.0.1", "u", ())
LATE = Outcome(None, b"", b"", stopped=session.LATE)
WELL = Outcome(0, b"", b"")


class Connection:
    """One that opens a session after a while, in which nothing begins."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    async def create_session(self, made: Any, line: str, **more: Any) -> tuple[Any, Any]:
        await asyncio.sleep(self._seconds)
        return self, made()

    def is_closed(self) -> bool:
        return False

    def close(self) -> None:
        pass


@pytest.fixture
def transport(monkeypatch: pytest.MonkeyPatch) -> Iterator[Transport]:
    async def connected(self: Transport, name: str, address: Address) -> Any:
        return Connection()

    monkeypatch.setattr(Transport, "connected", connected)
    made = Transport()
    yield made
    made.close()


def ran(transport: Transport, outcome: Outcome, *, tells: bool = True, meanwhile: Outcome | None = None) -> Outcome:
    """One command that comes to this; `meanwhile` another one has begun and ended."""

    async def talk(connection: Any) -> Outcome:
        if meanwhile:
            other = asyncio.create_task(transport._run("n1", WHERE, lambda _: ended(meanwhile), 5, tells=True))
            await other
        return outcome

    return transport.submit(transport._run("n1", WHERE, talk, 5, tells=tells))


async def ended(outcome: Outcome) -> Outcome:
    await asyncio.sleep(0.01)
    return outcome


def test_a_shell_that_begins_nothing_is_waited_for_once(transport: Transport) -> None:
    assert ran(transport, WELL) == WELL
    assert ran(transport, LATE) == LATE
    assert ran(transport, WELL) == LATE, "nobody asks it again"


def test_a_command_that_begins_too_late_beside_others_that_do_begin_stops_none_of_them(transport: Transport) -> None:
    assert ran(transport, LATE, meanwhile=WELL) == LATE
    assert ran(transport, WELL) == WELL


def test_a_long_input_that_does_not_arrive_in_time_says_nothing_of_the_shell(transport: Transport) -> None:
    assert ran(transport, LATE, tells=False) == LATE
    assert ran(transport, WELL) == WELL


def test_session_and_shell_have_one_time_together_to_begin_what_the_user_asks_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(answers, "BEGINS", 1.0)

    class Slow:
        async def connected(self, name: str, address: Address) -> Connection:
            return Connection(0.9)

    begun = time.monotonic()
    slow = cast(Transport, Slow())
    outcome = asyncio.run(terminal._attached(slow, "n1", WHERE, "true", "x", "", lambda: None))
    assert isinstance(outcome, Outcome)
    assert outcome.stopped == session.LATE
    assert time.monotonic() - begun < 1.6
