"""Whether machines are in service as declared, by what they say themselves: a part of `status`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from swarmctl.backends.looking import look
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Machine
from swarmctl.hosts.states import ISOLATED
from swarmctl.kinds.node_pool.draining.expand import DRAIN
from swarmctl.kinds.node_pool.draining.reading import ACTIVE, Seen, reading, suffices
from swarmctl.operations.exec import Open
from swarmctl.operations.nodes import Declared

MAX_THREADS = 64
"""Machines that are asked at the same time."""


def misplaced(stack: Declared, nodes: Collection[str], open_: Open) -> dict[str, str]:
    """Why, by node, of those of `nodes` whose pool has `drain` and that are not as declared.

    Asks them all at once, but for those that are isolated and left as they are; who does not answer is left out, and
    told by what else is read there.
    """
    machines = {it.name: it for it in stack.machines if it.name in nodes and it.state != ISOLATED}
    wanted = [
        (machines[it.node], it.inputs) for it in stack.resources.values() if it.type == DRAIN and it.node in machines
    ]
    if not wanted:
        return {}

    def ask(asked: tuple[Machine, Mapping[str, Any]]) -> str:
        machine, inputs = asked
        try:
            return why(look(open_(machine), reading(inputs["hooks"]["check"])), inputs["state"])
        except SwarmError:
            return ""

    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(wanted))) as pool:
        found = zip((machine.name for machine, _ in wanted), pool.map(ask, wanted), strict=True)
        return {name: text for name, text in found if text}


def why(seen: Seen, declared: str) -> str:
    """A clause; empty when the machine is as it is declared."""
    if seen.turns and declared == ACTIVE:
        return f"out of service for a change of its {', '.join(sorted(seen.turns))}, which has not ended"
    if suffices(seen.state, declared):
        return ""
    return f"not {'in service' if declared == ACTIVE else declared}: it is {seen.state}"
