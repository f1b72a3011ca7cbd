"""What a mesh leaves on nodes, found by its marks: interfaces by their alias, keys and failover agents by where they
are."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath

from swarmctl.graph.model import Json
from swarmctl.kinds.base import Hosts, Marked

TYPE = "swarm:mesh:Interface"
ROTATION = "swarm:mesh:Rotation"
FAILOVER = "swarm:mesh:Failover"
ALIAS = "swarmctl:"
SECOND = "swarmctl-rotation:"
FOLDER = "/etc/swarmctl/mesh"
NO_INTERFACE = "none"
"""Stands for the interface of a key, or of a second interface, that has none."""


def marked(stack: str, machines: Mapping[str, Mapping[str, Json]], hosts: Hosts) -> Iterator[Marked]:
    """Interfaces, and keys without one. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    for node, host in machines.items():
        facts = hosts.facts(host)
        keys = set(facts.key_files)
        for link in facts.interfaces.values():
            if link.alias.startswith(ALIAS):
                key = f"{FOLDER}/{link.alias.removeprefix(ALIAS)}/private.key"
                keys.discard(key)
                inputs = _inputs(node, host, link.name, key)
                text = f"interface {link.name} of the mesh {_mesh(key)}"
                yield Marked(TYPE, inputs, ("node", "interface", "keyPath"), text)
            if link.alias.startswith(SECOND):
                yield _second(node, host, link.name, link.alias.removeprefix(SECOND))
        for name, agent in facts.failover.items():
            if agent.table or agent.agent:
                inputs = {"node": node, "host": dict(host), "interface": name, "groups": []}
                yield Marked(FAILOVER, inputs, ("node", "interface"), f"failover agent on {name}")
        for key in sorted(keys):
            inputs = _inputs(node, host, NO_INTERFACE, key)
            yield Marked(TYPE, inputs, ("node", "keyPath"), f"key of the mesh {_mesh(key)}, without its interface")


def _second(node: str, host: Mapping[str, Json], name: str, mesh: str) -> Marked:
    """A second interface. Where a rotation of the mesh is known it is that one's."""
    inputs = {
        "mesh": mesh,
        "interface": NO_INTERFACE,
        "nextInterface": name,
        "keyPath": f"{FOLDER}/{mesh}/private.key",
        "nodes": {node: {"host": dict(host)}},
    }
    return Marked(ROTATION, inputs, ("mesh",), f"second interface {name} of the mesh {mesh}, left by a rotation")


def _inputs(node: str, host: Mapping[str, Json], interface: str, key: str) -> dict[str, Json]:
    # Whether it forwarded cannot be told: another mesh's interface may have wanted it, so it is left alone.
    return {"node": node, "host": dict(host), "interface": interface, "keyPath": key, "forwarding": False}


def _mesh(key: str) -> str:
    return PurePosixPath(key).parent.name
