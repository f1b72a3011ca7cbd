"""The provider over real gRPC, without the engine."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends import clocks
from swarmctl.backends.base import ForeignStack, HostGone
from swarmctl.errors import SwarmError
from swarmctl.kinds.base import UNKNOWN, ChangeKind, Effect, Hosts, Impact, Observed, PropertyChange
from swarmctl.provider.adoption import Adoption
from swarmctl.provider.notes import Notes
from swarmctl.provider.protocol import (
    OPTIONS,
    empty_pb2,
    grpc,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)
from swarmctl.provider.server import Provider, methods, property_path
from swarmctl.provider.values import from_struct, to_struct
from swarmctl.state.checkpoint import SECRET, SIGNATURE
from swarmctl.state.journal import Intent, Journal, Record, Result, read
from tests.provider.listening import listening

URN = "urn:pulumi:lab::swarmctl::swarm:mesh:Peers::mesh/backbone[workers-0/peers]"
TOKEN = "swarm:mesh:Peers"
ADDRESS = "mesh/backbone[workers-0/peers]"


class Peers:
    """Does what the test says, and remembers what it was asked."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []
        self.error: Exception | None = None
        self.observed: Observed | None = None
        self.changes: Sequence[PropertyChange] = ()

    def _asked(self, *call: Any) -> None:
        self.calls.append(call)
        if self.error is not None:
            raise self.error

    def diff(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Sequence[PropertyChange]:
        self._asked("diff", old, new)
        return self.changes

    def create(self, hosts: Hosts, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        self._asked("create", inputs)
        return {"key": "k"}

    def read(self, hosts: Hosts, inputs: Mapping[str, Any]) -> Observed | None:
        self._asked("read", inputs)
        return self.observed

    def update(self, hosts: Hosts, old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        self._asked("update", old, new)
        return {"key": "k2"}

    def delete(self, hosts: Hosts, inputs: Mapping[str, Any]) -> None:
        self._asked("delete", inputs)

    def outputs(self) -> Sequence[str]:
        return ("key",)

    def effects(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Sequence[Effect]:
        return ()

    def impact(self, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Impact:
        return Impact()


class NoHosts:
    """Not asked in these tests."""

    fence = None

    def open(self, host: Mapping[str, Any]) -> Any:
        raise AssertionError

    facts = changed = open


@pytest.fixture
def kind() -> Peers:
    return Peers()


@contextmanager
def serving(served: Provider) -> Iterator[Any]:
    """A stub of a provider that serves on an event loop in a thread."""

    async def serve() -> None:
        async with listening(methods(served)) as port:
            ports.append(port)
            begun.set()
            await asyncio.to_thread(over.wait)

    ports: list[int] = []
    begun, over = threading.Event(), threading.Event()
    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert begun.wait(5)
    try:
        with grpc.insecure_channel(f"127.0.0.1:{ports[0]}", options=OPTIONS) as channel:
            yield provider_pb2_grpc.ResourceProviderStub(channel)
    finally:
        over.set()
        thread.join()


@pytest.fixture
def provider(kind: Peers) -> Iterator[Any]:
    with serving(Provider(NoHosts(), {TOKEN: kind}.__getitem__)) as stub:
        yield stub


def test_a_clock_that_was_seen_to_be_wrong_is_told_of_the_machine_that_is_read(
    provider: Any, kind: Peers, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []

    async def arrived(self: Notes, urn: str, text: str) -> None:
        told.append((urn, text))

    monkeypatch.setattr(Notes, "told", arrived)
    clocks.take()
    for node in ("workers-0", "workers-1"):
        clocks.see(node, time.time() + 7200)
    kind.observed = Observed({"node": "workers-0"}, {})
    provider.Read(provider_pb2.ReadRequest(id="x", urn=URN, inputs=to_struct({"node": "workers-0"})))
    assert told == [(URN, f"workers-0: its clock is 2.0 hours ahead; {clocks.MEND}")]
    assert len(clocks.take()) == 1, "another machine's is told where that is read"


def test_check_gives_the_inputs_back_untouched(provider: Any) -> None:
    news = to_struct({"a": [1, {"b": UNKNOWN}]})

    answer = provider.Check(provider_pb2.CheckRequest(urn=URN, news=news))

    assert answer.inputs == news
    assert not answer.failures


def test_diff_compares_inputs_and_names_paths_and_replacements(provider: Any, kind: Peers) -> None:
    kind.changes = [
        PropertyChange(("peers", "workers-1", "port"), ChangeKind.UPDATE),
        PropertyChange(("region",), ChangeKind.ADD, replace=True, reason="it decides the subnet"),
    ]

    answer = provider.Diff(
        provider_pb2.DiffRequest(
            urn=URN, old_inputs=to_struct({"n": 1}), olds=to_struct({"key": "k"}), news=to_struct({"n": 2})
        )
    )

    assert kind.calls == [("diff", {"n": 1}, {"n": 2})]
    assert answer.changes == provider_pb2.DiffResponse.DIFF_SOME
    assert answer.deleteBeforeReplace
    assert list(answer.replaces) == ["region"]
    assert {path: (diff.kind, diff.inputDiff) for path, diff in answer.detailedDiff.items()} == {
        'peers["workers-1"].port': (provider_pb2.PropertyDiff.UPDATE, True),
        "region": (provider_pb2.PropertyDiff.ADD_REPLACE, True),
    }


def test_no_difference_is_said_so(provider: Any) -> None:
    assert provider.Diff(provider_pb2.DiffRequest(urn=URN)).changes == provider_pb2.DiffResponse.DIFF_NONE


def test_creation_answers_the_address_and_the_outputs_only(provider: Any, kind: Peers) -> None:
    answer = provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct({"mtu": 1420})))

    assert kind.calls == [("create", {"mtu": 1420})]
    assert (answer.id, from_struct(answer.properties)) == (ADDRESS, {"key": "k"})


def test_a_preview_changes_nothing_and_knows_only_what_an_update_keeps(provider: Any, kind: Peers) -> None:
    created = provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True))
    updated = provider.Update(provider_pb2.UpdateRequest(urn=URN, preview=True, olds=to_struct({"key": "k"})))
    unrecorded = provider.Update(provider_pb2.UpdateRequest(urn=URN, preview=True))

    assert kind.calls == [("read", {})], "it looks for what is there already"
    assert from_struct(created.properties) == {"key": UNKNOWN}
    assert from_struct(updated.properties) == {"key": "k"}
    assert from_struct(unrecorded.properties) == {"key": UNKNOWN}


def test_reading_gives_the_world_as_inputs(provider: Any, kind: Peers) -> None:
    kind.observed = Observed({"mtu": 1280}, {"key": "k"})

    answer = provider.Read(provider_pb2.ReadRequest(id=ADDRESS, urn=URN, inputs=to_struct({"mtu": 1420})))

    assert kind.calls == [("read", {"mtu": 1420})]
    assert (answer.id, from_struct(answer.inputs), from_struct(answer.properties)) == (
        ADDRESS,
        {"mtu": 1280},
        {"key": "k"},
    )


def test_what_is_gone_or_was_on_a_machine_that_is_gone_has_no_id(provider: Any, kind: Peers) -> None:
    assert provider.Read(provider_pb2.ReadRequest(id=ADDRESS, urn=URN)).id == ""
    kind.error = HostGone("workers-0 is gone")
    assert provider.Read(provider_pb2.ReadRequest(id=ADDRESS, urn=URN)).id == ""
    provider.Delete(provider_pb2.DeleteRequest(id=ADDRESS, urn=URN))


def test_an_error_is_a_sentence_with_its_hint(provider: Any, kind: Peers) -> None:
    kind.error = SwarmError("the port is taken", "Choose another.", details=["51820"])

    with pytest.raises(grpc.RpcError) as caught:
        provider.Update(provider_pb2.UpdateRequest(urn=URN))

    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert caught.value.details() == "the port is taken\n51820\nhelp: Choose another."


def test_what_cannot_be_carried_out_is_said_by_previews_already(provider: Any, kind: Peers) -> None:
    def require(inputs: Mapping[str, Any]) -> None:
        raise SwarmError(f"{inputs['n']} is no number")

    kind.require = require  # type: ignore[attr-defined]
    for ask in (
        lambda: provider.Diff(provider_pb2.DiffRequest(urn=URN, news=to_struct({"n": "x"}))),
        lambda: provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True, properties=to_struct({"n": "x"}))),
    ):
        with pytest.raises(grpc.RpcError, match="x is no number"):
            ask()
    assert kind.calls == []


