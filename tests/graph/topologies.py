"""Pictures of every topology at several sizes, compiled from declarations as a stack's are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any
from unittest.mock import patch

import pytest

from swarmctl import backends
from swarmctl.declarations.declaration import Inventory
from swarmctl.operations.graph import Picture, picture
from swarmctl.operations.nodes import Declared
from tests.mesh.builder import FakeBackend, compiled, declare

Fleet = Mapping[str, tuple[int, str, str]]
"""Nodes, region and role by pool."""

FLEETS: Mapping[int, Fleet] = {
    5: {
        "gate-eu": (1, "eu-central", "gateway"),
        "workers-eu": (2, "eu-central", "worker"),
        "gate-us": (1, "us-east", "gateway"),
        "workers-us": (1, "us-east", "worker"),
    },
    50: {
        "gate-eu": (2, "eu-central", "gateway"),
        "workers-eu": (14, "eu-central", "worker"),
        "gpu-eu": (6, "eu-central", "worker"),
        "gate-us": (2, "us-east", "gateway"),
        "workers-us": (12, "us-east", "worker"),
        "gate-ap": (2, "ap-south", "gateway"),
        "workers-ap": (12, "ap-south", "worker"),
    },
    500: {
        "gate-eu": (3, "eu-central", "gateway"),
        "workers-eu": (120, "eu-central", "worker"),
        "gpu-eu": (60, "eu-central", "worker"),
        "gate-us": (3, "us-east", "gateway"),
        "workers-us": (140, "us-east", "worker"),
        "gate-ap": (3, "ap-south", "gateway"),
        "workers-ap": (80, "ap-south", "worker"),
        "db-ap": (8, "ap-south", "worker"),
        "gate-sa": (2, "sa-east", "gateway"),
        "workers-sa": (81, "sa-east", "worker"),
    },
}
MANY: Fleet = {
    name: found
    for number in range(25)
    for name, found in {
        f"gate-{number}": (2, f"region-{number}", "gateway"),
        f"workers-{number}": (12, f"region-{number}", "worker"),
        f"gpu-{number}": (6, f"region-{number}", "worker"),
    }.items()
}
"""Five hundred nodes in seventy-five pools."""

LARGEST = {("full", 500), ("relays", 500), ("full", 0), ("relays", 0)}
"""A hundred thousand tunnels each."""

_GATEWAY = {"role": "gateway"}
TOPOLOGIES: Mapping[str, Mapping[str, Any]] = {
    "full": {},
    "hubs": {"topology": {"hubs": {"select": _GATEWAY}}},
    "regions": {"topology": {"regions": {"gateways": _GATEWAY}}},
    "relays": {"relays": _GATEWAY},
    "links": {
        "topology": {
            "links": [
                {"between": [{"pool": "workers-eu"}, {"pool": "gate-eu"}]},
                {"between": [{"pool": "gate-eu"}, {"pool": "gate-us"}]},
                {"between": [{"pool": "workers-us"}, {"pool": "gate-us"}]},
                {"between": [{"node": "workers-eu-0"}, {"node": "workers-us-0"}]},
            ]
        }
    },
    "combine": {
        "topology": {
            "combine": [
                {"select": {"region": "eu-central"}, "full": {}},
                {"select": {}, "hubs": {"select": {"site": "gate-us"}}},
            ]
        }
    },
}
FLOWS = (
    {"name": "jobs", "from": {"role": "worker"}, "to": {"role": "gateway"}, "ports": [6379]},
    {"name": "gossip", "from": {}, "to": {}, "ports": [7946], "protocol": "udp"},
    {
        "name": "debug",
        "from": {"site": "workers-us"},
        "to": {"role": "gateway"},
        "ports": ["9000-9100"],
        "until": "2099-12-01T00:00:00Z",
    },
)


def params(*pictures: tuple[str, int]) -> list[Any]:
    """Parameters of a test, with what takes long marked so."""
    return [pytest.param(*one, marks=pytest.mark.slow if one in LARGEST else ()) for one in pictures]


@cache
def seen(topology: str, size: int) -> Picture:
    """A picture of that many nodes: 5, 50, 500, or 0 for `MANY`."""
    fleet = FLEETS[size] if size else MANY
    hidden = {"workers-us", "workers-ap", "workers-3", "workers-7"} if topology == "relays" else set()
    inventory = Inventory(
        [
            declare("Stack", "lab", {"defaults": {"cluster": "core"}}),
            declare("Cluster", "core", {"mesh": "backbone", "securityPolicy": "baseline"}),
            *(
                declare(
                    "NodePool",
                    pool,
                    {"region": region, "lab": {"count": count, "nat": pool in hidden}},
                    {"role": role, "region": region, "site": pool},
                )
                for pool, (count, region, role) in fleet.items()
            ),
            declare("Mesh", "backbone", {"cidrs": ["10.88.0.0/16", "fd88:5b2a::/64"], **TOPOLOGIES[topology]}),
            declare("SecurityPolicy", "baseline", {"network": {"flows": list(FLOWS)}}),
        ]
    )
    with patch.object(backends, "load", lambda name: FakeBackend()):
        return picture(Declared.of("lab", inventory, compiled(inventory)))
