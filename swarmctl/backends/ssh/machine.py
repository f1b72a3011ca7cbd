"""A machine taken over, looked at, and given back. It was there before, and it stays."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from swarmctl.backends import clocks, ways
from swarmctl.backends.base import (
    CommandFailed,
    Fence,
    ForeignStack,
    HostGone,
    HostUnreachable,
    NewMachines,
    Owner,
    Untouched,
)
from swarmctl.backends.ssh import access, index, marks, place
from swarmctl.backends.ssh.address import PORT
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.backends.ssh.host import SshHost
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.hosts import fence as fences
from swarmctl.hosts import first_look
from swarmctl.hosts.first_look import Seen

ROOM = 64
"""KiB that must be free for what a node's own files need at first: marks, keys and tables."""
_SHOWN = 10
"""Leftovers that are told one by one."""


def create(inputs: Mapping[str, Any], fence: Fence | None = None) -> dict[str, Any]:
    """Log in, look whether it can be a node, and mark it as this stack's. There are no outputs.

    Raises `Untouched` when nothing was changed, `ForeignStack`, `Fenced`, `StillChanging`, `CommandFailed`.
    """
    way = _way(inputs)
    try:
        seen = access.look(way)
        _require_ours(seen, way, fence)
        _require_fit(seen, way, inputs)
    except (ForeignStack, Untouched):
        raise
    except SwarmError as error:
        raise Untouched.of(error) from None
    index.note(way)
    try:
        mark = marks.content(way["stack"], way["node"], str(inputs.get("knownBy", "")))
        SshHost(way, fence).put(marks.MACHINE, mark, mode=0o600)
    except (CommandFailed, WorldUnreadable) as error:
        if seen.stack:
            raise
        _unmark(way)
        raise Untouched.of(error) from None
    return {}


def _unmark(way: Mapping[str, Any]) -> None:
    """Take back the record of one that was nobody's before and could not be marked, as far as that can be done."""
    index.drop(way["stack"], way["node"])
    with contextlib.suppress(SwarmError):
        SshHost(way).run(marks.unmark(way["stack"]))


def update(new: Mapping[str, Any], fence: Fence | None = None) -> dict[str, Any]:
    """The same machine by another way, or for others to manage: looked at again, since that may lead elsewhere."""
    return create(new, fence)


def read(inputs: Mapping[str, Any], fence: Fence | None = None) -> dict[str, Any] | None:
    """The inputs, when it is marked so; None when it bears no mark.

    Raises `ForeignStack` for another stack's mark, `HostUnreachable`.
    """
    way = _way(inputs)
    instead = _declared_instead(inputs)
    try:
        seen = access.look(way, fence)
    except HostGone:
        return None
    except HostUnreachable:
        if instead is None:
            raise
        return None  # another machine is declared in its place, and this one is silent
    _require_ours(seen, way, fence)
    clocks.see(inputs["node"], seen.clock)
    return dict(inputs) if seen.node else None


def delete(inputs: Mapping[str, Any], fence: Fence | None = None) -> None:
    """Take away all that was made there, and look that nothing is left; the machine itself stays as it is.

    Of one that is declared lost only the note here is dropped. Raises `ForeignStack`, `Fenced`, `StillChanging`,
    `CommandFailed` with what is left, `HostUnreachable`; the last two of none that another one stands in for.
    """
    stack, node = inputs["host"]["stack"], inputs["node"]
    if ways.is_lost(inputs["host"]):
        index.drop(stack, node)
        return
    instead = _declared_instead(inputs)
    if instead is not None and place.same_place(instead, ways.recorded(inputs)):
        return  # where it stood stands another one, with another host key
    try:
        _give_back(inputs, fence)
    except (CommandFailed, HostUnreachable):
        if instead is None:
            raise  # another machine is declared in its place, which need not wait for one that is half dead
    if instead is None:
        index.drop(stack, node)


def _give_back(inputs: Mapping[str, Any], fence: Fence | None) -> None:
    way = _way(inputs)
    seen = access.look(way)
    _require_ours(seen, way, fence)
    host = SshHost(way, fence)
    if seen.stack:
        for service in host.services():
            host.stop_service(service.name)
        host.run(marks.WIPE, timeout=120, check=False)
        try:
            _prove(way, inputs["node"])
        except SwarmError:
            # Without its mark it would count as given back, and nobody would come again for the rest.
            with contextlib.suppress(SwarmError):
                host.put(marks.MACHINE, marks.content(seen.stack, inputs["node"], seen.known_by), mode=0o600)
            raise