def test_a_bug_shows_its_type_and_no_values(provider: Any, kind: Peers) -> None:
    kind.error = ValueError("password hunter2 is too short")

    with pytest.raises(grpc.RpcError) as caught:
        provider.Delete(provider_pb2.DeleteRequest(urn=URN))

    assert "ValueError" in caught.value.details()
    assert "hunter2" not in caught.value.details()


def test_a_failed_creation_is_recorded_with_what_it_was_asked_for(provider: Any, kind: Peers) -> None:
    kind.error = SwarmError("the port is taken")

    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=to_struct({"mtu": 1420})))

    details = dict(caught.value.trailing_metadata())["grpc-status-details-bin"]
    failed = provider_pb2.ErrorResourceInitFailed()
    assert status_pb2.Status.FromString(details).details[0].Unpack(failed)
    assert (failed.id, from_struct(failed.inputs), list(failed.reasons)) == (
        ADDRESS,
        {"mtu": 1420},
        ["the port is taken"],
    )


def test_nothing_is_recorded_of_a_creation_on_a_machine_that_is_gone(provider: Any, kind: Peers) -> None:
    kind.error = HostGone("workers-0 is gone")

    with pytest.raises(grpc.RpcError) as caught:
        provider.Create(provider_pb2.CreateRequest(urn=URN))

    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata())


