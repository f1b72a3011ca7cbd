"""What a mesh leaves on nodes, found by its marks: interfaces by their alias, keys and failover agents by where they
are.

Marks are what the node says. Paths are made of names that can be a mesh's only, so that what is removed by a mark lies
in the folder of a mesh; anything else is told, and left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts, Interface
from swarmctl.kinds.base import Hosts, Marked
from swarmctl.mesh import names

TYPE = "swarm:mesh:Interface"
ROTATION = "swarm:mesh:Rotation"
FAILOVER = "swarm:mesh:Failover"
ALIAS = "swarmctl:"
SECOND = "swarmctl-rotation:"
NO_INTERFACE = "none"
"""Stands for the interface of a key, or of a second interface, that has none."""
LONGEST = 80
"""Characters told of what makes no sense."""
MOST = 20
"""Marks without sense that are told of one node."""


def marked(stack: str, machines: Mapping[str, Mapping[str, Json]], hosts: Hosts) -> Iterator[Marked]:
    """Interfaces, and keys without one. Raises `HostGone`, `HostUnreachable`, `WorldUnreadable`."""
    for node, host in machines.items():
        facts = hosts.facts(host)
        keys = {path for path in facts.key_files if names.mesh_of(path)}
        for link, mesh in _links(facts, ALIAS):
            key = names.key_file(mesh)
            keys.discard(key)
            inputs = _inputs(node, host, link.name, key)
            text = f"interface {link.name} of the mesh {mesh}"
            yield Marked(TYPE, inputs, ("node", "interface", "keyPath"), text)
        for link, mesh in _links(facts, SECOND):
            yield _second(node, host, link.name, mesh)
        for name, agent in facts.failover.items():
            if agent.table or agent.agent:
                inputs = {"node": node, "host": dict(host), "interface": name, "groups": []}
                yield Marked(FAILOVER, inputs, ("node", "interface"), f"failover agent on {name}")
        for key in sorted(keys):
            inputs = _inputs(node, host, NO_INTERFACE, key)
            mesh = names.mesh_of(key)
            yield Marked(TYPE, inputs, ("node", "keyPath"), f"key of the mesh {mesh}, without its interface")
        yield from _senseless(facts)


def of_mesh(link: Interface, mark: str) -> str:
    """The mesh whose mark an interface has; empty when it has none, or one that swarmctl would not make."""
    mesh = link.alias.removeprefix(mark)
    return mesh if link.alias.startswith(mark) and names.is_mesh(mesh) and names.is_interface(link.name) else ""


def _links(facts: Facts, mark: str) -> Iterator[tuple[Interface, str]]:
    return ((link, mesh) for link in facts.interfaces.values() if (mesh := of_mesh(link, mark)))


def _senseless(facts: Facts) -> Iterator[Marked]:
    """What carries a mark that swarmctl would not make: it is not swarmctl's, whatever it says."""
    why = "swarmctl makes no such mark: it is left alone"
    found = [
        f"interface {link.name[:LONGEST]} with the alias {link.alias[:LONGEST]!r}"
        for link in facts.interfaces.values()
        if link.alias.startswith((ALIAS, SECOND)) and not (of_mesh(link, ALIAS) or of_mesh(link, SECOND))
    ]
    found += [f"key at {path[:LONGEST]!r}" for path in sorted(facts.key_files) if not names.mesh_of(path)]
    for text in found[:MOST]:
        yield Marked(TYPE, {}, (), text, why=why)


def _second(node: str, host: Mapping[str, Json], name: str, mesh: str) -> Marked:
    """A second interface. Where a rotation of the mesh is known it is that one's."""
    inputs = {
        "mesh": mesh,
        "interface": NO_INTERFACE,
        "nextInterface": name,
        "keyPath": names.key_file(mesh),
        "nodes": {node: {"host": dict(host)}},
    }
    return Marked(ROTATION, inputs, ("mesh",), f"second interface {name} of the mesh {mesh}, left by a rotation")


def _inputs(node: str, host: Mapping[str, Json], interface: str, key: str) -> dict[str, Json]:
    # Whether it forwarded cannot be told: another mesh's interface may have wanted it, so it is left alone.
    return {"node": node, "host": dict(host), "interface": interface, "keyPath": key, "forwarding": False}
