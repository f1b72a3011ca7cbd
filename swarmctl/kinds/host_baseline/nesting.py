"""Mounts of one machine that lie within each other, said by several baselines: who comes first. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping


def outer_first(mounts: Mapping[str, Collection[str]]) -> tuple[list[str], list[str]]:
    """Names of baselines by what they mount: each after those in whose mounts it has some, else in the order that they
    come in. Then those that wait for each other, and cannot be brought into such an order, nor what waits for them."""
    waits = {
        name: {other for other, around in mounts.items() if other != name and _lies_in(paths, around)}
        for name, paths in mounts.items()
    }
    order: list[str] = []
    while ready := [name for name in mounts if name not in order and waits[name] <= {*order}]:
        order.append(ready[0])
    stuck = [name for name in mounts if name not in order]
    while ends := [name for name in stuck if not any(name in waits[other] for other in stuck)]:
        stuck = [name for name in stuck if name not in ends]
    return order, stuck


def _lies_in(paths: Collection[str], around: Collection[str]) -> bool:
    return any(path.startswith(f"{place.rstrip('/')}/") for path in paths for place in around)