def test_after_cancel_nothing_is_begun(provider: Any, kind: Peers) -> None:
    provider.Cancel(empty_pb2.Empty())

    for call in (
        lambda: provider.Create(provider_pb2.CreateRequest(urn=URN)),
        lambda: provider.Update(provider_pb2.UpdateRequest(urn=URN)),
        lambda: provider.Delete(provider_pb2.DeleteRequest(urn=URN)),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        assert caught.value.code() is grpc.StatusCode.CANCELLED
    assert kind.calls == []


def test_a_preview_says_of_what_is_there_already_that_it_is_adopted(provider: Any, kind: Peers) -> None:
    kind.observed = Observed({"mtu": 1280, "mesh": None}, {"key": "k"})

    created = provider.Create(
        provider_pb2.CreateRequest(urn=URN, preview=True, properties=to_struct({"mtu": 1420, "deep": [{"a": 1}]}))
    )

    assert from_struct(created.properties) == {"key": "k", "swarm:adopted": {"mtu": 1280}}
    assert created.id == ""


@pytest.mark.parametrize("recorded", ["Diff", "Read"])
def test_what_is_made_anew_is_not_taken_for_its_own_predecessor(provider: Any, kind: Peers, recorded: str) -> None:
    kind.observed = Observed({"mtu": 1280}, {"key": "k"})
    if recorded == "Diff":
        provider.Diff(provider_pb2.DiffRequest(urn=URN, old_inputs=to_struct({"size": 1})))
    else:
        provider.Read(provider_pb2.ReadRequest(urn=URN, id=ADDRESS))

    created = provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True))

    assert from_struct(created.properties) == {"key": UNKNOWN}


