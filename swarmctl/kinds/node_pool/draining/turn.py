"""A change that needs its machine out of service: drained before, and back when it works again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.errors import SwarmError
from swarmctl.hosts.states import DRAINED
from swarmctl.kinds.base import Hosts
from swarmctl.kinds.node_pool.draining.reading import CHANGING, LEAVING
from swarmctl.kinds.node_pool.draining.service import DrainFailed, Service


class Turn:
    """One such change. Where the pool has no hooks nothing of it does anything."""

    def __init__(self, hosts: Hosts, inputs: Mapping[str, Any], name: str) -> None:
        """`inputs` are those of the changing resource: `drain` among them are the hooks and the declared state."""
        drain = inputs.get("drain")
        self._service = Service(hosts, {"host": inputs["host"], "node": inputs["node"], **drain}) if drain else None
        self._name = name
        self._out = False
        """Whether this run has taken the machine out of service."""
        self._resumed = False
        """Whether an earlier run was cut off in the middle of the change: nobody knows that the machine works."""

    def leave(self) -> None:
        """Take the machine out of service. Raises DrainFailed with nothing begun, and what `Host.run` raises."""
        service = self._service
        if service is None:
            return
        self._resumed = service.require().turns.get(self._name) == CHANGING
        if not self._resumed:
            service.note_turn(self._name, LEAVING)
        self._out = True
        try:
            service.bring(DRAINED)
        except DrainFailed as error:
            self._out = not self._resumed
            raise self.back_after(error, "nothing was begun, and it is as declared again") from None

    def begin(self) -> None:
        """The change itself begins: when it is cut off now, the machine stays out of service."""
        if self._service is not None and self._out:
            self._service.note_turn(self._name, CHANGING)

    def back(self) -> None:
        """It works: bring the machine to what is declared of it. Raises DrainFailed, what `Host.run` raises."""
        service = self._service
        if service is None:
            return
        turns = service.seen().turns
        if self._out or self._name in turns:
            if not turns.keys() - {self._name}:
                service.bring(service.declared)
            service.note_turn(self._name, "")
            self._out = False

    def back_after(self, error: SwarmError, done: str = "", *, works: bool = False) -> SwarmError:
        """The change was not begun, or, with `works`, has failed and left the machine as it was: bring it back into
        service. Returns the error with what became of that; `done` says it went well."""
        if not self._out or (self._resumed and not works):
            return self.stays_after(error)
        try:
            self.back()
        except SwarmError as again:
            what = again.message.partition(": ")[2] or again.message
            return _with(error, f"bringing it back into service failed, too: {what}")
        return _with(error, done)

    def stays_after(self, error: SwarmError) -> SwarmError:
        """The change has failed, and nobody knows that the machine works: it stays as it is."""
        return _with(error, "it stays out of service until it works" if self._out or self._resumed else "")


def _with(error: SwarmError, more: str) -> SwarmError:
    if not more:
        return error
    made = type(error)(f"{error.message}; {more}", error.hint, details=error.details)
    made.transient = error.transient
    return made