def _prove(way: Mapping[str, Any], node: str) -> None:
    """Look once more, whatever taking it away has said of itself. Raises CommandFailed with all that is left."""
    said = SshHost(way).run(marks.LEFT, timeout=120).stdout
    left = marks.left(said)
    if left:
        more = f" and {len(left) - _SHOWN} more" if len(left) > _SHOWN else ""
        raise CommandFailed(
            f"{node}: not everything could be taken away: {', '.join(left[:_SHOWN])}{more}",
            marks.mend(left, node),
        )
    if not marks.looked(said):
        raise CommandFailed(f"{node}: it can't be told whether anything is left there", "apply again")


def names(stack: str, besides: Collection[str] = ()) -> list[str]:
    """Nodes whose machines bear the stack's mark, `besides` left out. Of those that are silent, the noted ones."""
    noted = _noted(stack)
    nodes = ({*ways.known("ssh", stack)} | noted) - set(besides)
    nodes = {node for node in nodes if not ways.is_blank(_host(stack, node))}
    found = access.ask([_host(stack, node) for node in sorted(nodes)])
    return sorted(node for node, seen in found.items() if _there(stack, node, seen, noted))


def _noted(stack: str) -> set[str]:
    """Without those that are declared lost."""
    return {node for node in index.names(stack) if not ways.is_lost(_host(stack, node))}


def _there(stack: str, node: str, seen: Seen | SwarmError, noted: Collection[str]) -> bool:
    if isinstance(seen, SwarmError):
        return node in noted
    return seen.stack == stack and seen.node == node


def silent(stack: str, nodes: Collection[str]) -> dict[str, SwarmError]:
    """Those of the nodes that can't be asked, each with the reason; one that another is declared instead of is none."""
    asked = [
        node
        for node in nodes
        if (declared := ways.declared_for(_host(stack, node))) is None
        or (recorded := ways.recorded_for(_host(stack, node))) is None
        or place.same_machine(declared, recorded)
    ]
    found = access.ask([_host(stack, node) for node in sorted(asked)])
    return {node: seen for node, seen in found.items() if isinstance(seen, SwarmError)}


def look_at_new(machines: Collection[Mapping[str, Any]], told: Mapping[str, Seen]) -> NewMachines:
    """Which of these inputs `create` would refuse. Those that have not `told` of themselves are looked at once, many
    side by side."""
    asked = access.ask([inputs["host"] for inputs in machines if inputs["node"] not in told])
    refused: dict[str, SwarmError] = {}
    noted = {node for stack in {inputs["host"]["stack"] for inputs in machines} for node in _noted(stack)}
    blank, ours = set(), set()
    for inputs in machines:
        seen = told.get(inputs["node"]) or asked[inputs["node"]]
        try:
            if isinstance(seen, SwarmError):
                raise seen
            way = _way(inputs)
            _require_ours(seen, way, None)
            _require_fit(seen, way, inputs)
        except SwarmError as error:
            refused[inputs["node"]] = error
            stack = inputs["host"]["stack"]
            if _there(stack, inputs["node"], seen, noted):
                ours.add(inputs["node"])
        else:
            if not seen.stack and not seen.node:
                blank.add(inputs["node"])
    return NewMachines(refused, frozenset(blank), frozenset(ours))


def owner(stack: str, node: str) -> Owner:
    """What the machine's record says; of a silent one only what is noted here."""
    try:
        seen = access.look(access.way(_host(stack, node)))
    except SwarmError:
        return Owner(stack)
    return Owner(seen.stack or stack, seen.owner, seen.token)


def greatest_token(stack: str) -> int:
    """The greatest token on any machine of the stack that answers; 0 for none."""
    nodes = {*ways.known("ssh", stack), *_noted(stack)}
    found = access.ask([_host(stack, node) for node in sorted(nodes)])
    return max((it.token for it in found.values() if isinstance(it, Seen) and it.stack == stack), default=0)