def test_values_known_later_keep_nothing_from_being_found(provider: Any, kind: Peers) -> None:
    kind.observed = Observed({"a": "old"}, {"key": "k"})
    inputs = to_struct({"a": [{"b": UNKNOWN}]})
    created = provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True, properties=inputs))
    assert kind.calls == [("read", {"a": [{"b": UNKNOWN}]})]
    assert from_struct(created.properties) == {"key": "k", "swarm:adopted": {"a": "old"}}


def test_on_a_machine_that_is_yet_to_be_made_nothing_is_looked_for(provider: Any, kind: Peers) -> None:
    kind.observed = Observed({}, {"key": "k"})
    created = provider.Create(
        provider_pb2.CreateRequest(urn=URN, preview=True, properties=to_struct({"machine": UNKNOWN}))
    )
    assert kind.calls == []
    assert from_struct(created.properties) == {"key": UNKNOWN}


def test_what_reads_as_nothing_is_there_only_where_nothing_is_declared(provider: Any, kind: Peers) -> None:
    line = Effect(ChangeKind.ADD, "peer b")
    kind.effects = lambda old, new: [line] if new and new.get("peers") else []  # type: ignore[method-assign]
    kind.observed = Observed({"peers": {}}, {"key": "k"})
    for declared, there in (({"peers": {"b": 1}}, False), ({"peers": {}}, True)):
        request = provider_pb2.CreateRequest(urn=URN, preview=True, properties=to_struct(declared))
        assert ("swarm:adopted" in provider.Create(request).properties) is there


def test_what_belongs_to_another_stack_is_told_in_a_preview(provider: Any, kind: Peers) -> None:
    kind.error = ForeignStack("workers-0 belongs to the stack other")
    with pytest.raises(grpc.RpcError, match="belongs to the stack other"):
        provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True))


def test_a_preview_of_what_cannot_be_read_is_that_of_something_new(provider: Any, kind: Peers) -> None:
    kind.error = SwarmError("workers-0 is not readable")
    created = provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True))
    assert from_struct(created.properties) == {"key": UNKNOWN}


def test_hosts_that_do_not_exist_are_asked_for_once_and_never_looked_at(kind: Peers) -> None:
    asked: list[tuple[str, str]] = []

    def machines(backend: str, stack: str) -> frozenset[str]:
        asked.append((backend, stack))
        return frozenset({"workers-1"})

    kind.observed = Observed({}, {"key": "k"})
    served = Provider(NoHosts(), {TOKEN: kind}.__getitem__, adoption=Adoption(machines))
    with serving(served) as provider:
        for node in ("workers-0", "workers-1", "workers-2"):
            inputs = to_struct({"host": {"backend": "lab", "node": node}})
            created = provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True, properties=inputs))
            assert ("swarm:adopted" in created.properties) == (node == "workers-1")

    assert asked == [("lab", "lab")]
    assert len(kind.calls) == 1


def test_what_has_to_do_with_many_nodes_is_looked_at_when_one_of_them_exists(kind: Peers) -> None:
    kind.observed = Observed({}, {"key": "k"})
    served = Provider(
        NoHosts(), {TOKEN: kind}.__getitem__, adoption=Adoption(lambda backend, stack: frozenset({"workers-1"}))
    )
    with serving(served) as provider:
        for nodes, there in ((("workers-0", "workers-2"), False), (("workers-0", "workers-1"), True)):
            inputs = to_struct({"nodes": {node: {"host": {"backend": "lab", "node": node}} for node in nodes}})
            created = provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True, properties=inputs))
            assert ("swarm:adopted" in created.properties) == there
    assert len(kind.calls) == 1


def test_equal_inputs_need_no_comparison_and_unknown_ones_do(provider: Any, kind: Peers) -> None:
    same = to_struct({"n": [1]})
    assert (
        provider.Diff(provider_pb2.DiffRequest(urn=URN, old_inputs=same, news=same)).changes
        == provider_pb2.DiffResponse.DIFF_NONE
    )
    assert kind.calls == []
    unknown = to_struct({"n": UNKNOWN})
    provider.Diff(provider_pb2.DiffRequest(urn=URN, old_inputs=unknown, news=unknown))
    assert kind.calls == [("diff", {"n": UNKNOWN}, {"n": UNKNOWN})]


