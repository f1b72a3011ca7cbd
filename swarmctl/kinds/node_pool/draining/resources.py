"""`swarm:nodepool:Drain`: whether one machine is in service, and the commands that take it out of it and back.

Inputs: `machine` (identity), `host`, `node`; `state` (`active`, `cordoned`, `drained`) and `hooks` (`cordon`, `drain`,
`uncordon`, `check`: each a program and its arguments, empty for none; `timeout` in seconds). A machine that a change
has out of service, such as its driver's, reads as it is declared: that change brings it back, or says that it is open.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from swarmctl.backends import ways
from swarmctl.backends.base import HostGone
from swarmctl.graph.model import Json
from swarmctl.hosts.states import CORDONED, DRAINED, OUT_OF_SERVICE
from swarmctl.kinds.base import ChangeKind, Effect, Hosts, Impact, Observed, PropertyChange, differences
from swarmctl.kinds.node_pool.draining.reading import (
    ACTIVE,
    CHANGING,
    FOLDER,
    UNSETTLED,
    Seen,
    is_known,
    reading,
    suffices,
)

REPLACE = {"machine": "it goes away with its machine"}
_MEANS = {
    DRAINED: "is drained: the work there ends or moves away, and no new work begins",
    CORDONED: "is cordoned: no new work begins there, and what runs goes on",
    ACTIVE: "is in service: new work may begin there",
}


class DrainType:
    """How a machine leaves service and comes back; see `kinds.base.ResourceType`."""

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property."""
        return differences(old, new, replace=REPLACE)

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Have it as declared. Raises DrainFailed."""
        from swarmctl.kinds.node_pool.draining.service import Service

        try:
            service = Service(hosts, inputs)
            if not _is_left_to_a_turn(service.seen(), inputs):
                service.bring(inputs["state"])
        finally:
            hosts.changed(inputs["host"])
        return {}

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """The same: what is so already needs no command."""
        return self.create(hosts, new)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the machine has it; None when the machine is gone."""
        try:
            seen = hosts.look(inputs["host"], reading(inputs["hooks"]["check"]))
        except HostGone:
            return None
        as_declared = suffices(seen.state, inputs["state"]) or _is_left_to_a_turn(seen, inputs)
        return Observed({**inputs, "state": inputs["state"] if as_declared else seen.state}, {})

    def traced(self, hosts: Hosts, inputs: Mapping[str, Json]) -> bool:
        """Whether it is out of service, or was by swarmctl: any machine else is in service, without anybody's doing."""
        try:
            seen = hosts.look(inputs["host"], reading(inputs["hooks"]["check"]))
        except HostGone:
            return False
        return bool(seen.mark or seen.turns) or seen.state in OUT_OF_SERVICE

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Forget it. What was declared out of service stays so; what is out of it for a change that was not begun yet
        is brought back first. In the middle of one nobody knows that the machine works: how it comes back is not
        forgotten then, unless the whole stack goes; it stays out of service in any case. Raises DrainFailed."""
        from swarmctl.kinds.node_pool.draining.service import DrainFailed, Service

        try:
            service = Service(hosts, inputs)
            seen = service.seen()
            if open_ := sorted(name for name, stage in seen.turns.items() if stage == CHANGING):
                if not (hosts.fence and hosts.fence.destroys):
                    raise DrainFailed(
                        f"{service.name}: it is out of service for a change ({', '.join(open_)}) that failed or was "
                        "cut off: nobody knows that it works, so `drain` is not taken away yet",
                        "declare `drain` and what was changed once more and apply, then take it out",
                    )
            elif _is_left_to_a_turn(seen, inputs):
                service.bring(ACTIVE)
            hosts.open(inputs["host"]).remove(FOLDER)
        except HostGone:
            return
        finally:
            hosts.changed(inputs["host"])

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """What becomes of it, and which commands do that."""
        if new is None:
            return [Effect(ChangeKind.DELETE, "in and out of service by commands of the pool")]
        if old is None:
            return [Effect(ChangeKind.ADD, f"in and out of service by commands of the pool; {_made(new)}")]
        found = [
            Effect(change.kind, f"{'.'.join(change.path)} changes")
            for change in self.diff(old, new)
            if change.path[0] == "hooks"
        ]
        if old["state"] != new["state"]:
            found.insert(0, Effect(ChangeKind.UPDATE, f"{old['state']} → {new['state']}"))
        return found

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """Who goes out of service, and who comes back."""
        if new is None:
            if old is None or old["state"] == ACTIVE or ways.is_lost(old["host"]):
                return Impact()
            return Impact(f"{old['node']} is {old['state']} when it leaves, and stays so")
        before = old["state"] if old is not None else ACTIVE
        if not is_known(before) and before != UNSETTLED:
            return Impact(
                f"whether {new['node']} is in service is {before}; nothing is done there until that is mended"
            )
        return Impact() if before == new["state"] else Impact(f"{new['node']} {_MEANS[new['state']]}")


def _made(new: Mapping[str, Any]) -> str:
    """What is declared, and not what is: a new machine is not asked before it is taken over."""
    if new["state"] == ACTIVE and new["hooks"]["check"]:
        return "declared active, so `uncordon` runs where `check` says that it is not"
    return f"declared {new['state']}"


def _is_left_to_a_turn(seen: Seen, inputs: Mapping[str, Json]) -> bool:
    return bool(seen.turns) and inputs["state"] == ACTIVE


DRAIN = DrainType()
