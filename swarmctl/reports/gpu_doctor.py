"""`swarmctl gpu doctor` as text, labels and JSON (`swarmctl/gpu-doctor/v1`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from swarmctl.kinds.node_pool.accelerators.vendors import VENDORS
from swarmctl.operations.gpu_doctor import Driver, Examination, Node


def render(found: Examination) -> str:
    """For people: a paragraph for each machine."""
    return "\n".join(line for node in found.nodes for line in _lines(node))


def labels(found: Examination) -> str:
    """A line for each machine with cards: its name, then labels as `KEY=VALUE`."""
    return "\n".join(
        " ".join([node.name, *(f"{key}={value}" for key, value in node.labels.items())])
        for node in found.nodes
        if node.labels
    )


def to_json(found: Examination) -> dict[str, Any]:
    """The document."""
    nodes = [_node(node) for node in found.nodes]
    return {"schema": "swarmctl/gpu-doctor/v1", "stack": found.stack, "nodes": nodes}


def _lines(node: Node) -> Iterator[str]:
    yield f"{node.name} ({node.pool})"
    if node.error is not None:
        yield f"  can't be read: {node.error.message}"
        if node.error.hint:
            yield f"  to do   {node.error.hint}"
        return
    counted = Counter(node.cards.values())
    yield f"  is      {' and '.join(f'{number} x {model}' for model, number in counted.items()) or 'without a card'}"
    for driver in node.drivers:
        yield from _driver(driver)
    for text in node.todo or (("nothing",) if node.cards else ()):
        yield f"  to do   {text}"


def _driver(driver: Driver) -> Iterator[str]:
    for refused in driver.refusals:
        yield f"  refused {refused.reason} ({refused.code})"
    if driver.should is not None:
        advice = "" if driver.declared else ", by its cards alone: nothing is declared"
        yield f"  should  run {driver.should['version']}, {driver.should['kernelModule']} kernel module{advice}"
        yield from (f"          {why}" for why in driver.should["why"])
        yield from (f"          by hand: {text}" for text in driver.should["manual"])
    yield from (f"  warning {text}" for text in driver.warnings)
    if driver.runs is not None:
        module = f"{driver.runs.loaded} {driver.runs.flavour}".strip() or "no kernel module"
        said = driver.runs.failure or driver.runs.answers or "nothing"
        yield f"  runs    {module}; {VENDORS[driver.vendor].tool} answers: {said}"
        if driver.runs.unverified:
            yield "  state   its last change failed or was cut off: what is installed was never verified to work"
        if driver.held:
            yield "  state   swarmctl holds the machine out of service until the driver works"
        yield from (f"  differs {text}" for text in driver.differences if " → " in text)


def _node(node: Node) -> dict[str, Any]:
    first = node.drivers[0] if node.drivers else Driver("")
    return {
        "node": node.name,
        "pool": node.pool,
        "error": node.error.message if node.error else None,
        "cards": [{"pci": pci, "model": model} for pci, model in node.cards.items()],
        "declared": node.declared,
        **_told(first),
        "drivers": [{"vendor": driver.vendor, **_told(driver)} for driver in node.drivers],
        "todo": list(node.todo),
        "healthy": node.healthy,
        "labels": dict(node.labels),
    }


def _told(driver: Driver) -> dict[str, Any]:
    runs = driver.runs
    return {
        "refusals": [{"reason": it.reason, "mend": it.mend, "code": it.code} for it in driver.refusals],
        "warnings": list(driver.warnings),
        "should": {
            "branch": driver.should["branch"],
            "version": driver.should["version"],
            "kernelModule": driver.should["kernelModule"],
            "why": list(driver.should["why"]),
            "manual": list(driver.should["manual"]),
        }
        if driver.should
        else None,
        "runs": {
            "loaded": runs.loaded or None,
            "kernelModule": runs.flavour or None,
            "answers": runs.answers or None,
            "failure": runs.failure or None,
            "fabricManager": runs.fabric or None,
            "verified": not runs.unverified,
        }
        if runs
        else None,
        "outOfService": driver.held,
        "differences": list(driver.differences),
    }