def test_every_change_is_in_the_journal_and_nothing_else(kind: Peers, tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal")
    with serving(Provider(NoHosts(), {TOKEN: kind}.__getitem__, journal)) as provider:
        inputs = to_struct({"mtu": 1420, "token": {SIGNATURE: SECRET, "value": "hunter2"}})
        provider.Create(provider_pb2.CreateRequest(urn=URN, preview=True, properties=inputs))
        provider.Read(provider_pb2.ReadRequest(urn=URN, id=ADDRESS))
        provider.Create(provider_pb2.CreateRequest(urn=URN, properties=inputs))
        provider.Update(provider_pb2.UpdateRequest(urn=URN, old_inputs=inputs, news=to_struct({"mtu": 1280})))
        kind.error = SwarmError("no way")
        with pytest.raises(grpc.RpcError):
            provider.Delete(provider_pb2.DeleteRequest(urn=URN, old_inputs=to_struct({"mtu": 1280})))
        kind.error = HostGone("workers-0 is gone")
        provider.Delete(provider_pb2.DeleteRequest(urn=URN, old_inputs=to_struct({"mtu": 1280})))

    kept = {"mtu": 1420, "token": {SIGNATURE: SECRET}}
    assert read(journal.path) == [
        Intent(1, "create", URN, kept),
        Result(1, {"key": "k"}),
        Intent(2, "update", URN, {"mtu": 1280}, kept),
        Result(2, {"key": "k2"}),
        Intent(3, "delete", URN, {"mtu": 1280}),
        Result(3, error="no way"),
        Intent(4, "delete", URN, {"mtu": 1280}),
        Result(4, {}),
    ]
    assert b"hunter2" not in journal.path.read_bytes()


def test_a_change_begins_when_its_intent_is_on_the_disk(
    kind: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path / "journal")
    seen: list[list[Record]] = []
    kind.create = lambda hosts, inputs: seen.append(read(journal.path)) or {}  # type: ignore[assignment,func-returns-value,method-assign]
    synced: list[int] = []
    monkeypatch.setattr(os, "fdatasync", lambda descriptor: synced.append(len(seen)))
    with serving(Provider(NoHosts(), {TOKEN: kind}.__getitem__, journal)) as provider:
        provider.Create(provider_pb2.CreateRequest(urn=URN))

    assert seen == [[Intent(1, "create", URN, {})]]
    assert synced == [0]


def test_what_cannot_be_written_down_is_refused(kind: Peers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    journal = Journal(tmp_path / "journal")
    monkeypatch.setattr(os, "pwrite", full)
    with serving(Provider(NoHosts(), {TOKEN: kind}.__getitem__, journal)) as provider:
        with pytest.raises(grpc.RpcError) as caught:
            provider.Create(provider_pb2.CreateRequest(urn=URN))

    assert "No space left on device" in caught.value.details()
    assert "grpc-status-details-bin" not in dict(caught.value.trailing_metadata()), "nothing is there to be recorded"
    assert kind.calls == []


def test_calls_run_at_the_same_time(provider: Any, kind: Peers) -> None:
    together = threading.Barrier(3, timeout=20)

    def read(hosts: Hosts, inputs: Mapping[str, Any]) -> Observed | None:
        together.wait()
        return None

    kind.read = read  # type: ignore[method-assign]

    pending = [provider.Read.future(provider_pb2.ReadRequest(id=ADDRESS, urn=URN)) for _ in range(3)]

    assert [call.result().id for call in pending] == [""] * 3


def test_property_paths_are_written_as_the_engine_reads_them() -> None:
    assert property_path(("a",)) == "a"
    assert property_path(("workers-0", 'q"\\', "b")) == '["workers-0"]["q\\"\\\\"].b'
