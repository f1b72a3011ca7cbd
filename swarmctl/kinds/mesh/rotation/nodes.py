"""Many nodes at once: the same phase on all of them, and who did not keep up is left out from there on."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from swarmctl import backends
from swarmctl.backends.base import Fenced, ForeignStack, Host, HostGone
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import Hosts

T = TypeVar("T")
HERE = min(16, max(2, os.cpu_count() or 2))
"""Nodes that are worked on at the same time where they are on this computer: more than it has processors would only
wait for those, and the traffic that must not stand still waits with them."""
ELSEWHERE = 64
"""The same of nodes that only have to be waited for."""
Hook = Callable[[str, str], None]
"""Called with a phase and a node before anything of that phase is done there."""


def unheard(phase: str, node: str) -> None:
    """A hook that does nothing."""


class Nodes:
    """The nodes of one mesh, for one rotation."""

    def __init__(self, hosts: Hosts, known: Mapping[str, Mapping[str, Json]], hook: Hook = unheard) -> None:
        """`known`: the input `host` by node."""
        self._hosts = hosts
        self._known = known
        self._hook = hook
        self.lost: dict[str, str] = {}
        """Why a node was left out, by node."""

    def facts(self, nodes: Iterable[str]) -> dict[str, Facts]:
        """Read them; those that don't exist (yet) and those that don't answer are left out, the latter are lost."""
        found = self._each([node for node in nodes if node not in self.lost], self._read)
        return {node: facts for node, facts in found.items() if facts is not None}

    def _read(self, node: str) -> Facts | None:
        try:
            return self._hosts.facts(self._known[node])
        except HostGone:
            return None

    def run(self, phase: str, scripts: Mapping[str, str], *, timeout: float = 60.0) -> dict[str, str]:
        """Run a script on each node; returns what they printed. Who fails is lost."""

        def work(node: str, host: Host) -> str:
            return host.run(["sh", "-eu", "-s"], stdin=scripts[node].encode(), timeout=timeout).text

        return self.work(phase, scripts, work)

    def work(self, phase: str, nodes: Collection[str], what: Callable[[str, Host], T]) -> dict[str, T]:
        """Do something on each node. Who fails is lost. Raises `Fenced` and `ForeignStack`: then nothing may go on."""

        def on(node: str) -> T:
            self._hook(phase, node)
            try:
                return what(node, self._hosts.open(self._known[node]))
            finally:
                self._hosts.changed(self._known[node])

        return self._each([node for node in nodes if node not in self.lost], on)

    def _each(self, nodes: list[str], what: Callable[[str], T]) -> dict[str, T]:
        found: dict[str, T] = {}
        if not nodes:
            return found
        here = any(backends.load(name).here for name in {str(self._known[node]["backend"]) for node in nodes})
        with ThreadPoolExecutor(min(HERE if here else ELSEWHERE, len(nodes)), "rotation") as pool:
            pending = {node: pool.submit(what, node) for node in nodes}
        for node, future in pending.items():
            try:
                found[node] = future.result()
            except (Fenced, ForeignStack):
                raise
            except SwarmError as error:
                self.lost[node] = error.message
        return found
