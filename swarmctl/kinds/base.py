"""What a declared kind is made of. One folder per kind; this module holds the contract that all of them keep.

A kind's `__init__` holds `KIND = Kind(...)` and imports nothing heavier than its spec; rules, expansion and resources
are named as "module:attribute" and imported when first used, so that `validate` never loads what only `apply` needs.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from swarmctl.backends.base import Fence, Host
    from swarmctl.declarations.declaration import Inventory
    from swarmctl.declarations.secrets import SecretRef
    from swarmctl.diagnostics import Range
    from swarmctl.graph.model import Address, Graph, Json, Machine
    from swarmctl.hosts.facts import Facts
    from swarmctl.hosts.guard import Change
    from swarmctl.hosts.readings import Reading
    from swarmctl.hosts.system import SystemFacts

T = TypeVar("T")
PropertyPath = tuple[str, ...]

MACHINE = "swarm:nodepool:Machine"
"""The type token of the resource that stands for a machine itself; all else on it depends on it."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One declared kind."""

    name: str
    """As written in `kind:`, such as `NodePool`."""
    summary: str
    """One sentence for `swarmctl explain`."""
    spec: type[Any]
    """The frozen msgspec type of `spec:`; its JSON Schema is generated from it."""
    variants: Callable[[], Mapping[str, type[Any]]] | None = None
    """For one-of kinds: spec types by key, of which a declaration chooses exactly one."""
    rules: str = ""
    """`module:function`, called as `rules(inventory) -> Iterable[Diagnostic]` once per stack."""
    expand: str = ""
    """`module:function`, called as `expand(context) -> None` once per stack."""
    expands_after: tuple[str, ...] = ()
    """Kinds whose exports the expansion reads."""
    resources: Mapping[str, str] = field(default_factory=dict)
    """Type token → `module:attribute` of a `ResourceType` instance."""
    marked: str = ""
    """`module:function`, called as `marked(stack, machines, hosts) -> Iterable[Marked]` with the `host` inputs of
    machines by node: what the kind finds of its own by marks alone. Called once without machines, too, for what stands
    on none. Raises what reading a host raises."""


