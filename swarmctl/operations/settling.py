"""Tunnels that have no session yet, or a new one that doesn't carry traffic: who sends first, and how long silence
proves nothing. Pure; times from the WireGuard white paper, section 6.

Two ends that begin a handshake at the same moment drop each other's, and each tries again within `RETRY`. Or they are
left with a session that works one way only: wireguard-go takes packets of a handshake on several threads, and when the
other end's initiation and response are taken at once, it may listen under another number than the other end was told.
The end that then hears nothing begins a new handshake within `REPLACED` of its first packet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from swarmctl.graph.model import MeshMember
from swarmctl.operations.status_model import FRESH, Link

REKEY_TIMEOUT = 5.0
"""Seconds between two tries of a handshake (6.1)."""
JITTER = 1 / 3
"""Seconds that are added to a wait at the most, so that two ends don't go on in step (6.1)."""
KEEPALIVE_TIMEOUT = 10.0
"""Seconds within which whoever gets data answers, with an empty packet when there is nothing else (6.1)."""
SLACK = 2.0
"""Seconds more: ages are told in whole ones, and probes leave a moment after they are asked for."""

RETRY = REKEY_TIMEOUT + JITTER
"""After this a handshake that was not answered has been tried again (6.4)."""
REPLACED = KEEPALIVE_TIMEOUT + REKEY_TIMEOUT + JITTER + SLACK
"""After this whoever has sent data and heard nothing has begun a new handshake (6.2 and 6.5)."""
NEVER = 2 * RETRY
"""How long a tunnel without any handshake is waited for: its ends may begin at the same moment again."""
LONGEST = NEVER + REPLACED
"""The last of these tries may leave a session that works one way only; that is waited for, and no more."""
USABLE = FRESH - KEEPALIVE_TIMEOUT - REKEY_TIMEOUT
"""A session of this age may be refused before the probes are over, and is replaced where it is used (6.2)."""


@dataclass(frozen=True, slots=True)
class Elapsed:
    """Seconds that have passed since rounds of probes began."""

    first: float
    """Since the first round."""
    last: float
    """Since the last one, whose answers are judged."""

    @property
    def between(self) -> float:
        """From the first round to the last one."""
        return self.first - self.last


def usable(link: Link) -> bool:
    """Whether its end has a session that it will send with; without one it begins a handshake."""
    return link.handshake_age is not None and link.handshake_age < USABLE


def openers(
    members: Sequence[MeshMember], links: Sequence[Link], pings: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Who pings whom before all others do: one end of every tunnel for which both ends would begin a handshake.

    It is the end that knows where the other is, of two such the one whose name comes first. A tunnel is left out when
    only one end of it pings the other and neither passes traffic on: in a large mesh that is so of all.
    """
    inside = {(member.mesh, member.node): member for member in members}
    aimed = {member.node: set(pings.get(member.node, ())) for member in members}
    found: dict[str, list[str]] = {}
    for link, back in _tunnels(links):
        first = min(link, back, key=lambda end: (not end.endpoint, end.sender))
        if link is not first or not link.endpoint or usable(link) or usable(back):
            continue
        near, far = inside[link.mesh, link.sender], inside[link.mesh, link.target]
        mutual = not aimed[near.node].isdisjoint(far.addresses) and not aimed[far.node].isdisjoint(near.addresses)
        if mutual or near.forwards or far.forwards:
            found.setdefault(near.node, []).append(far.addresses[0])
    return found


def settling(links: Sequence[Link], elapsed: Elapsed, *, again: bool) -> float | None:
    """Seconds to wait before silent links are measured again, None when there is nothing to wait for.

    Silence is waited for only where both ends have the tunnel, and never had a handshake or had one at the most
    `REPLACED` before somebody first tried to send; and only until WireGuard has had the time to begin another. Answers
    that only came late are asked for at once; `again` says that this was done.
    """
    left = LONGEST - elapsed.first
    young = [link for link, _ in _tunnels(links) if link.reachable is False and _young(link, elapsed)]
    if not young or left <= 0:
        return None
    if not again and all(link.handshake_age is not None for link in young):
        return 0.0
    return max(0.0, min(left, *(_until_changed(link, elapsed) for link in young)))


def _young(link: Link, elapsed: Elapsed) -> bool:
    """Whether WireGuard may still mend the silence between two ends, or has mended it since they were asked."""
    if link.handshake_age is None:
        return elapsed.between < NEVER
    sent_for = elapsed.first if elapsed.between < REPLACED else elapsed.last
    return link.handshake_age - sent_for < REPLACED


def _until_changed(link: Link, elapsed: Elapsed) -> float:
    """Seconds until WireGuard has tried again."""
    if link.handshake_age is None:
        return RETRY - elapsed.last
    return REPLACED - min(link.handshake_age, elapsed.first)


def _tunnels(links: Sequence[Link]) -> Iterator[tuple[Link, Link]]:
    """Both directions of every tunnel that both ends have and whose interfaces are up, each direction once first."""
    ready = {(link.mesh, link.sender, link.target): link for link in links if link.established and link.up}
    for (mesh, sender, target), link in ready.items():
        if back := ready.get((mesh, target, sender)):
            yield link, back
