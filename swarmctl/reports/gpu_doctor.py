"""`swarmctl gpu doctor` as text, labels and JSON (`swarmctl/gpu-doctor/v1`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

from swarmctl.operations.gpu_doctor import Examination, Node


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
        return
    counted = Counter(node.cards.values())
    yield f"  is      {' and '.join(f'{number} x {model}' for model, number in counted.items()) or 'without a card'}"
    for reason, _ in node.refusals:
        yield f"  refused {reason}"
    if node.should is not None:
        advice = "" if node.declared else ", by its cards alone: nothing is declared"
        yield f"  should  run {node.should['version']}, {node.should['kernelModule']} kernel module{advice}"
        yield from (f"          {why}" for why in node.should["why"])
        yield from (f"          by hand: {text}" for text in node.should["manual"])
    if node.runs is not None:
        module = f"{node.runs.loaded} {node.runs.flavour}".strip() or "no kernel module"
        said = node.runs.failure or node.runs.answers or "nothing"
        yield f"  runs    {module}; nvidia-smi answers: {said}"
        yield from (f"  differs {text}" for text in node.differences if " → " in text)
    for text in node.todo or (("nothing",) if node.cards else ()):
        yield f"  to do   {text}"


def _node(node: Node) -> dict[str, Any]:
    runs = node.runs
    return {
        "node": node.name,
        "pool": node.pool,
        "error": node.error.message if node.error else None,
        "cards": [{"pci": pci, "model": model} for pci, model in node.cards.items()],
        "declared": node.declared,
        "refusals": [{"reason": reason, "mend": mend} for reason, mend in node.refusals],
        "should": {
            "branch": node.should["branch"],
            "version": node.should["version"],
            "kernelModule": node.should["kernelModule"],
            "why": list(node.should["why"]),
            "manual": list(node.should["manual"]),
        }
        if node.should
        else None,
        "runs": {
            "loaded": runs.loaded or None,
            "kernelModule": runs.flavour or None,
            "answers": runs.answers or None,
            "failure": runs.failure or None,
            "fabricManager": runs.fabric or None,
        }
        if runs
        else None,
        "differences": list(node.differences),
        "todo": list(node.todo),
        "healthy": node.healthy,
        "labels": dict(node.labels),
    }