class Systems(Protocol):
    """Facts of machines, as far as they can be had; see `Expansion.system`."""

    @property
    def unread(self) -> Mapping[str, str]:
        """Why machines that were asked for and exist could not be read, by node name."""
        ...

    def __call__(self, machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        """By node name: kept from an earlier time, or else read now, many at once and with a deadline.

        Who is missing is in `unread`, or does not exist yet, as a machine that a plan is about to make. Where hosts
        are not to be read at all, everybody is missing: what is applied must then stay as it is.
        """
        ...


class Nothing:
    """`Systems` where no host is read."""

    @property
    def unread(self) -> Mapping[str, str]:
        """Nobody was asked."""
        return {}

    def __call__(self, machines: Iterable[Machine]) -> Mapping[str, SystemFacts]:
        """Nothing is known."""
        return {}


@dataclass(frozen=True, slots=True)
class Expansion:
    """What `expand` gets: the declarations, the graph to add to, and what was applied before."""

    inventory: Inventory
    graph: Graph
    previous: Callable[[Address], Mapping[str, Json] | None]
    """The inputs of a resource in the state, so that allocated addresses stay where they are; None when it is new."""
    on_node: Callable[[str, str], Mapping[str, Json] | None] = lambda type_, node: None
    """The same by type and node, whatever the address: what kept its node while its pool or mesh got another name."""
    nodes: Mapping[str, str] = field(default_factory=dict)
    """Names of the machines in the state and their addresses there, where it matters that none gets another name."""
    existing: Callable[[str], Collection[str]] = lambda backend: ()
    """Names of the machines that a backend has for this stack, by the marks on them; only asked where the state does
    not tell what became of something that moved."""
    secret: Callable[[SecretRef, Range], Json] = lambda ref, where: {"secret": ref.plain()}
    """What stands for a declared secret in inputs, see `kinds.secrets`; the secret itself must be in none."""
    rotate: frozenset[str] = frozenset()
    """Nodes whose keys this run is to rotate, whatever their age; `*` among them: all."""
    system: Systems = field(default_factory=Nothing)
    """Facts of the machines themselves. Whoever asks has machines read, so only ask for those that it matters for."""
    anew: Callable[[Iterable[Machine]], Mapping[str, SystemFacts]] = lambda machines: {}
    """The same of machines that contradict what is declared, as far as what they told was kept from an earlier time and
    is otherwise now, perhaps: it is read once more, and who has nothing newer to tell is missing."""

    @property
    def unread(self) -> Mapping[str, str]:
        """Why machines that were asked for and exist could not be read, by node name."""
        return self.system.unread


def load(reference: str) -> Any:
    """Import `module:attribute`."""
    module, _, attribute = reference.partition(":")
    return getattr(importlib.import_module(module), attribute)


@unique
class ChangeKind(StrEnum):
    """What happens to one property."""

    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class PropertyChange:
    """One property that differs. `path` names keys only; a list counts as one value."""

    path: PropertyPath
    kind: ChangeKind
    replace: bool = False
    """The resource has to be made anew because of it."""
    reason: str = ""
    """Why, when `replace`: a clause such as "the region decides the subnet"."""


@dataclass(frozen=True, slots=True)
class Effect:
    """One thing that lands on a host, for people: `+ peer control-0 …`, `- rule ray-head …`."""

    action: ChangeKind
    text: str


@dataclass(frozen=True, slots=True)
class Impact:
    """What a change disrupts. `text` is empty when nothing is."""

    text: str = ""


@dataclass(frozen=True, slots=True)
class Observed:
    """A resource as the world has it: `inputs` in the shape of declared inputs, so that they compare by property."""

    inputs: Mapping[str, Json]
    outputs: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class Marked:
    """Something that carries the mark of a kind, whatever a state knows of it."""

    type: str
    """Type token."""
    inputs: Mapping[str, Json]
    """As far as the marks tell; enough for `ResourceType.delete`."""
    same: tuple[str, ...]
    """Names of the inputs by which a resource of this type is this very thing."""
    text: str
    """What it is, for people."""
    why: str = ""
    """Why it is told and left alone, where its mark makes no sense; nothing removes it then."""


class Hosts(Protocol):
    """The way from a resource to the machine it lands on; one per provider process, safe for threads."""

    @property
    def fence(self) -> Fence | None:
        """Under which run's right things are changed: `open` has it compared on the host; what is made elsewhere, such
        as by a backend, is given it. None in a preview, which changes nothing."""
        ...

    def open(self, host: Mapping[str, Json]) -> Host:
        """The host that the input `host` names. Doesn't connect yet."""
        ...

    def facts(self, host: Mapping[str, Json]) -> Facts:
        """What the host looks like, read in one call and kept until something is changed on it.

        Raises `backends.base.HostGone` when the machine does not exist (any more) and `HostUnreachable` when it
        exists and does not answer.
        """
        ...

    def look(self, host: Mapping[str, Json], reading: Reading[T]) -> T:
        """What another reading of the host tells, kept until something is changed on it. Raises as `facts` does."""
        ...

    def changed(self, host: Mapping[str, Json]) -> None:
        """Forget what was read from the host: something was changed on it."""
        ...

    def guarded(self, host: Mapping[str, Json], change: Change) -> str:
        """Change the host so that it undoes that by itself unless it is confirmed in time; see `hosts.guard`.

        Returns what the change's script printed. Raises what `Host.run` does.
        """
        ...


class ResourceType(Protocol):
    """How one type of resource is made, read, changed and removed. Pure of Pulumi: plain data in, plain data out.

    Every method may be called again after a crash: `create` adopts what is already there, `delete` of what is gone
    succeeds. Unknown inputs (preview only) arrive as `UNKNOWN`. Errors are `swarmctl.errors.SwarmError`.
    """

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """The properties that differ between the inputs as last applied (or as read back) and as declared."""
        ...

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Make it, or adopt it; returns the outputs (without the inputs)."""
        ...

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """Read it back, given the inputs as last applied; None when it is gone.

        A preview also asks, with the declared inputs, whether what is to be made is there already. Some of them may be
        `UNKNOWN` then; what tells the thing from others is known. What was not read may come back as it was given.
        """
        ...

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """Change it in place by a delta; returns the outputs."""
        ...

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Remove it and every trace of it."""
        ...

    def outputs(self) -> Sequence[str]:
        """Names of the outputs, unknown until it exists."""
        ...

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """What lands on the host when it goes from `old` (None: is made) to `new` (None: is removed)."""
        ...

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """What that disrupts."""
        ...


@runtime_checkable
class Guarded(Protocol):
    """A resource type some of whose changes are made by `Hosts.guarded`."""

    def guarded(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
        """Why this update is such a change: a clause such as "removes the peer a-1"; empty when it is none."""
        ...


CONFIRM_WITHIN = "confirmWithin"
"""The input with the seconds after which a guarded change is undone. It says how a thing is changed and is no property
of the thing: no difference of its own."""


def guarded(kind: ResourceType, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> str:
    """What a plan says of a guarded update; empty for all else."""
    if old is None or new is None or not isinstance(kind, Guarded):
        return ""
    why = kind.guarded(old, new)
    return f"{why}; undoes itself unless confirmed within {new.get(CONFIRM_WITHIN, 60)} s" if why else ""


@runtime_checkable
class Traced(Protocol):
    """A resource type that can be read on every machine, also where nothing of it has been made."""

    def traced(self, hosts: Hosts, inputs: Mapping[str, Json]) -> bool:
        """Whether something of it is there, so that creating it takes that over. Raises what `read` does."""
        ...


@runtime_checkable
class Renewing(Protocol):
    """A resource type some of whose outputs change when it is changed in place."""

    def renews(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[str]:
        """Names of the outputs that are others after this update; in a preview they are unknown."""
        ...


@runtime_checkable
class Requiring(Protocol):
    """A resource type some of whose declared inputs, as nodes have told them, cannot be carried out."""

    def require(self, inputs: Mapping[str, Json]) -> None:
        """Raises `SwarmError` with the reason; asked by previews, too, so that nothing has been changed then."""
        ...


class Unknown:
    """A value that is known only after apply. One instance, `UNKNOWN`."""

    def __repr__(self) -> str:
        return "(known after apply)"


UNKNOWN = Unknown()


def unknown_within(value: Json) -> bool:
    """Whether it is `UNKNOWN`, or has that somewhere in it."""
    if isinstance(value, Mapping):
        return any(map(unknown_within, value.values()))
    if isinstance(value, (list, tuple)):
        return any(map(unknown_within, value))
    return value is UNKNOWN


def words(value: Json) -> str:
    """A value in an effect, as one would write it in YAML."""
    if value is UNKNOWN:
        return "(known after apply)"
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {words(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(words, value)) + "]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def differences(
    old: Mapping[str, Json],
    new: Mapping[str, Json],
    *,
    replace: Mapping[str, str] | None = None,
) -> list[PropertyChange]:
    """Compare two inputs key by key, going into mappings; lists and scalars are compared whole.

    `replace` names the top-level properties whose change makes the resource anew, with the reason.
    """
    found: list[PropertyChange] = []
    reasons = replace or {}

    def walk(before: Any, after: Any, path: PropertyPath) -> None:
        if isinstance(before, Mapping) and isinstance(after, Mapping):
            for key in sorted({*before, *after}):
                if key not in after:
                    add(ChangeKind.DELETE, (*path, key))
                elif key not in before:
                    add(ChangeKind.ADD, (*path, key))
                else:
                    walk(before[key], after[key], (*path, key))
        elif after is UNKNOWN or before != after:
            add(ChangeKind.UPDATE, path)

    def add(kind: ChangeKind, path: PropertyPath) -> None:
        reason = reasons.get(path[0], "")
        found.append(PropertyChange(path, kind, path[0] in reasons, reason))

    walk(_without_span(old), _without_span(new), ())
    return found


def _without_span(inputs: Mapping[str, Json]) -> Mapping[str, Json]:
    return {key: value for key, value in inputs.items() if key != CONFIRM_WITHIN}
