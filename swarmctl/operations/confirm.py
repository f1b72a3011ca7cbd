"""Whether guarded changes stay: management answers, and all who answered each other before do so again. Else they are
undone at once, on every node that shares a mesh with one that is cut off."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from swarmctl import backends
from swarmctl.graph.model import Machine, MeshMember
from swarmctl.hosts import guard
from swarmctl.operations import reach
from swarmctl.operations.guards import Nodes, Told, named
from swarmctl.operations.reach import Pair
from swarmctl.operations.running import Undone
from swarmctl.plans.events import Note, PhaseEnded, PhaseStarted

if TYPE_CHECKING:
    from swarmctl.backends.base import Fence
    from swarmctl.engine.guarded import Made
    from swarmctl.graph.model import Graph
    from swarmctl.operations.stack import Emit
    from swarmctl.plans.model import Plan
    from swarmctl.state.store import Snapshot

PATIENCE = 2 / 3
"""Of the time within which a change is to be confirmed: so long a node may need to answer again. The rest is for
having it undone in time. When both ends of a tunnel renew it at the same moment, one of them may send in vain for 15 s
(WireGuard white paper, 6.5): with less than 30 s to confirm, that counts as cut off."""
PAUSE = 0.5
"""Seconds between two measurements."""
Measure = Callable[[Collection[Pair], reach.Addresses, Mapping[str, Mapping[str, Any]]], set[Pair]]
_INTERFACE = "swarm:mesh:Interface"


@dataclass
class Judge:
    """Measures before a run, and decides after it. `settle` is what `engine.session.Session` calls."""

    graph: Graph
    snapshot: Snapshot
    plan: Plan
    fence: Callable[[], Fence]
    emit: Emit
    measure: Measure = reach.measure
    nodes: Callable[[Mapping[str, Mapping[str, Any]], Fence | None], Nodes] = Nodes
    sleep: Callable[[float], None] = time.sleep
    undone: tuple[Undone, ...] = ()
    """What does not stay, when all is over."""
    _before: set[Pair] = field(default_factory=set)
    _idle: set[str] = field(default_factory=set)
    """Nodes on which nothing had to be changed, so that there is nothing to confirm."""

    def look(self) -> None:
        """Measure who reaches whom now, as far as the plan's guarded changes may end that."""
        changed = {change.node for change in self.plan.changes if change.guarded}
        if changed:
            wanted = reach.pairs(self._members, changed)
            self._before = self.measure(wanted, recorded_addresses(self.snapshot), self._hosts)

    @property
    def _members(self) -> list[MeshMember]:
        return self.graph.exported(MeshMember)

    @property
    def _hosts(self) -> dict[str, Mapping[str, Any]]:
        return {machine.name: machine.host for machine in self.graph.exported(Machine)}

    def settle(self, made: Sequence[Made], orderly: bool) -> Collection[str]:
        """See `engine.guarded.Settle`."""
        title, started = "confirming that the nodes reach each other", time.monotonic()
        nodes = sorted({it.node for it in made})
        self.emit(PhaseStarted(title, len(nodes)))
        fence = self.fence()
        token = fence.token
        backends.disconnect({str(it.host.get("backend")) for it in made})
        asked = self.nodes({it.node: it.host for it in made}, fence)
        reasons = self._cut_off(made, asked, token) if orderly else dict.fromkeys(nodes, "the run broke off")
        going = self._together(nodes, reasons)
        staying = [node for node in nodes if node not in going and node not in self._idle]
        confirmed = asked.tell(staying, lambda name: guard.confirm(token), done=True)
        reasons |= {node: _unconfirmed(it) for node, it in confirmed.items() if it.answer.word != "confirmed"}
        if going:
            told = asked.tell(going, lambda name: guard.undo(), done=True)
            reasons |= {node: f"{reasons.get(node, _BESIDE)}{_how(told[node])}" for node in going}
        self.undone = tuple(Undone(it.address, it.node, reasons[it.node]) for it in made if it.node in reasons)
        if self.undone:
            self.emit(Note(f"changes are undone on {named(sorted({it.node for it in self.undone}))}", warning=True))
        self.emit(PhaseEnded(title, time.monotonic() - started))
        return [it.address for it in self.undone]

    def _cut_off(self, made: Sequence[Made], asked: Nodes, token: int) -> dict[str, str]:
        """Why, by node, of those that are cut off. Returns early where that is certain."""
        began = time.monotonic()
        spans = {it.node: it.seconds for it in made}
        armed = asked.tell(sorted(spans), lambda name: guard.rearm(token, spans[name]), done=False)
        # Nothing is pending where a change failed before it began, or found all as it should be.
        self._idle = {node for node, it in armed.items() if it.answer.word == "none" and not it.answer.parts}
        lost = {
            node: _silent(it)
            for node, it in armed.items()
            if it.answer.word not in ("armed", "none") or it.answer.parts
        }
        if lost:
            return lost
        missing = {pair for pair in self._before if not {pair.sender, pair.target}.isdisjoint(spans)}
        addresses = {(it.mesh, it.node): it.addresses for it in self._members}
        # Whom the declaration joins no more need not answer.
        missing &= reach.pairs(self._members, spans)
        patience = PATIENCE * min(spans.values())
        while missing:
            missing -= self.measure(missing, addresses, self._hosts)
            if not missing or time.monotonic() - began > patience:
                break
            self.sleep(PAUSE)
            asked.tell(sorted(spans), lambda name: guard.rearm(token, spans[name]), done=False)
        return _by_node(missing, spans)

    def _together(self, nodes: Sequence[str], reasons: Mapping[str, str]) -> list[str]:
        """All of these nodes that share a mesh with one that is cut off, and that one."""
        meshes = {member.mesh for member in self._members if member.node in reasons}
        beside = {member.node for member in self._members if member.mesh in meshes}
        return [node for node in nodes if node in reasons or node in beside]


_BESIDE = "undone together with the others of its mesh"


def recorded_addresses(snapshot: Snapshot) -> dict[tuple[str, str], Sequence[str]]:
    """Addresses by mesh and node as they were applied last."""
    return {
        (address.partition("/")[2].partition("[")[0], str(it.inputs["node"])): [
            str(text).partition("/")[0] for text in it.inputs.get("addresses", ())
        ]
        for address, it in snapshot.resources.items()
        if it.type == _INTERFACE and "node" in it.inputs
    }


def _by_node(missing: Collection[Pair], changed: Collection[str]) -> dict[str, str]:
    """What every changed node has lost, in words."""
    found: dict[str, str] = {}
    for node in sorted(changed):
        unreached = sorted({pair.target for pair in missing if pair.sender == node})
        silent = sorted({pair.sender for pair in missing if pair.target == node} - set(unreached))
        parts = [
            *([f"does not reach {named(unreached)} any more"] if unreached else []),
            *([f"is not reached by {named(silent)} any more"] if silent else []),
        ]
        if parts:
            found[node] = " and ".join(parts)
    return found


def _silent(told: Told) -> str:
    if told.error:
        return f"does not answer any more: {told.error}"
    if told.answer.word == "none":
        return "it failed there, or nobody confirmed it in time"
    if told.answer.word == "failed":
        return "it failed there, or nobody confirmed it in time"
    return "was changed by another run"


def _unconfirmed(told: Told) -> str:
    return f"could not be told that its change stays: {told.error or 'it has undone it'}"


def _how(told: Told) -> str:
    if told.answer.word == "failed":
        return f"; {', '.join(told.answer.parts)} could not be undone so far, its timer tries on"
    if told.answer.word in ("undone", "none"):
        return ""
    return "; it undoes its change by itself"
