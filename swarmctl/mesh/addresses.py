"""The address plan: which node has which address of a network, and keeps it while others come and go. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from itertools import accumulate

from swarmctl.errors import SwarmError
from swarmctl.mesh import spans

Address = IPv4Address | IPv6Address


class Exhausted(SwarmError):
    """A network has fewer addresses than nodes."""


def allocate(
    network: str,
    names: Iterable[str],
    previous: Mapping[str, str],
    reserved: Iterable[str] = (),
    fixed: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """One address of `network` for each of `names`, without prefix length; none of `reserved` (see `mesh.spans.Span`).

    A name has its address in `fixed`, whoever had it before. Any other keeps the one in `previous` as long as that is
    usable, not reserved and nobody else's. A new name takes the slot that its own hash points at, or the next free one
    after it: so the plan depends little on the order in which nodes came, and even a lost state brings most of them
    back to where they were.
    Raises Exhausted when there are more names than addresses.
    """
    free = spans.free(network, reserved)
    starts = [first for first, _ in free]
    before = [0, *accumulate(last - first + 1 for first, last in free)]
    size = before[-1]
    names = set(names)
    wanted = sorted(names)
    if len(wanted) > size:
        raise Exhausted(
            f"{network} has {size} usable addresses and {len(wanted)} nodes need one",
            "widen the network, reserve less of it, or declare fewer nodes",
        )
    version = ip_network(network).version
    # Slots are counted over the free addresses only: nodes spread over what reserved ranges leave, however little.
    taken: set[int] = set()
    chosen: dict[str, int] = {}
    for name, text in [
        *((name, text) for name, text in sorted((fixed or {}).items()) if name in names),
        *((name, previous.get(name, "")) for name in wanted),
    ]:
        kept = _slot(_number(text, version), free, starts, before)
        if kept is not None and kept not in taken and name not in chosen:
            chosen[name] = kept
            taken.add(kept)
    for name in wanted:
        if name not in chosen:
            slot = int.from_bytes(blake2b(name.encode(), digest_size=16).digest(), "big") % size
            while slot in taken:
                slot = (slot + 1) % size
            chosen[name] = slot
            taken.add(slot)
    kind = IPv4Address if version == 4 else IPv6Address
    plan = {}
    for name in wanted:
        place = bisect_right(before, chosen[name]) - 1
        plan[name] = str(kind(starts[place] + chosen[name] - before[place]))
    return plan


def _slot(
    number: int | None, free: Sequence[tuple[int, int]], starts: Sequence[int], before: Sequence[int]
) -> int | None:
    """Which of the free addresses it is; None when it is none."""
    place = bisect_right(starts, number) - 1 if number is not None else -1
    if number is None or place < 0 or number > free[place][1]:
        return None
    return before[place] + number - starts[place]


def _number(text: str, version: int) -> int | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    return int(address) if address.version == version else None
