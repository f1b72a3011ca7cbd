"""What a run that was cut off has done, from its journal. Pure.

The state after it is the state before it, with what the journal tells laid over it:

- created: recorded with inputs and outputs; begun, or failed half-way: recorded with `initErrors`, as the engine marks
  it, so that the next refresh reads how far it came and it is kept, mended or removed;
- updated: recorded with the new inputs and outputs; begun or failed: left as it was applied last, and read back; so is
  what nobody has confirmed and its node therefore undoes (`hosts.guard`);
- deleted: gone; begun or failed: left, and read back.

The form of a checkpoint is Pulumi's (sdk/go/common/apitype, `VersionedCheckpoint`, `DeploymentV3`, `ResourceV3`).
"""

from __future__ import annotations

import copy
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from swarmctl.state.checkpoint import PREFIX, SIGNATURE, UNKNOWN_VALUE, VERSION, address_of, type_of
from swarmctl.state.journal import CREATE, DELETE, UPDATE, Intent, Record, Result
from swarmctl.state.model import ResourceHeader, RunHeader

Json = Any
Resource = dict[str, Json]

PROJECT = "swarmctl"
STACK_TYPE = "pulumi:pulumi:Stack"
PROVIDER_TYPE = "pulumi:providers:swarm"
PROVIDER_NAME = "default"
"""The engine's name for the provider of resources that name none."""
BEGUN = "a run that was cut off had begun to create it"
"""Stands where the engine has the reason why a creation failed; the next refresh takes it away."""
UNCONFIRMED = "nobody confirmed it, and its node undoes it"


def replay(
    checkpoint: Mapping[str, Json] | None,
    header: RunHeader,
    records: Sequence[Record],
    *,
    undone: Collection[str] | None = None,
) -> dict[str, Json]:
    """The checkpoint after a run that began from `checkpoint` (None: nothing recorded) and left these records.

    `undone`: addresses of guarded updates that were not confirmed; None when the run was cut off before that: all.
    `checkpoint` is left as it is. For several runs, one after the other, begin each from what the last one gives.
    """
    document = copy.deepcopy(dict(checkpoint)) if checkpoint else _empty(header.stack)
    if not records:
        return document
    deployment = document["checkpoint"].get("latest") or {"manifest": {"time": "0001-01-01T00:00:00Z"}}
    document["checkpoint"]["latest"] = deployment
    state = _State(header, deployment.get("resources") or [])
    for intent, result in _changes(records):
        lost = intent.guarded and (undone is None or address_of(intent.urn) in undone)
        state.apply(intent, Result(intent.n, error=UNCONFIRMED) if lost else result)
    deployment["resources"] = state.resources()
    return document


def urn(stack: str, type_: str, name: str) -> str:
    """The URN of a resource that has no parent in it, as all of ours."""
    return f"urn:pulumi:{stack}::{PROJECT}::{type_}::{name}"


def _empty(stack: str) -> dict[str, Json]:
    return {"version": VERSION, "checkpoint": {"stack": f"organization/{PROJECT}/{stack}"}}


def _changes(records: Iterable[Record]) -> Iterator[tuple[Intent, Result | None]]:
    """What was ended, in the order in which it ended; then what was only begun."""
    begun: dict[int, Intent] = {}
    for record in records:
        if isinstance(record, Intent):
            # The provider serves no other types; the engine would look for a plugin that has them.
            if type_of(record.urn).startswith(PREFIX):
                begun[record.n] = record
        elif (intent := begun.pop(record.n, None)) is not None:
            yield intent, record
    for intent in begun.values():
        yield intent, None