def sweep(stack: str, fence: Fence | None = None) -> list[str]:
    """Give back every machine that bears the stack's mark; returns their names.

    Raises `HostUnreachable` naming those that are silent and noted here, and those on which something could not be
    taken away: the others are given back all the same.
    """
    removed, failed = [], []
    for node in names(stack):
        try:
            delete({"backend": "ssh", "node": node, "host": _host(stack, node)}, fence)
        except (HostUnreachable, CommandFailed) as error:
            failed.append(error.message)
        else:
            removed.append(node)
    if failed:
        raise HostUnreachable(
            f"{len(failed)} of the stack's machines could not be given back",
            f"mend what is told of each, and repeat this; of machines that are gone for good, remove the notes in "
            f"{index.folder(stack)}",
            details=failed,
        )
    return removed


def _host(stack: str, node: str) -> dict[str, str]:
    return {"backend": "ssh", "stack": stack, "node": node}


def _way(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """The way to the machine that the inputs are of, which need not be the one that is declared by now."""
    if _declared_instead(inputs) is not None:
        host = inputs["host"]
        return access.with_own_keys(ways.recorded(inputs), index.read(host["stack"], host["node"]))
    return access.way(inputs["host"])


def _declared_instead(inputs: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The declared way where that leads to another machine than the inputs tell of: no host key in common."""
    declared = ways.declared_for(inputs["host"])
    if declared is None or "hostKeys" not in inputs or place.same_machine(declared, ways.recorded(inputs)):
        return None
    return declared


def _require_ours(seen: Seen, way: Mapping[str, Any], fence: Fence | None) -> None:
    stack, node = way["stack"], way["node"]
    if seen.stack not in ("", fences.one_line(stack)):
        wanted = fence or Fence(stack, 0, "")
        error = fences.refused(wanted, node, fences.FOREIGN, seen.stack, seen.token, seen.owner)
        assert isinstance(error, ForeignStack)
        raise error
    if seen.node not in ("", node):
        had = _host(stack, seen.node)
        if ways.recorded_for(had) or ways.declared_for(had):
            raise HostRefused(
                f"{node} is the machine that the stack has as {seen.node} already",
                f"declare each machine once; to give it another name, leave it out, apply, and declare it as {node}",
            )
        raise HostRefused(
            f"{node} is the machine that the stack had as {seen.node} once and never gave back",
            f"declare it as {seen.node} and apply, leave it out and apply, which gives it back; then declare {node}",
        )


def _require_fit(seen: Seen, way: Mapping[str, Any], inputs: Mapping[str, Any]) -> None:
    """Raises `HostRefused` for what keeps it from being a node: all that is missing in one sentence."""
    node = way["node"]
    if seen.missing:
        lacks = ", ".join(seen.missing)
        raise HostRefused(f"{node} lacks what a node needs: {lacks}", first_look.install(seen))
    if seen.locked:
        raise HostRefused(f"{node}: nobody can write to {seen.locked}", "mount its file system read-write")
    if seen.room is not None and seen.room < ROOM:
        raise HostRefused(f"{node}: its disk is full: {seen.room} KiB are free in /var/lib", "make room there")
    if clock := clocks.wrong(node, seen.clock) if seen.clock is not None else f"{node} does not tell the time":
        raise HostRefused(clock, clocks.MEND)
    listens = inputs.get("listens") or [way.get("port", PORT)]
    if seen.port and seen.port not in listens:
        kept = " and ".join(map(str, listens))
        raise HostRefused(
            f"{node}: its SSH server listens on port {seen.port}, and the firewall would keep port {kept} open",
            f"declare `listens: [{seen.port}]` for it: a router passes connections on to that port",
        )
    _require_managed(seen, node, inputs.get("managedFrom") or ())


def _require_managed(seen: Seen, node: str, networks: Collection[str]) -> None:
    try:
        client = ip_address(seen.client.partition("%")[0])
    except ValueError:
        return
    if networks and not any(client in ip_network(network) for network in networks):
        raise HostRefused(
            f"{node} sees swarmctl come from {client}, which `managedFrom` does not let in",
            f"add a network with {client} to `managedFrom`: the firewall would cut the machine off",
        )
