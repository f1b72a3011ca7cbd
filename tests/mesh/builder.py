"""Stacks for tests, put together without files, and a backend that places machines without making any."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import pytest

from swarmctl import backends
from swarmctl.backends.base import Placement, PoolRequest
from swarmctl.declarations.declaration import Declaration, Inventory, Metadata
from swarmctl.diagnostics import Position, Range
from swarmctl.documents.document import Document, Source
from swarmctl.graph.model import Address, Graph
from swarmctl.kinds import registry
from swarmctl.kinds.compile import compile_graph

HERE = Range("stack.yaml", Position(1, 1), Position(1, 2))


class _Positions:
    def key(self, path: Any) -> Range:
        return HERE

    def value(self, path: Any) -> Range:
        return HERE


class FakeBackend:
    """Machines called `POOL-ORDINAL` at 172.30.0.N and fd30::N, in the order of the pools."""

    name = "lab"
    here = True

    def place(
        self, stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Any]]
    ) -> list[Placement]:
        placements = []
        for request in pools:
            for ordinal in range(request.spec.count):
                name = f"{request.pool}-{ordinal}"
                number = len(placements) + 1
                host = {"backend": "lab", "stack": stack, "node": name}
                underlay = (f"172.30.{number // 250}.{number % 250}", f"fd30::{number:x}")
                if name in previous:
                    underlay = tuple(previous[name]["underlay"])
                placements.append(
                    Placement(
                        pool=request.pool,
                        key=str(ordinal),
                        name=name,
                        labels=request.labels,
                        inputs={
                            "backend": "lab",
                            "host": host,
                            "region": request.region,
                            "underlay": list(underlay),
                        },
                        underlay=underlay,
                        host=host,
                        endpoint=None if request.spec.nat else "",
                        mtu=request.spec.mtu,
                        state=request.state,
                    )
                )
        return placements

    def create_machine(self, inputs: Mapping[str, Any], fence: Any = None) -> Mapping[str, Any]:
        return {}

    def update_machine(self, old: Mapping[str, Any], new: Mapping[str, Any], fence: Any = None) -> Mapping[str, Any]:
        return {}

    def read_machine(self, inputs: Mapping[str, Any], fence: Any = None) -> Mapping[str, Any]:
        return inputs

    def replaces(self) -> Mapping[str, str]:
        return {"region": "the region decides the subnet"}


@pytest.fixture
def fake_backend(monkeypatch: pytest.MonkeyPatch) -> FakeBackend:
    backend = FakeBackend()
    monkeypatch.setattr(backends, "load", lambda name: backend)
    return backend


def declare(kind: str, name: str, spec: Mapping[str, Any], labels: Mapping[str, str] | None = None) -> Declaration:
    document = Document(Source("stack.yaml", ""), {}, _Positions())
    found = registry()[kind]
    variants = dict(found.variants()) if found.variants else {}
    variant = next((key for key in spec if key in variants), "")
    rest = {key: value for key, value in spec.items() if key != variant}
    return Declaration(
        kind=kind,
        metadata=Metadata(name, dict(labels or {})),
        spec=msgspec.convert(rest, found.spec),
        document=document,
        variant=variant,
        variant_spec=msgspec.convert(spec[variant], variants[variant]) if variant else None,
    )


def lab(
    *,
    control: int = 2,
    workers: int = 3,
    mesh: Mapping[str, Any] | None = None,
    flows: Sequence[Mapping[str, Any]] | None = None,
) -> Inventory:
    """The lab stack in small."""
    declared_flows = (
        flows
        if flows is not None
        else [
            {"name": "ray-head", "from": {"role": "worker"}, "to": {"role": "head"}, "ports": [6379, "10001-10010"]},
            {"name": "metrics", "from": {"role": "head"}, "to": {}, "ports": [9100]},
            {
                "name": "gossip",
                "from": {"role": "worker"},
                "to": {"role": "worker"},
                "ports": [7946],
                "protocol": "udp",
            },
        ]
    )
    return Inventory(
        [
            declare("Stack", "lab", {"defaults": {"cluster": "core", "labels": {"team": "one"}}}),
            declare("Cluster", "core", {"mesh": "backbone", "securityPolicy": "baseline"}),
            declare(
                "NodePool",
                "control",
                {"region": "eu", "lab": {"count": control}},
                {"role": "head"},
            ),
            declare("NodePool", "workers", {"region": "us", "lab": {"count": workers}}, {"role": "worker"}),
            declare(
                "Mesh",
                "backbone",
                {"cidrs": ["10.88.0.0/16", "fd88:5b2a::/64"], "persistentKeepalive": 25, **(mesh or {})},
            ),
            declare("SecurityPolicy", "baseline", {"network": {"flows": list(declared_flows)}}),
        ]
    )


def compiled(inventory: Inventory, previous: Graph | None = None, *, rotate: Sequence[str] = ()) -> Graph:
    """The graph; `previous` stands for what was applied before, `rotate` for nodes whose keys shall be rotated."""

    def inputs(address: Address) -> Mapping[str, Any] | None:
        found = previous.resources.get(address) if previous else None
        return found.inputs if found else None

    return compile_graph(inventory, "lab", inputs, rotate=rotate)