class _State:
    """The resources of a checkpoint while changes are laid over them."""

    def __init__(self, header: RunHeader, resources: Sequence[Resource]) -> None:
        self._header = header
        self._live: dict[str, Resource] = {it["urn"]: it for it in resources if not it.get("delete")}
        """What is there, by URN."""
        self._leaving = [it for it in resources if it.get("delete")]
        """What has a successor and is still to be removed."""
        self._stack = next((name for name, it in self._live.items() if it["type"] == STACK_TYPE), "")
        self._provider = next((name for name, it in self._live.items() if it["type"] == PROVIDER_TYPE), "")
        self._registered: set[str] = set()
        """Addresses that the engine has come to: their declarations hold."""
        self._moved: dict[str, str] = {}
        """New URN by the one in the state."""

    def apply(self, intent: Intent, result: Result | None) -> None:
        """Lay one change over what is recorded."""
        address = address_of(intent.urn)
        done = result is not None and result.done
        if intent.op == CREATE or (intent.op == UPDATE and done):
            self._register([address])
        elif intent.op == UPDATE and address in self._header.resources:
            # It stays as it was applied last, also in what it depends on; what it would depend on had its turn.
            self._register(self._header.resources[address].dependencies)
        outputs = _storable(result.outputs or {}) if result is not None else {}
        if intent.op == CREATE and (result is None or done or result.left):
            made = self._fresh(intent)
            if done:
                made["outputs"] = outputs
            else:
                made["initErrors"] = [result.error if result is not None else BEGUN]
            # In the place of its predecessor if one is recorded: that was gone, or removed before.
            self._live[intent.urn] = made
        elif intent.op == UPDATE and done:
            made = self._live.get(intent.urn) or self._fresh(intent)
            made |= {"inputs": _storable(intent.inputs), "outputs": outputs}
            made.pop("initErrors", None)
            self._live[intent.urn] = made
        elif intent.op == DELETE and done:
            self._drop(intent.urn)

    def resources(self) -> list[Resource]:
        """All of them, each after those that it depends on."""
        live = self._live.values()
        for resource in [*live, *self._leaving] if self._moved else ():
            _relink(resource, self._moved)
        urns = {address_of(name): name for name in self._live}
        for address in self._registered & urns.keys():
            resource = self._live[urns[address]]
            resource |= _wiring(self._header.resources[address], resource.get("inputs") or {}, urns)
        for resource in [*live, *self._leaving]:
            _unlink(resource, self._live.keys())
        return [*_ordered(self._live), *self._leaving]

    def _register(self, addresses: Iterable[str]) -> None:
        """The engine has come to these addresses, so it had come to all that they depend on."""
        pending = list(addresses)
        while pending:
            address = pending.pop()
            header = self._header.resources.get(address)
            if header is None or address in self._registered:
                continue
            self._registered.add(address)
            if header.formerly:
                self._move(header, address)
            pending += header.dependencies

    def _move(self, header: ResourceHeader, address: str) -> None:
        """Record under its new address what has another one in the state."""
        old, new = (urn(self._header.stack, header.type, name) for name in (header.formerly, address))
        if new not in self._live and (resource := self._live.pop(old, None)) is not None:
            self._live[new] = resource | {"urn": new}
            self._moved[old] = new

    def _fresh(self, intent: Intent) -> Resource:
        self._found()
        address = address_of(intent.urn)
        header = self._header.resources.get(address)
        return {
            "urn": intent.urn,
            "custom": True,
            "id": address,
            "type": type_of(intent.urn),
            "inputs": _storable(intent.inputs),
            "parent": self._stack,
            "provider": f"{self._provider}::{self._live[self._provider]['id']}",
            **({"protect": True} if header is not None and header.protect else {}),
        }

    def _found(self) -> None:
        """Record the stack and the provider where they are missing: all of ours refers to them."""
        if not self._stack:
            self._stack = urn(self._header.stack, STACK_TYPE, self._header.stack)
            self._live[self._stack] = {"urn": self._stack, "custom": False, "type": STACK_TYPE}
        if not self._provider:
            self._provider = urn(self._header.stack, PROVIDER_TYPE, PROVIDER_NAME)
            # Any id will do; this one is the same whenever the same journal is replayed.
            id_ = str(uuid.uuid5(uuid.NAMESPACE_URL, f"{self._provider}::{self._header.token}"))
            self._live[self._provider] = {"urn": self._provider, "custom": True, "id": id_, "type": PROVIDER_TYPE}

    def _drop(self, gone: str) -> None:
        """Remove it from the record; what has a successor before the successor."""
        if any(it["urn"] == gone for it in self._leaving):
            self._leaving = [it for it in self._leaving if it["urn"] != gone]
        else:
            self._live.pop(gone, None)


def _wiring(header: ResourceHeader, inputs: Mapping[str, Json], urns: Mapping[str, str]) -> Resource:
    """Dependencies as the engine records them."""

    def linked(addresses: Iterable[str]) -> list[str]:
        return sorted(urns[address] for address in addresses if address in urns)

    return {
        "dependencies": linked(header.dependencies),
        "propertyDependencies": {key: linked(header.property_dependencies.get(key, ())) for key in inputs},
    }


def _relink(resource: Resource, moved: Mapping[str, str]) -> None:
    """Make dependencies name the new addresses."""
    if resource.get("dependencies"):
        resource["dependencies"] = sorted(moved.get(it, it) for it in resource["dependencies"])
    for key, urns in (resource.get("propertyDependencies") or {}).items():
        resource["propertyDependencies"][key] = [moved.get(it, it) for it in urns or ()]


def _unlink(resource: Resource, known: Collection[str]) -> None:
    """Take away dependencies on what is gone: the engine takes no checkpoint that has any."""
    kept = [it for it in resource.pop("dependencies", None) or () if it in known]
    if kept:
        resource["dependencies"] = kept
    for key, urns in (resource.get("propertyDependencies") or {}).items():
        resource["propertyDependencies"][key] = [it for it in urns or () if it in known]
    if resource.get("deletedWith", "") not in known:
        resource.pop("deletedWith", None)


def _ordered(resources: Mapping[str, Resource]) -> list[Resource]:
    """In the order they have, but each after those that it depends on: so the engine wants them."""
    ordered: dict[str, Resource] = {}
    entered: set[str] = set()
    for name in resources:
        pending = [name]
        while pending:
            name = pending[-1]
            if name not in entered:
                # What was entered and is not in order yet waits for this one: a circle is left as it is.
                entered.add(name)
                pending += [it for it in _needs(resources[name]) if it in resources and it not in entered]
            else:
                ordered.setdefault(pending.pop(), resources[name])
    return list(ordered.values())


def _needs(resource: Resource) -> list[str]:
    needs = [resource.get("parent"), (resource.get("provider") or "").rpartition("::")[0], resource.get("deletedWith")]
    return [it for it in [*needs, *(resource.get("dependencies") or ())] if it and it != resource["urn"]]


def _storable(values: Mapping[str, Json]) -> dict[str, Json]:
    """Values as a checkpoint has them: without what is marked as secret or not known, and without properties that are
    null. The journal has no secret, only its mark; a property that is missing is one more difference that the next run
    puts right."""
    return {key: _plain(value) for key, value in values.items() if value is not None and not _marked(value)}


def _plain(value: Json) -> Json:
    if isinstance(value, Mapping):
        return _storable(value)
    if isinstance(value, (list, tuple)):
        return [None if _marked(item) else _plain(item) for item in value]
    return value


def _marked(value: Json) -> bool:
    return value == UNKNOWN_VALUE or (isinstance(value, Mapping) and SIGNATURE in value)
