"""`swarm:costless:Thing`: how one is made, read, changed and removed; see `swarmctl.kinds.base.ResourceType`."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from bench.costless.world import VARIABLE, Foreign, Marks, Overtaken, World
from swarmctl.backends.base import Fenced, ForeignStack, HostUnreachable
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.hosts.fence import overtaken
from swarmctl.kinds import secrets
from swarmctl.kinds.base import ChangeKind, Effect, Hosts, Impact, Marked, Observed, PropertyChange, differences

STACK = "stack"
"""Whose it is to be: identity of the stack. Its mark in the world tells whose it is."""
BEHAVIOUR = ("slow", "fail", STACK)
"""Inputs that say how a thing behaves in tests and whose it is, and are no part of it."""
PROOF = "proof"
"""In the world's inputs: a digest of the secret, so that a test sees that the right one has arrived."""


class ThingType:
    """Things of the world that SWARMCTL_WORLD names."""

    @cached_property
    def world(self) -> World:
        """Opened when it is first needed: the command line knows this type, too, and touches no world."""
        return World(Path(os.environ[VARIABLE]))

    def outputs(self) -> Sequence[str]:
        """`token`: which thing it is; another one after it was made anew."""
        return ("token",)

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        """Property by property; another size makes it anew."""
        if old == new:
            return []
        return differences(
            _itself(old), _itself(new), replace={"size": "a thing cannot be resized", "name": "it moved"}
        )

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        """Make it, or adopt it."""
        marks = _marks(hosts)
        self._behave("create", inputs, marks)
        return {"token": self._speaking(lambda: self.world.create(inputs["name"], _kept(inputs), marks))}

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        """As the world has it. Raises ForeignStack for another stack's."""
        if hosts.fence is not None:
            # What was read stays so: from here on no earlier run changes anything.
            self._speaking(lambda: self.world.fence(_marks(hosts)))
        there = self.world.get(inputs["name"])
        if there is None:
            return None
        if there.stack != inputs.get(STACK, there.stack):
            raise _foreign(f"{inputs['name']} belongs to {there.stack}")
        behaviour = {key: inputs[key] for key in BEHAVIOUR if key in inputs}
        return Observed({**_itself(there.inputs), **behaviour}, {"token": there.thing})

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        """Give it other inputs."""
        marks = _marks(hosts)
        self._behave("update", new, marks)
        return {"token": self._speaking(lambda: self.world.update(new["name"], _kept(new), marks))}

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        """Take it away."""
        marks = _marks(hosts)
        self._behave("delete", inputs, marks)
        self._speaking(lambda: self.world.delete(inputs["name"], marks))

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        """One line when it comes, goes or changes."""
        if old is not None and new is not None and not self.diff(old, new):
            return []
        action = ChangeKind.ADD if old is None else ChangeKind.DELETE if new is None else ChangeKind.UPDATE
        return [Effect(action, f"thing {(new or old or {})['name']}")]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        """It disrupts nothing."""
        return Impact()

    def _behave(self, what: str, inputs: Mapping[str, Json], marks: Marks) -> None:
        """Take the time and fail as the inputs ask for."""
        if slow := inputs.get("slow"):
            time.sleep(slow / 1000)
        fail = inputs.get("fail")
        if not fail or what not in fail["at"]:
            return
        address, times = inputs["name"], fail["times"]
        if times and self.world.failures(address, what) >= times:
            return
        count = self._speaking(lambda: self.world.fail(address, what, marks))
        error = HostUnreachable if fail["transient"] else SwarmError
        quoted = f"; its secret is {secrets.reveal(inputs['secret'])}" if fail["quoting"] else ""
        raise error(f"{address} does not want to {what}, for the {count}. time{quoted}", "Ask it nicely.")

    @staticmethod
    def _speaking(change: Callable[[], Json]) -> Json:
        try:
            return change()
        except Foreign as error:
            raise _foreign(error) from error
        except Overtaken as error:
            raise Fenced(f"a later run has taken over: {error}", overtaken(error.token)) from error


def _foreign(why: object) -> ForeignStack:
    return ForeignStack(f"{why}, another stack", "Give one of them another name.")


def marked(stack: str, machines: Mapping[str, Mapping[str, Json]], hosts: Hosts) -> Iterator[Marked]:
    """Every thing that carries the mark of the stack; none of them stands on a machine. See `Kind.marked`."""
    for address, there in ({} if machines else THING.world.things()).items():
        if there.stack == stack:
            inputs = {**_itself(there.inputs), "name": address}
            yield Marked("swarm:costless:Thing", inputs, ("name",), f"thing {address}")


def _itself(inputs: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in inputs.items() if key not in BEHAVIOUR and key != PROOF}


def _kept(inputs: Mapping[str, Json]) -> dict[str, Json]:
    kept = _itself(inputs)
    if "secret" in inputs:
        kept[PROOF] = hashlib.sha256(secrets.reveal(inputs["secret"]).encode()).hexdigest()
    return kept


def _marks(hosts: Hosts) -> Marks:
    fence = hosts.fence
    if fence is None:
        raise SwarmError("nothing may be changed without a fence")
    return Marks(fence.stack, fence.owner, fence.token)


THING = ThingType()
