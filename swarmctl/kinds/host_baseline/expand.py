"""HostBaselines → for each of their machines one resource per declared aspect."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from swarmctl.declarations.declaration import Declaration
from swarmctl.graph.model import Address, Json, Machine, Ref, Resource
from swarmctl.kinds.base import Expansion
from swarmctl.kinds.host_baseline.aspects.upgrades import EXCLUDED
from swarmctl.kinds.host_baseline.nesting import outer_first
from swarmctl.kinds.host_baseline.spec import HostBaselineSpec
from swarmctl.mesh.selectors import select

UNATTENDED = "unattended-upgrades"
"""Debian's and Ubuntu's package that does security upgrades."""


def expand(context: Expansion) -> None:
    """Add `swarm:hostbaseline:*` resources, such as `hostbaseline/gpu-hosts[workers-0/sysctl]`."""
    machines = context.graph.exported(Machine)
    baselines = context.inventory.of("HostBaseline")
    packages: dict[str, list[Address]] = {}
    said: set[tuple[str, str]] = set()
    for baseline in baselines:
        for machine in select(baseline.spec.nodes, machines):
            said |= {(machine.name, name) for name in baseline.spec.packages}
    for baseline in baselines:
        for machine in select(baseline.spec.nodes, machines):
            if _packages(baseline.spec, machine.name, said):
                packages.setdefault(machine.name, []).append(_address(baseline, machine, "packages"))
    last: dict[tuple[str, str], Address] = {}
    after = _within(baselines, machines)
    for baseline in baselines:
        for machine in select(baseline.spec.nodes, machines):
            wanted = _packages(baseline.spec, machine.name, said)
            for aspect, inputs in _aspects(baseline.spec, wanted):
                first = [] if aspect == "packages" else list(packages.get(machine.name, ()))
                # One after the other, since what one gives up another may take over.
                at = _address(baseline, machine, aspect)
                before = after.get(at) if aspect == "mounts" else last.get((machine.name, aspect))
                first += [before] if before is not None else []
                last[machine.name, aspect] = at
                context.graph.add(_resource(baseline, machine, aspect, inputs, tuple(first)))


def _within(baselines: Sequence[Declaration], machines: Sequence[Machine]) -> dict[Address, Address]:
    """Which mounts come after which, on each machine: those within others after these."""
    mounted: dict[str, dict[str, list[str]]] = {}
    for baseline in baselines:
        for machine in select(baseline.spec.nodes, machines) if baseline.spec.mounts else ():
            mounted.setdefault(machine.name, {})[baseline.name] = [it.path for it in baseline.spec.mounts]
    found: dict[Address, Address] = {}
    for machine in machines:
        order, _ = outer_first(mounted.get(machine.name, {}))
        places = [Address("hostbaseline", name, f"{machine.name}/mounts") for name in order]
        found.update(zip(places[1:], places[:-1], strict=True))
    return found


def _packages(spec: HostBaselineSpec, node: str, said: Collection[tuple[str, str]]) -> dict[str, Json]:
    """The declared ones, and what does security upgrades, unless a baseline has `said` something else of it."""
    upgrades = spec.security_upgrades
    needed = upgrades is not None and upgrades.automatic and (node, UNATTENDED) not in said
    return {**({UNATTENDED: "present"} if needed else {}), **spec.packages}


def _aspects(spec: HostBaselineSpec, packages: dict[str, Json]) -> Iterator[tuple[str, dict[str, Json]]]:
    """The declared ones: name, and what of the inputs is theirs. Packages come first: the others need some."""
    if packages:
        yield "packages", {"packages": packages}
    if spec.kernel is not None:
        yield "kernel", {"parameters": list(spec.kernel.parameters)}
    if spec.sysctl:
        yield "sysctl", {"values": {key: " ".join(str(value).split()) for key, value in spec.sysctl.items()}}
    if spec.users:
        yield (
            "users",
            {
                "users": {
                    user.name: {
                        "sudo": user.sudo,
                        "shell": user.shell,
                        "authorizedKeys": sorted({*user.authorized_keys}),
                    }
                    for user in spec.users
                }
            },
        )
    if spec.time_sync is not None:
        yield "time", {"servers": list(spec.time_sync.servers), "running": True}
    if spec.security_upgrades is not None:
        upgrades = spec.security_upgrades
        yield "upgrades", {"automatic": upgrades.automatic, "reboot": upgrades.reboot, "excluded": list(EXCLUDED)}
    if spec.mounts:
        mounts = {it.path: {"device": it.device, "type": it.type, "options": list(it.options)} for it in spec.mounts}
        yield "mounts", {"mounts": mounts}
    if spec.swap is not None:
        yield "swap", {"swap": spec.swap}


def _address(baseline: Declaration, machine: Machine, aspect: str) -> Address:
    return Address("hostbaseline", baseline.name, f"{machine.name}/{aspect}")


def _resource(
    baseline: Declaration, machine: Machine, aspect: str, inputs: dict[str, Json], first: tuple[Address, ...]
) -> Resource:
    return Resource(
        address=_address(baseline, machine, aspect),
        depends_on=first,
        type=f"swarm:hostbaseline:{aspect.capitalize()}",
        inputs={
            "machine": Ref(machine.address, "identity"),
            "host": machine.host,
            "node": machine.name,
            "baseline": baseline.name,
            **inputs,
        },
        node=machine.name,
        cluster=machine.cluster,
        pool=machine.pool,
        origin=baseline.value("metadata", "name"),
    )
