"""The desired state: resources with plain inputs, references between them, and what they tell each other.

A `Resource` is one thing the engine keeps in its state. Its inputs are plain JSON data in which a `Ref` stands for
an output that is known only when the other resource exists (a public key made on a node, for instance).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from swarmctl.diagnostics import Diagnostic, Range

Json = Any
"""None, bool, int, float, str, list or dict with str keys; in inputs also `Ref`."""

E = TypeVar("E")

_ADDRESS = re.compile(r"^(?P<kind>[a-z]+)/(?P<name>[a-z0-9]([a-z0-9-]*[a-z0-9])?)(\[(?P<key>[a-z0-9/.-]+)\])?$")


@dataclass(frozen=True, slots=True, order=True)
class Address:
    """`kind/name[key]`, such as `nodepool/workers[0]` or `mesh/backbone[workers-0/peers]`.

    Made of declared names only, so that it never depends on the order of anything.
    """

    kind: str
    name: str
    key: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}[{self.key}]" if self.key else f"{self.kind}/{self.name}"

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address back. Raises ValueError when `text` is none."""
        match = _ADDRESS.match(text)
        if match is None:
            raise ValueError(f"not an address: {text!r}")
        return cls(match["kind"], match["name"], match["key"] or "")


@dataclass(frozen=True, slots=True)
class Ref:
    """Stands in inputs for the output `property` of the resource at `address`."""

    address: Address
    property: str


@dataclass(frozen=True, slots=True)
class Timeouts:
    """How long one step on a resource may take, in seconds."""

    create: float = 600.0
    update: float = 600.0
    delete: float = 600.0
    read: float = 60.0


@dataclass(frozen=True, slots=True)
class Rollout:
    """How changes spread over the nodes of a pool; `graph.rollout.Gate` keeps to it."""

    canary: int = 0
    """Nodes that go first, all at once; 0: none."""
    batch: int = 0
    """Nodes at a time after the canaries; 0: all that are left."""
    max_failures: int = 0
    """Nodes that may fail without stopping the rest of the pool."""


@dataclass(frozen=True, slots=True)
class Resource:
    """One resource as it should be."""

    address: Address
    type: str
    """Pulumi type token, such as `swarm:mesh:Peers`."""
    inputs: Mapping[str, Json]
    depends_on: tuple[Address, ...] = ()
    """Resources that must exist first although no input refers to them."""
    node: str = ""
    """The machine it lands on, by node name; empty when it lands on none."""
    cluster: str = ""
    pool: str = ""
    origin: Range | None = None
    """Where in the files it was declared."""
    protect: bool = False
    """Whether deleting it and making it anew are refused."""
    timeouts: Timeouts = Timeouts()
    one_pool_at_a_time: bool = False
    """Whether its machine can't do its work while it changes: then other pools are left alone meanwhile."""

    def needs(self) -> set[Address]:
        """Every resource that must exist before this one."""
        return {*self.depends_on, *(ref.address for ref in self.refs())}

    def refs(self) -> Iterator[Ref]:
        """Every reference in the inputs."""
        return refs(self.inputs)


def refs(value: Json) -> Iterator[Ref]:
    """Every reference in a value, however deep."""
    stack: list[Json] = [value]
    while stack:
        found = stack.pop()
        if isinstance(found, Ref):
            yield found
        elif isinstance(found, Mapping):
            stack.extend(found.values())
        elif isinstance(found, (list, tuple)):
            stack.extend(found)


@dataclass(frozen=True, slots=True)
class Move:
    """A declared move: what was at `source` is at `target` now. Without keys both mean all that begins so."""

    source: Address
    target: Address


