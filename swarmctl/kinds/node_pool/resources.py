"""`swarm:nodepool:Machine`: one machine of a backend. What it takes to make one, only its backend knows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256

from swarmctl import backends
from swarmctl.backends import ways
from swarmctl.backends.base import Backend, HostGone
from swarmctl.graph.canonical import canonical_bytes
from swarmctl.graph.model import Json
from swarmctl.kinds.base import (
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
    words,
)


class MachineType:
    """How it is made, read, changed and removed; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """`identity`: another machine has another one; what stands on a machine refers to it and goes with it."""
        return ("identity",)

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property; the backend says what it cannot change in place."""
        return differences(old, new, replace=_reasons(new))

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Make the machine, or adopt the one that is there."""
        try:
            return {**_backend(inputs).create_machine(inputs, hosts.fence), **_identity(inputs)}
        finally:
            hosts.changed(inputs["host"])

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the backend has it; None when it is gone."""
        try:
            found = _backend(inputs).read_machine(inputs, hosts.fence)
        except HostGone:
            return None
        return None if found is None else Observed(found, _identity(inputs))

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """Change in place what can be."""
        try:
            return {**_backend(new).update_machine(old, new, hosts.fence), **_identity(new)}
        finally:
            hosts.changed(new["host"])

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Remove the machine with everything on it."""
        try:
            _backend(inputs).delete_machine(inputs, hosts.fence)
        except HostGone:
            return
        finally:
            hosts.changed(inputs["host"])

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line when it comes or goes, one per property when it changes."""
        if old is None or new is None:
            action, inputs = (ChangeKind.ADD, new) if new is not None else (ChangeKind.DELETE, old)
            return [Effect(action, _describe(inputs))] if inputs is not None else []
        changes = self.diff(old, new)
        if any(change.replace for change in changes):
            return [*self.effects(old, None), *self.effects(None, new)]
        return [
            Effect(
                change.kind,
                f"machine {new['node']}: {'.'.join(change.path)} {_at(old, change.path)} → {_at(new, change.path)}",
            )
            for change in changes
            if change.path[0] != "host"
        ]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Whether it takes the machine away."""
        if old is not None and (new is None or any(change.replace for change in self.diff(old, new))):
            if new is None and ways.is_lost(old["host"]):
                return Impact(
                    f"{old['node']} is lost: it is asked nothing, and what was made there is forgotten; keys that are "
                    "still on it open nothing once the others have dropped it"
                )
            if backends.by_declaration(old["backend"]):
                return Impact(f"{old['node']} is given back: all that was made on it goes, the machine stays")
            return Impact(f"{old['node']} goes away with everything on it")
        return Impact()


def _backend(inputs: Mapping[str, Json]) -> Backend:
    return backends.load(inputs["backend"])


def _reasons(inputs: Mapping[str, Json]) -> Mapping[str, str]:
    return {"backend": "another backend means another machine", **_backend(inputs).replaces()}


def _identity(inputs: Mapping[str, Json]) -> dict[str, str]:
    """A digest of everything whose change means another machine."""
    decisive = {name: inputs.get(name) for name in _reasons(inputs)}
    return {"identity": sha256(canonical_bytes(decisive)).hexdigest()[:16]}


def _describe(inputs: Mapping[str, Json]) -> str:
    region = inputs.get("region")
    place = f" in {region}" if isinstance(region, str) and region else ""
    address = inputs.get("address")
    where = f", {address}" if isinstance(address, str) and address else ""
    return f"machine {inputs['node']} ({inputs['backend']}){place}{where}"


def _at(inputs: Mapping[str, Json], path: Sequence[str]) -> str:
    value: Json = inputs
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return "(known after apply)" if value is UNKNOWN else words(value)


MACHINE = MachineType()
