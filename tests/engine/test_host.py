"""Events are taken whole, and what goes wrong on the way is not lost."""

from __future__ import annotations

import json

import msgspec
import pytest

from swarmctl.engine.events import EngineEvent
from swarmctl.engine.host import serving
from swarmctl.provider.protocol import events_pb2, events_pb2_grpc, grpc


async def nothing(monitor: str, dry: bool) -> bool:
    return True


def event(number: int) -> str:
    return json.dumps({"errorEvent": {"error": str(number)}})


def number(event: EngineEvent) -> int:
    assert event.errorEvent is not None
    return int(event.errorEvent.error)


def tell(address: str, count: int) -> None:
    with grpc.insecure_channel(address) as channel:
        requests = [events_pb2.EventRequest(event=event(number)) for number in range(count)]
        events_pb2_grpc.EventsStub(channel).StreamEvents(iter(requests))


def test_every_event_is_taken_in_order() -> None:
    taken: list[int] = []
    with serving(nothing, lambda event: taken.append(number(event))) as served:
        tell(served.address, 500)
    assert taken == list(range(500))
    assert served.failure is None


def test_an_event_that_cannot_be_taken_is_told_at_the_end_and_hides_no_other() -> None:
    taken: list[int] = []

    def receive(event: EngineEvent) -> None:
        if number(event) == 1:
            raise ValueError("not this one")
        taken.append(number(event))

    with serving(nothing, receive) as served:
        tell(served.address, 4)
    assert taken == [0, 2, 3]
    assert str(served.failure) == "not this one"


@pytest.mark.parametrize("text", ["no JSON", "[]", '{"summaryEvent": 1}', '{"diagnosticEvent": {"message": []}}'])
def test_what_is_no_event_is_kept_as_a_failure(text: str) -> None:
    with serving(nothing, lambda event: None) as served, grpc.insecure_channel(served.address) as channel:
        events_pb2_grpc.EventsStub(channel).StreamEvents(iter([events_pb2.EventRequest(event=text)]))
    assert isinstance(served.failure, msgspec.DecodeError)
