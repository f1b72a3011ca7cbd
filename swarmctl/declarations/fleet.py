"""The machines that the pools of a stack declare, before any is placed: what the rules of kinds count and select."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from swarmctl.declarations.declaration import Declaration, Inventory
from swarmctl.declarations.words import listing, nearest, sentences
from swarmctl.diagnostics import Range

POOL = "NodePool"


class Node(NamedTuple):
    """One declared machine."""

    name: str
    pool: Declaration
    cluster: str
    """Name of the cluster, the stack's default filled in; empty when there is neither."""
    labels: Mapping[str, str]
    """Defaults of the stack, labels of the pool, labels of the host; the later wins."""
    host: int | None
    """Place in the pool's `hosts`; None when it is one of `count`."""

    @property
    def where(self) -> Range:
        """The place in the files that gives it its name."""
        if self.host is None:
            return self.pool.value("metadata", "name")
        return self.pool.value("spec", self.pool.variant, "hosts", self.host, "name")


def defaults(inventory: Inventory) -> Any:
    """`spec.defaults` of the stack, None when there is no Stack."""
    stacks = inventory.of("Stack")
    return stacks[0].spec.defaults if stacks else None


def cluster_of(pool: Declaration, inventory: Inventory) -> str:
    """Name of the pool's cluster, the stack's default filled in."""
    found = defaults(inventory)
    return pool.spec.cluster or (found.cluster if found else None) or ""


def region_of(pool: Declaration, inventory: Inventory) -> str:
    """Name of the region that the pool's machines stand in, the stack's default filled in; empty when there is none."""
    found = defaults(inventory)
    return pool.spec.region or (found.region if found else None) or ""


def behind_nat(pool: Declaration) -> bool:
    """Whether the pool's machines stand behind a router that translates addresses: `nat: true` under the backend."""
    return getattr(pool.variant_spec, "nat", False) is True


def underlay_mtu(pool: Declaration) -> int:
    """MTU of the machines' interface on the underlay, in bytes: `mtu` under the backend, else 1500."""
    declared = getattr(pool.variant_spec, "mtu", None)
    return declared if isinstance(declared, int) else 1500


def pool_labels(pool: Declaration, inventory: Inventory) -> dict[str, str]:
    """The labels that every machine of the pool has."""
    found = defaults(inventory)
    return {**(found.labels if found else {}), **pool.metadata.labels}


def nodes(inventory: Inventory) -> Iterator[Node]:
    """Every declared machine. Backends declare them by `hosts` with names, or by `count`."""
    for pool in inventory.of(POOL):
        cluster, labels = cluster_of(pool, inventory), pool_labels(pool, inventory)
        for index, host in enumerate(getattr(pool.variant_spec, "hosts", None) or ()):
            yield Node(host.name, pool, cluster, {**labels, **getattr(host, "labels", {})}, index)
        count = getattr(pool.variant_spec, "count", None)
        for ordinal in range(count if isinstance(count, int) else 0):
            yield Node(pool.name + f"-{ordinal}", pool, cluster, labels, None)


def label_sets(inventory: Inventory, clusters: set[str]) -> list[Mapping[str, str]]:
    """Labels that machines of `clusters` have or, in pools scaled to 0, would have."""
    found: list[Mapping[str, str]] = [
        pool_labels(pool, inventory)
        for pool in inventory.of(POOL)
        if cluster_of(pool, inventory) in clusters and not getattr(pool.variant_spec, "hosts", None)
    ]
    return found + [node.labels for node in nodes(inventory) if node.cluster in clusters and node.host is not None]


def selector_slip(selector: Mapping[str, str], sets: Iterable[Mapping[str, str]]) -> tuple[str, str]:
    """Why a selector takes nothing: the key to point at (empty: no single one), and a sentence that mends it."""
    values: dict[str, set[str]] = {}
    for labels in sets:
        for key, value in labels.items():
            values.setdefault(key, set()).add(value)
    for key, value in selector.items():
        if key not in values:
            near = nearest(key, values)
            return key, sentences(
                f"no machine here has a label `{key}`",
                f"did you mean `{near}`?" if near else "",
                f"labels: {listing(values)}" if values else "give one to a NodePool under `metadata.labels`",
            )
        if value not in values[key]:
            near = nearest(value, values[key])
            return key, sentences(
                f"no machine here has `{key}: {value}`",
                f"did you mean `{near}`?" if near else "",
                f"values of `{key}`: {listing(values[key])}",
            )
    return "", "every label is there, but no machine has all of them at once"
