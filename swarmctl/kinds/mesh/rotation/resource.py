"""`swarm:mesh:Rotation`: the keys of a whole mesh, one for all its nodes, since both ends of a tunnel change at once.

Inputs that are measured: `key` of each node (installed, rotating, made YYYY-MM-DD when that is too long ago). Nodes
that don't exist yet or have no key are as they are declared: their interfaces make them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.kinds.base import ChangeKind, Effect, Hosts, Impact, Observed, PropertyChange
from swarmctl.kinds.mesh.marks import NO_INTERFACE
from swarmctl.kinds.mesh.rotation import due, second
from swarmctl.kinds.mesh.rotation.nodes import Hook, Nodes, unheard
from swarmctl.kinds.mesh.rotation.survey import Survey
from swarmctl.kinds.mesh.rotation.turn import PATIENCE, SETTLE, Turn


class RotationUnfinished(SwarmError):
    """Links could not be brought back to the interface that the mesh always has."""


class RotationType:
    """How it is read and done; see `kinds.base.ResourceType`."""

    def __init__(self, *, settle: float = SETTLE, patience: float = PATIENCE, hook: Hook = unheard) -> None:
        """Seconds to wait for packets that are on their way, and for handshakes; `hook` is told of every phase."""
        self._settle = settle
        self._patience = patience
        self._hook = hook

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Nodes whose key is to be rotated, and how often and where that happens. Nodes come and go."""
        settings = [name for name in ("nextPort", "rotateEvery") if old[name] != new[name]]
        return [
            *(PropertyChange((name,), ChangeKind.UPDATE) for name in settings),
            *(
                PropertyChange(("nodes", name, "generation" if key == due.INSTALLED else "key"), ChangeKind.UPDATE)
                for name, key in due.nodes(old, new).items()
            ),
        ]

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Rotate what is due where the mesh is there already; of a new one nothing is."""
        seen = self.read(hosts, inputs)
        return self.update(hosts, seen.inputs, inputs) if seen is not None else {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """Finish what was cut off, then rotate what is due.

        Nodes that don't keep up are left out; their interfaces say so. Raises RotationUnfinished, `Fenced`,
        `ForeignStack`.
        """
        if not due.nodes(old, new):
            return {}
        nodes = Nodes(hosts, {name: node["host"] for name, node in new["nodes"].items()}, self._hook)
        turn = Turn(nodes, new, settle=self._settle, patience=self._patience)
        stuck = turn.finish()
        overdue = {name for name, key in due.nodes(old, new).items() if due.overdue(key)}
        survey = turn.survey()
        asked = {
            name
            for name, facts in survey.facts.items()
            if due.on_demand(facts, new["keyPath"], new["nodes"][name]["generation"])
        }
        wanted = (overdue | asked) - survey.rotating()
        if wanted:
            turn.begin(wanted)
            stuck = turn.finish()
        self._leave(new, wanted, nodes.lost, turn.survey())
        if stuck:
            told = ", ".join(f"{link.one} and {link.other}" for link in stuck[:5])
            raise RotationUnfinished(
                f"no handshake over udp/{new['listenPort']} between {told} within {self._patience:g} s; they go on "
                f"over {new['nextInterface']}",
                "see what keeps these packets away, then apply again: the rotation goes on from there",
            )
        return {}

    @staticmethod
    def _leave(inputs: Mapping[str, Json], wanted: Collection[str], lost: Mapping[str, str], survey: Survey) -> None:
        """Note why keys were not rotated, for those who tell of it."""
        path = inputs["keyPath"]
        for name in inputs["nodes"]:
            due.LEFT.pop((path, name), None)
        for name, why in lost.items():
            due.LEFT[path, name] = why
        for name in survey.rotating() - lost.keys():
            due.LEFT[path, name] = (
                f"no handshake over udp/{inputs['nextPort']} with all of its peers; its old key is in use"
            )

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """What is due. None when no node of the mesh has a key."""
        nodes = Nodes(hosts, {name: node["host"] for name, node in inputs["nodes"].items()})
        survey = Survey(inputs, nodes.facts(inputs["nodes"]))
        if not survey.facts and not nodes.lost:
            return None
        path, every = inputs["keyPath"], int(inputs["rotateEvery"])
        flying = survey.in_flight()
        seen = dict(inputs["nodes"])
        for name, facts in survey.facts.items():
            key = due.ROTATING if name in flying else due.measured(facts, path, every)
            seen[name] = {**seen[name], "generation": due.generation(facts, path), "key": key}
        return Observed({**inputs, "nodes": seen}, {})

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Take second interfaces away that were found by their marks, where no first one is.

        All others have gone with the first ones, which depend on this. Nodes are not asked again: they may be going.
        """
        if inputs["interface"] != NO_INTERFACE:
            return
        for node in inputs["nodes"].values():
            second.remove(hosts, {**inputs, "host": node["host"]})

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """How keys are rotated, and one line for each node whose key is."""
        if old is None or new is None:
            inputs, action = (new, ChangeKind.ADD) if new is not None else (old, ChangeKind.DELETE)
            return [Effect(action, _policy(inputs))] if inputs is not None else []
        effects = [Effect(ChangeKind.UPDATE, _policy(new))] if _policy(old) != _policy(new) else []
        found = due.nodes(old, new)
        effects += [Effect(ChangeKind.UPDATE, due.words(name, key)) for name, key in sorted(found.items())]
        if found:
            way = (
                f"meanwhile {new['nextInterface']} on udp/{new['nextPort']}, on them and their peers: handshakes, "
                f"routes over it, {new['interface']} with the new keys, routes back"
            )
            effects.append(Effect(ChangeKind.UPDATE, way))
        return effects

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Nothing: that is what all of this is for."""
        return Impact()


def _policy(inputs: Mapping[str, Json]) -> str:
    every = due.duration(int(inputs["rotateEvery"]))
    when = "on demand alone" if every == "never" else f"by the first apply after {every}"
    return f"keys are rotated {when}, over {inputs['nextInterface']} on udp/{inputs['nextPort']}"
