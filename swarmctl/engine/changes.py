"""What the engine's steps mean in plans: which properties, on which machine, with which effect, and what drifted.

The differences come from the same `ResourceType.diff` that decided in the provider what the engine does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from swarmctl.engine.events import ADOPTED, REPLACING, Gathered, Op, State, Step
from swarmctl.graph.model import Address, Graph, Machine, Ref, Timeouts
from swarmctl.kinds.base import ChangeKind, PropertyChange, ResourceType, Unknown, differences, guarded
from swarmctl.plans.model import Action, Change, DriftedProperty, HostEffect, PropertyDiff
from swarmctl.plans.values import hidden, secret_at

Json = Any
_MISSING = object()
_NAMED = 5
"""Addresses in a note; the plan has them all."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a resource belongs."""

    node: str = ""
    cluster: str = ""
    pool: str = ""


@dataclass(slots=True)
class Context:
    """What is needed to explain steps: the graph where there is one, and the resource types."""

    resolve: Callable[[str], ResourceType]
    graph: Graph | None = None
    places: dict[str, Place] = field(default_factory=dict)
    """By node name; also of machines that have left the declarations."""
    protects: Mapping[str, tuple[bool, bool]] = field(default_factory=dict)
    """Whether it is protected, before and after, where that changes; by address."""

    def place(self, step: Step) -> Place:
        """From the graph; for what has left it from the inputs and what is known of the machine."""
        if self.graph is not None:
            resource = self.graph.resources.get(Address.parse(step.address))
            if resource is not None:
                return Place(resource.node, resource.cluster, resource.pool)
        inputs = (step.old or step.new or State({}, {})).inputs
        node = str(inputs.get("node") or "")
        known = self.places.get(node, Place())
        return Place(
            node, str(inputs.get("cluster") or "") or known.cluster, str(inputs.get("pool") or "") or known.pool
        )


def places(graph: Graph | None, recorded: Mapping[str, Mapping[str, Json]]) -> dict[str, Place]:
    """Machines by node name: those recorded (inputs by address), and over them those declared.

    A recorded machine is a resource of a node pool, so its address names the pool.
    """
    found = {
        str(inputs["node"]): Place(
            str(inputs["node"]), str(inputs.get("cluster") or ""), str(inputs.get("pool") or "") or _name(address)
        )
        for address, inputs in recorded.items()
        if inputs.get("node") and address.startswith("nodepool/")
    }
    if graph is not None:
        pools = {machine.pool: machine.cluster for machine in graph.exported(Machine)}
        clusters = set(pools.values())
        # Machines don't record their cluster. That of their pool is it, or the only one that there is.
        only = next(iter(clusters)) if len(clusters) == 1 else ""
        found = {
            name: replace(place, cluster=place.cluster or pools.get(place.pool, only)) for name, place in found.items()
        }
        found |= {
            machine.name: Place(machine.name, machine.cluster, machine.pool) for machine in graph.exported(Machine)
        }
    return found


def _name(address: str) -> str:
    return Address.parse(address).name


def action_of(op: Op) -> Action:
    """The engine's word in ours."""
    return Action.REPLACE if op in REPLACING else Action(op.value)


def _moved(step: Step) -> Iterator[HostEffect]:
    if step.formerly:
        kept = "is made anew" if step.op in REPLACING else "is the same as before but for what is said here"
        yield HostEffect("update", f"moved from {step.formerly}, and {kept}")


def changes(gathered: Gathered, context: Context, only: Iterable[str] | None = None) -> tuple[Change, ...]:
    """The changes; with `only` those at these addresses.

    First what leaves the graph, by address, then in the order of the graph: the engine works on many at once, and equal
    inputs shall make equal plans.
    """
    order = {str(address): place for place, address in enumerate(context.graph.resources)} if context.graph else {}
    steps = sorted(gathered.steps.items(), key=lambda item: (order.get(item[0], -1), item[0]))
    drifted = {address for address, step in gathered.refreshed.items() if _drift(step, context)}
    wanted = None if only is None else set(only)
    found = [
        _change(step, context, drifted=not drifted.isdisjoint({address, step.formerly}) and step.op is not Op.DELETE)
        for address, step in steps
        if wanted is None or address in wanted
    ]
    if alone := protected_alone(gathered, context):
        found += [_protection(address, context) for address in alone]
        found.sort(key=lambda change: (order.get(change.address, -1), change.address))
    return tuple(found)


def protected_alone(gathered: Gathered, context: Context) -> set[str]:
    """Addresses of what needs nothing but that its protection is recorded."""
    return gathered.kept & context.protects.keys()


def _protection(address: str, context: Context) -> Change:
    resource = context.graph.resources[Address.parse(address)] if context.graph else None
    return Change(
        address=address,
        type=resource.type if resource else "",
        action=Action.UPDATE,
        node=resource.node if resource else "",
        cluster=resource.cluster if resource else "",
        pool=resource.pool if resource else "",
        properties=_protect(address, context),
        effects=(HostEffect("update", "nothing changes on the host"),),
    )


def _protect(address: str, context: Context) -> tuple[PropertyDiff, ...]:
    if address not in context.protects:
        return ()
    before, after = context.protects[address]
    return (PropertyDiff("protect", "update", before, after),)


