"""Events are taken whole, and what goes wrong on the way is not lost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from swarmctl.engine.host import serving
from swarmctl.provider.protocol import events_pb2, events_pb2_grpc, grpc


def tell(address: str, count: int) -> None:
    with grpc.insecure_channel(address) as channel:
        requests = [events_pb2.EventRequest(event=json.dumps({"number": number})) for number in range(count)]
        events_pb2_grpc.EventsStub(channel).StreamEvents(iter(requests))


def test_every_event_is_taken_in_order() -> None:
    taken: list[Any] = []
    with serving(lambda monitor, dry: True, taken.append) as address:
        tell(address, 500)
    assert [event["number"] for event in taken] == list(range(500))


def test_an_event_that_cannot_be_taken_is_told_at_the_end_and_hides_no_other() -> None:
    taken: list[int] = []

    def receive(event: dict[str, Any]) -> None:
        if event["number"] == 1:
            raise ValueError("not this one")
        taken.append(event["number"])

    with pytest.raises(ValueError, match="not this one"), serving(lambda monitor, dry: True, receive) as address:
        tell(address, 4)
    assert taken == [0, 2, 3]
