"""`swarm:mesh:PresharedKeys`: the preshared keys of a whole mesh, as files on both ends of every tunnel.

Inputs: `mesh`, `interface`, `folder` (on nodes, see `files`), and `nodes` by name: `host`, `publicKey` of its
interface, and `makesFor`: names of the peers for whose tunnels it makes the key. Measured, and there only when
something is wrong: `without`, those of them with whom a node has not the same key.

The node that sorts first makes the key and seals it to the other one's age recipient (age(1)); swarmctl carries what is
sealed and keeps none of it. The other end opens it and puts it in place, then the first does: so a key that is in place
on the first is so on both. `swarm:mesh:Peers`, which depends on this, uses only what is in place. Only what is mended
is given to WireGuard here, on both ends at once: the peers of an end whose own file was in order would not do it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from swarmctl.backends.base import HostGone
from swarmctl.errors import WorldUnreadable
from swarmctl.graph.model import Json
from swarmctl.kinds.base import UNKNOWN, ChangeKind, Effect, Hosts, Impact, Observed, PropertyChange, differences
from swarmctl.kinds.mesh.preshared import exchange
from swarmctl.kinds.mesh.preshared.exchange import Exchange
from swarmctl.kinds.mesh.rotation.nodes import Hook, Nodes, unheard

_SHOWN = 3
Links = dict[tuple[str, str], tuple[Json, Json]]
"""Public keys of both ends, by their names."""


class PresharedKeysType:
    """How they are made, read and removed; see `kinds.base.ResourceType`."""

    def __init__(self, hook: Hook = unheard) -> None:
        """`hook` is told of every phase and node."""
        self._hook = hook

    def outputs(self) -> Sequence[str]:
        """None: nothing of them is kept anywhere but on the nodes."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property."""
        return differences(old, new)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Bring both ends of every tunnel to one key; what is so already stays.

        Nodes that don't keep up are left out; the peers on the other ends tell of it. Raises `Fenced`, `ForeignStack`.
        """
        nodes = Nodes(hosts, {name: node["host"] for name, node in inputs["nodes"].items()}, self._hook)
        Exchange(nodes, inputs).run()
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same."""
        return self.create(hosts, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the nodes have them; of nodes that can't be read, as they were. None when no node has any that should."""
        nodes = Nodes(hosts, {name: node["host"] for name, node in inputs["nodes"].items()})
        facts = nodes.facts(inputs["nodes"])
        mine = f"{inputs['folder']}/"
        tunnels = any(node["makesFor"] for node in inputs["nodes"].values())
        if (
            tunnels
            and not nodes.lost
            and not any(path.startswith(mine) for it in facts.values() for path in it.preshared_files)
        ):
            return None
        apart = exchange.apart(inputs, facts)
        exchange.note(inputs["folder"], apart)
        without: dict[str, list[str]] = {}
        for maker, other in (*((it.maker, it.other) for it in apart), *exchange.to_come(inputs)):
            without.setdefault(maker, []).append(other)
        seen = {
            name: {**node, "without": without[name]} if without.get(name) else node
            for name, node in inputs["nodes"].items()
        }
        return Observed({**inputs, "nodes": seen}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Remove the files; machines that are gone or going take theirs with them."""
        for node in inputs["nodes"].values():
            try:
                hosts.open(node["host"]).remove(inputs["folder"])
                hosts.changed(node["host"])
            except (HostGone, WorldUnreadable):
                continue

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """What happens to the keys of how many tunnels."""
        before, after = _links(old), _links(new)
        anew = [link for link in after if link in before and before[link] != after[link]]
        apart = [
            (name, other)
            for name, node in (old or {"nodes": {}})["nodes"].items()
            for other in node.get("without", ())
            if (name, other) in after and (name, other) not in anew
        ]
        said = (
            (ChangeKind.ADD, [it for it in after if it not in before], "made on the first and sealed to the other one"),
            (ChangeKind.UPDATE, anew, "made anew, since a key of theirs is another"),
            (ChangeKind.UPDATE, apart, "missing or not the same on both ends, and made so"),
            (ChangeKind.DELETE, [it for it in before if it not in after], "removed"),
        )
        return [Effect(kind, f"preshared keys between {_told(links)}: {what}") for kind, links, what in said if links]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Nothing: files that nobody uses yet, or no more."""
        return Impact()


def _links(inputs: Mapping[str, Json] | None) -> Links:
    nodes = inputs["nodes"] if inputs is not None else {}
    if nodes is UNKNOWN:
        return {}
    return {
        (name, other): (node["publicKey"], nodes[other]["publicKey"])
        for name, node in nodes.items()
        for other in node["makesFor"]
        if other in nodes
    }


def _told(links: Sequence[tuple[str, str]]) -> str:
    shown = ", ".join(f"{one} and {other}" for one, other in sorted(links)[:_SHOWN])
    return shown if len(links) <= _SHOWN else f"{shown} and of {len(links) - _SHOWN} tunnels more"
