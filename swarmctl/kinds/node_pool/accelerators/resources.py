"""`swarm:nodepool:Driver`: the driver of one vendor's cards in a machine, with all that has to be of its version.

Inputs: `machine` (identity), `host`, `node`; `vendor`, `cards` (PCI address → model), `branch`, `version`,
`kernelModule`, `fabricMode`; `repository` (`url`, `key`, `fingerprint`, for AMD's `sources` and `origin`, too; empty
for the distribution's), `pin`, `packages` (name → version without the packager's revision, empty for any), `held`,
`services`, `modules`, `mig` (PCI address → profile → number), `persistence`, `counters`; `why` and `manual`, which are
for people and no property of the machine, and `drain`, which says how it leaves service (`draining.expand.service`).
Measured, too: `loaded` and `answers` (versions that the kernel and the vendor's tool tell), `verified` (whether the
last change came to its end), `fabricManager` (`version`), `cdi` (version of the libraries that its specification
names, or the kind of its devices), `startup` (what is wrong with what divides the cards after a restart: see
`hosts.startup`), `drained` (by what, where a change that failed or was cut off has left it so).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from swarmctl.backends import ways
from swarmctl.backends.base import HostGone
from swarmctl.gpu.lockstep import upstream
from swarmctl.graph.model import Json
from swarmctl.hosts import packages, startup
from swarmctl.hosts.packages import Packages
from swarmctl.kinds.base import (
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
    words,
)
from swarmctl.kinds.node_pool.accelerators import at_start, scripts
from swarmctl.kinds.node_pool.accelerators.reading import Seen
from swarmctl.kinds.node_pool.accelerators.services import PERSISTENCE
from swarmctl.kinds.node_pool.accelerators.vendors import VENDORS
from swarmctl.kinds.node_pool.draining import reading as draining
from swarmctl.kinds.node_pool.draining.reading import TURNS

REPLACE = {"machine": "it goes away with its machine"}
TOLD = ("why", "manual", "drain")
"""Inputs that are no property of the machine: words for people, and how the change is made."""
UNENDED = "by a change of it that failed or was cut off"


class DriverType:
    """How it is brought there, read and let go; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property."""
        return differences(_measured(old), _measured(new), replace=REPLACE)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Bring it there, or find it so. Raises the errors of `errors`, `PackagesFailed` and `DrainFailed`."""
        from swarmctl.kinds.node_pool.accelerators import unfinished
        from swarmctl.kinds.node_pool.accelerators.turn import bring
        from swarmctl.kinds.node_pool.draining.turn import Turn

        try:
            bring(hosts, inputs, Turn(hosts, inputs, turn_of(inputs)))
            if not inputs.get("drain"):
                unfinished.hooks_are_gone(hosts, inputs)
        finally:
            hosts.changed(inputs["host"])
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: what is right already is not touched."""
        return self.create(hosts, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the machine has it; None when nothing of it is there, or the machine is gone."""
        try:
            there = hosts.look(inputs["host"], packages.READING)
            seen = hosts.look(inputs["host"], VENDORS[inputs["vendor"]].reading)
            left = _left_drained(hosts, inputs)
        except HostGone:
            return None
        if not is_there(inputs, there, seen):
            return None
        return Observed({**observed(inputs, there, seen), **left}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Let it go: it stays installed and goes on, and is nobody's. The files of ours are removed.

        Raises DriverUnfinished where a change of it failed or was cut off, and changes nothing then: whoever puts the
        machine into service again has to find the note that its driver does not work.
        """
        from swarmctl.kinds.node_pool.accelerators import unfinished

        try:
            host = hosts.open(inputs["host"])
            if unfinished.on(hosts, inputs):
                unfinished.let_go(hosts, inputs)
            else:
                host.remove(f"{TURNS}/{turn_of(inputs)}")
            there = hosts.look(inputs["host"], packages.READING)
            if names := sorted(set(inputs["held"]) & there.held):
                packages.carry_out(host, packages.by(there).unhold(names))
            host.run(["sh", "-eu", "-c", VENDORS[inputs["vendor"]].forget()])
        except HostGone:
            return
        finally:
            hosts.changed(inputs["host"])

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """What is decided and why when it comes; what differs when it changes."""
        if new is None:
            return [Effect(ChangeKind.DELETE, text) for text in (_stays(old) if old else ())]
        if old is None:
            return [Effect(ChangeKind.ADD, text) for text in _decision(new)]
        changed = [
            Effect(change.kind, f"{'.'.join(change.path)} {_at(old, change.path)} → {_at(new, change.path)}")
            for change in self.diff(old, new)
            if change.path[0] not in ("host", "machine", "held", "drained", "verified", startup.PROPERTY)
        ]
        if not old.get("verified", True):
            changed.append(Effect(ChangeKind.UPDATE, "what was installed was never verified to work: that is done now"))
        if how := old.get(startup.PROPERTY):
            comes = "nothing" if how == startup.GONE else "another layout or program"
            changed.append(Effect(ChangeKind.UPDATE, f"MIG after a restart {comes} → as declared"))
        if old.get("drained"):
            changed.append(Effect(ChangeKind.UPDATE, f"drained {old['drained']}: what that began is ended first"))
        if old["version"] == new["version"] and old["kernelModule"] == new["kernelModule"]:
            return changed
        return [*(Effect(ChangeKind.UPDATE, text) for text in _decision(new)), *changed]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Whether programs on the cards are in the way."""
        if old is not None and new is None and _is_unfinished(old) and not ways.is_lost(old["host"]):
            return Impact(f"{old['node']} stays out of service") if old.get("drain") else Impact()
        if old is None or new is None:
            return Impact()
        paths = {change.path[0] for change in self.diff(old, new)}
        if paths & {"version", "kernelModule", "loaded", "packages", "mig", "verified"}:
            node = new["node"]
            drained = "; it is drained before, and comes back when the driver is verified" if new.get("drain") else ""
            return Impact(
                f"nothing can compute on the cards of {node} meanwhile; where the kernel module is in use, it restarts"
                + drained
            )
        return Impact()


def is_there(inputs: Mapping[str, Any], there: Packages, seen: Seen) -> bool:
    """Whether anything of a driver is: without that there is nothing to compare."""
    return bool(seen.loaded) or any(name in there.installed for name in inputs["packages"])


def observed(inputs: Mapping[str, Any], there: Packages, seen: Seen) -> dict[str, Any]:
    """The inputs as the machine has them."""
    wanted: Mapping[str, str] = inputs["packages"]
    repository = inputs["repository"]
    known = (
        repository
        and seen.source == scripts.entries(repository)
        and seen.fingerprints == (repository["fingerprint"],)
        and seen.origin == repository.get("origin", "")
    )
    found = {
        name: version
        if not version or upstream(there.installed[name]) == upstream(version)
        else upstream(there.installed[name])
        for name, version in wanted.items()
        if name in there.installed
    }
    lost = seen.lost(inputs["cards"])
    at_restart = at_start.wrong(seen.startup, inputs["mig"])
    return {
        **inputs,
        "cards": {pci: model for pci, model in inputs["cards"].items() if pci not in lost},
        "kernelModule": seen.flavour or inputs["kernelModule"],
        "loaded": seen.loaded,
        "answers": seen.failure or seen.answers,
        "verified": not seen.unverified,
        "fabricManager": {"version": seen.fabric} if inputs["fabricManager"] else {},
        "repository": repository if known or not repository else {"url": " ".join(seen.source)},
        "pin": inputs["pin"] if inputs["pin"] in there.installed or inputs["pin"] in there.streams else "",
        "packages": found,
        "held": [name for name in inputs["held"] if name in there.held],
        "services": sorted(seen.running & {*inputs["services"], PERSISTENCE}),
        "modules": [name for name in inputs["modules"] if name in seen.modules],
        "mig": {card: dict(profiles) for card, profiles in seen.instances.items()},
        "counters": [name for name in inputs["counters"] if name in seen.counters],
        "cdi": seen.cdi if inputs["cdi"] else "",
        **({startup.PROPERTY: at_restart} if at_restart else {}),
    }


def turn_of(inputs: Mapping[str, Any]) -> str:
    """Under which name the change has the machine out of service."""
    return "driver" if inputs["vendor"] == "nvidia" else f"driver-{inputs['vendor']}"


def _left_drained(hosts: Hosts, inputs: Mapping[str, Any]) -> dict[str, str]:
    """Whether an earlier run has taken the machine out of service for its driver and did not come to its end."""
    if not inputs.get("drain"):
        return {}
    left = hosts.look(inputs["host"], draining.reading(inputs["drain"]["hooks"]["check"])).turns
    return {"drained": UNENDED if turn_of(inputs) in left else ""}


def _is_unfinished(found: Mapping[str, Json]) -> bool:
    """Whether a change of it failed or was cut off, as the machine was found."""
    return not found.get("verified", True) or bool(found.get("drained"))


def _stays(old: Mapping[str, Any]) -> list[str]:
    """What becomes of a driver that nobody declares any more."""
    if not _is_unfinished(old):
        return [f"driver {old['version']} stays installed, and is held no more"]
    versions = Counter(version for version in old["packages"].values() if version)
    there = versions.most_common(1)[0][0] if versions else old["version"]
    return [
        f"driver {there} was never verified to work: its change failed or was cut off",
        "it is not let go like that: declare it once more and apply, then take it out",
        "only `destroy` lets it go as it is, and puts no machine back into service",
    ]


def _measured(inputs: Mapping[str, Json]) -> dict[str, Json]:
    measured = {key: value for key, value in inputs.items() if key not in TOLD}
    return {"drained": "", "verified": True, startup.PROPERTY: "", **measured}


def _decision(inputs: Mapping[str, Any]) -> list[str]:
    models: dict[str, int] = {}
    for model in inputs["cards"].values():
        models[model] = models.get(model, 0) + 1
    cards = " and ".join(f"{number} x {model}" for model, number in models.items())
    return [
        f"driver {inputs['version']} (branch {inputs['branch']}, {inputs['kernelModule']} kernel module) for {cards}",
        f"packages {', '.join(sorted(inputs['packages']))}",
        "and the headers of the machine's kernel, where they are not there: DKMS builds with them",
        _source(inputs),
        *inputs["why"],
        *(f"by hand: {text}" for text in inputs["manual"]),
    ]


def _source(inputs: Mapping[str, Any]) -> str:
    if not inputs["repository"]:
        return "from the distribution's own archive"
    if "fingerprint" not in inputs["repository"]:  # as a machine has it, where no source of ours is there
        return f"from {inputs['repository']['url'] or 'a source that is not declared'}"
    signed = f"signed by {inputs['repository']['fingerprint']} (key from {inputs['repository']['key']})"
    return f"from {inputs['repository']['url']}, {signed}"


def _at(inputs: Mapping[str, Json], path: Sequence[str]) -> str:
    value: Json = inputs
    for key in path:
        value = value.get(key) if isinstance(value, Mapping) else None
    return words(value) if value != "" else "nothing"


DRIVER = DriverType()