def _change(step: Step, context: Context, *, drifted: bool) -> Change:
    kind = context.resolve(step.type)
    old = None if step.op is Op.CREATE or step.old is None else step.old.inputs
    new = None if step.op is Op.DELETE or step.new is None else step.new.inputs
    place = context.place(step)
    action = Action.UPDATE if step.op is Op.SAME else action_of(step.op)
    if step.op is Op.CREATE and step.new is not None and ADOPTED in step.new.outputs:
        action, old = Action.ADOPT, step.new.outputs[ADOPTED]
    return Change(
        address=step.address,
        type=step.type,
        action=action,
        node=place.node,
        cluster=place.cluster,
        pool=place.pool,
        properties=(
            *_properties(kind, old, new, _declared(step.address, context)),
            *(_protect(step.address, context) if old is not None and new is not None else ()),
        ),
        effects=(
            *_moved(step),
            *(HostEffect(effect.action.value, effect.text) for effect in kind.effects(old, new)),
        ),
        impact=kind.impact(old, new).text,
        drifted=drifted,
        timeout=_timeout(step, context),
        guarded=guarded(kind, old, new) if action is Action.UPDATE else "",
    )


_DEFAULT = Timeouts()


def _timeout(step: Step, context: Context) -> int:
    """Seconds that the step may take as it is declared; 0 when that is the default, or nothing declares it any more."""
    resource = context.graph.resources.get(Address.parse(step.address)) if context.graph else None
    action = Action.UPDATE if step.op is Op.SAME else action_of(step.op)
    if resource is None or action is Action.DELETE:
        return 0
    name = "update" if action is Action.UPDATE else "create"
    declared = getattr(resource.timeouts, name)
    return 0 if declared == getattr(_DEFAULT, name) else round(declared)


def _declared(address: str, context: Context) -> Mapping[str, Json]:
    if context.graph is None:
        return {}
    resource = context.graph.resources.get(Address.parse(address))
    return resource.inputs if resource is not None else {}


def _properties(
    kind: ResourceType,
    old: Mapping[str, Json] | None,
    new: Mapping[str, Json] | None,
    declared: Mapping[str, Json],
) -> tuple[PropertyDiff, ...]:
    found: Sequence[PropertyChange]
    found = differences(old or {}, new or {}) if old is None or new is None else kind.diff(old, new)
    whole = {secret_at(change.path, old or {}, new or {}): change for change in reversed(found)}
    return tuple(
        PropertyDiff(
            path=".".join(path),
            action=change.kind.value if path == change.path else ChangeKind.UPDATE.value,
            before=hidden(shown(at(old or {}, path), None)),
            after=hidden(shown(at(new or {}, path), at(declared, path))),
            replaces=change.replace,
            reason=change.reason,
        )
        for path, change in reversed(whole.items())
    )


def drift(gathered: Gathered, context: Context) -> tuple[DriftedProperty, ...]:
    """Where the world, as just read, differs from what was recorded."""
    return tuple(found for step in gathered.refreshed.values() for found in _drift(step, context))


def _drift(step: Step, context: Context) -> list[DriftedProperty]:
    node = context.place(step).node
    if step.old is None or step.begun:  # what was never made to the end was never applied
        return []
    if step.new is None:
        return [DriftedProperty(step.address, step.type, node, "", hidden(shown(step.old.inputs, None)), None)]
    if step.old is step.new:  # found as it is recorded
        return []
    kind = context.resolve(step.type)
    recorded, actual = step.old, step.new
    moved = [secret_at(it.path, recorded.inputs, actual.inputs) for it in kind.diff(actual.inputs, recorded.inputs)]
    paths = [(path, recorded.inputs, actual.inputs) for path in dict.fromkeys(moved)]
    paths += [
        ((name,), recorded.outputs, actual.outputs)
        for name in kind.outputs()
        if name in recorded.outputs and recorded.outputs.get(name) != actual.outputs.get(name)
    ]
    return [
        DriftedProperty(
            step.address,
            step.type,
            node,
            ".".join(path),
            expected=hidden(shown(at(before, path), None)),
            actual=hidden(shown(at(after, path), None)),
        )
        for path, before, after in paths
    ]


def notes(gathered: Gathered) -> tuple[str, ...]:
    """What was begun and is not there: it differs from what is declared, and yet nothing has drifted."""
    begun = sorted(step.address for step in gathered.refreshed.values() if step.begun)
    if not begun:
        return ()
    more = f" and {len(begun) - _NAMED:,} more" if len(begun) > _NAMED else ""
    was = "was" if len(begun) == 1 else "were"
    return (f"{', '.join(begun[:_NAMED])}{more} {was} begun by an earlier run, which failed or was cut off in it",)


def at(value: Json, path: Sequence[str]) -> Json:
    """What is at `path`, None when nothing is."""
    for key in path:
        value = value.get(key, _MISSING) if isinstance(value, Mapping) else _MISSING
        if value is _MISSING:
            return None
    return value


def shown(value: Json, declared: Json) -> Json:
    """A value as plans keep it: unknown ones named after the output that `declared` refers to in the same place."""
    if isinstance(value, Unknown):
        name = f"{declared.address}.{declared.property}" if isinstance(declared, Ref) else ""
        return {"unknown": name}
    if isinstance(value, Mapping):
        inner = declared if isinstance(declared, Mapping) else {}
        return {key: shown(item, inner.get(key)) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        items = declared if isinstance(declared, (list, tuple)) and len(declared) == len(value) else [None] * len(value)
        return [shown(item, known) for item, known in zip(value, items, strict=True)]
    return value
