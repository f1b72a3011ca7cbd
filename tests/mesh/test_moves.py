"""What has another address because its pool, mesh or policy has another name is known again."""

from __future__ import annotations

from typing import Any

from swarmctl.graph.model import Address, Graph, Resource
from swarmctl.graph.moves import moves


def graph(**nodes: str) -> Graph:
    """Machines of pool `new`, by key."""
    made = Graph("s")
    for key, node in nodes.items():
        made.add(Resource(Address("nodepool", "new", key), "machine", {"node": node}, node=node))
    return made


def moved(declared: Graph, **recorded: tuple[str, str]) -> dict[str, Any]:
    found = moves(declared, {f"nodepool/{name.replace('_', '[')}]": it for name, it in recorded.items()})
    return {str(new): old for new, old in found.items()}


def test_the_same_type_on_the_same_node_is_the_same_resource() -> None:
    declared = graph(a="n1", b="n2", c="n3")
    assert moved(declared, old_0=("machine", "n1"), old_1=("interface", "n2"), old_2=("machine", "n4")) == {
        "nodepool/new[a]": "nodepool/old[0]"
    }


def test_what_stays_where_it_is_has_not_moved() -> None:
    assert moved(graph(a="n1"), new_a=("machine", "n1"), old_a=("machine", "n1")) == {}
    both = graph(a="n1", b="n1")
    assert moved(both, new_a=("machine", "n1"), old_0=("machine", "n1")) == {"nodepool/new[b]": "nodepool/old[0]"}


def test_what_could_be_several_is_none() -> None:
    assert moved(graph(a="n1", b="n1"), old_a=("machine", "n1")) == {}
    assert moved(graph(a="n1"), old_a=("machine", "n1"), old_b=("machine", "n1")) == {}
    assert moved(graph(a=""), old_a=("machine", "")) == {}