@dataclass(frozen=True, slots=True)
class Machine:
    """What a node pool tells the other kinds about one machine."""

    name: str
    """Unique in the stack, such as `workers-0`."""
    address: Address
    pool: str
    cluster: str
    region: str
    labels: Mapping[str, str]
    """The pool's labels and the host's own; the host's win."""
    underlay: tuple[str, ...]
    """Addresses on the underlay, IPv4 first, without prefix length."""
    host: Mapping[str, Json]
    """What `swarmctl.backends.open_host` needs to reach it; goes into inputs as `host`."""
    timeouts: Timeouts = Timeouts()
    """Of every resource that lands on it."""
    endpoint: str | None = ""
    """Where other machines reach it: empty at its underlay addresses, None nowhere (it stands behind a router that
    translates addresses), or else an address or host name."""
    underlay_mtu: int = 1500
    """Of its interface on the underlay, in bytes."""
    managed_ports: tuple[int, ...] = ()
    """TCP ports on the machine that it is managed through, which no firewall may close."""
    managed_from: tuple[str, ...] = ()
    """Networks that it is managed from; empty for all."""
    state: str = ""
    """`isolated`, `cordoned`, `drained`, or empty: it takes part."""


@dataclass(frozen=True, slots=True)
class LostMachine:
    """A machine that is declared as gone for good: nothing is made on it, and it is asked nothing."""

    name: str
    pool: str
    cluster: str
    region: str


@dataclass(frozen=True, slots=True)
class Unfit:
    """What one machine's own facts contradict, while what is declared fits others: there it stays as it is."""

    node: str
    address: Address
    """Of what would be made or changed on it."""
    problem: Diagnostic


@dataclass(frozen=True, slots=True)
class MeshMember:
    """What a mesh tells the other kinds about one of its nodes."""

    node: str
    mesh: str
    interface: str
    addresses: tuple[str, ...]
    """Addresses on the mesh, without prefix length, in the order of the mesh's `cidrs`."""
    cidrs: tuple[str, ...]
    listen_port: int
    peers: tuple[str, ...]
    """Names of the nodes it has a tunnel to."""
    forwards: bool
    """Whether it passes traffic on between other members (a hub)."""
    address: Address
    """The resource that makes the interface."""
    next_interface: str = ""
    """The second interface, which is there while the node's key is rotated; empty when the mesh has none."""
    next_port: int = 0
    """UDP port of the second interface; 0 when the mesh has none."""
    anywhere: bool = False
    """Whether a peer's packets may come from addresses that are not its underlay addresses: it stands behind a router
    that translates addresses, or has a declared endpoint. Then WireGuard's port must be open to any source."""
    confirm_within: int = 60
    """Seconds after which a change that may cut the node off is undone, unless it is confirmed."""
    role: str = ""
    """Why it passes traffic on: `hub`, `gateway`, `relay`, or `link` for the end of a link that others lie behind."""
    behind_nat: bool = False
    """Whether nobody can begin a tunnel to it."""


@dataclass(slots=True)
class Graph:
    """All resources of a stack and what the kinds told each other while expanding."""

    stack: str
    """The stack's identity: its name, and its uid where it has one."""
    resources: dict[Address, Resource] = field(default_factory=dict)
    exports: list[Any] = field(default_factory=list)
    rollouts: dict[str, Rollout] = field(default_factory=dict)
    """By pool; pools without one change everywhere at once."""
    moved: tuple[Move, ...] = ()
    """Declared moves, in the order of the file."""
    notes: list[str] = field(default_factory=list)
    """What a user should know of this graph, such as what could not be decided yet; a sentence each."""
    frozen: set[Address] = field(default_factory=set)
    """What stays as it is, or is not made: it is on machines that are isolated, or whose facts contradict it."""

    def add(self, resource: Resource) -> None:
        """Add one resource. Raises ValueError when its address is taken: kinds must keep addresses apart."""
        if resource.address in self.resources:
            raise ValueError(f"{resource.address} is declared twice")
        self.resources[resource.address] = resource

    def export(self, fact: Any) -> None:
        """Tell the kinds that expand later."""
        self.exports.append(fact)

    def exported(self, of: type[E]) -> list[E]:
        """What was told so far, by type, such as `graph.exported(Machine)`."""
        return [fact for fact in self.exports if isinstance(fact, of)]
