"""`moved:` keeps what a rename would destroy: machines with their names, addresses and keys."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import InvalidDeclaration
from swarmctl.graph.canonical import digest
from swarmctl.graph.model import Address, Graph, Machine, Ref
from swarmctl.graph.moves import moves
from swarmctl.kinds.compile import compile_graph
from swarmctl.operations.load import load_stack
from tests.declarations.stacks import CLUSTER, HEAD, MESH, POLICY

Recorded = Mapping[str, tuple[str, Mapping[str, Any]]]


def fleet(
    folder: Path,
    *pools: str,
    moved: str = "",
    mesh: str = "backbone",
    recorded: Recorded | None = None,
    there: Collection[str] = (),
) -> Graph:
    """The graph of a stack with these pools (`name: spec`), after `recorded` (type and inputs) was applied; `there` are
    the machines that have its mark."""
    folder.mkdir(exist_ok=True)
    stack = f"{HEAD}kind: Stack\nmetadata: {{name: s}}\nspec: {{defaults: {{cluster: core, region: eu}}{moved}}}\n"
    documents = [stack, CLUSTER.replace("backbone", mesh), MESH.replace("backbone", mesh), POLICY]
    for pool in pools:
        name, _, lab = pool.partition(": ")
        documents.append(f"{HEAD}kind: NodePool\nmetadata: {{name: {name}}}\nspec: {{lab: {lab}}}\n")
    (folder / "stack.yaml").write_text("---\n".join(documents))
    before = recorded or {}
    on_node = {(kind, str(inputs["node"])): inputs for kind, inputs in before.values() if "node" in inputs}
    return compile_graph(
        load_stack(folder).inventory,
        "s",
        lambda address: before[str(address)][1] if str(address) in before else None,
        lambda kind, node: on_node.get((kind, node)),
        existing=lambda backend: there,
    )


def applied(graph: Graph) -> Recorded:
    return {str(address): (it.type, it.inputs) for address, it in graph.resources.items()}


def moved(graph: Graph, recorded: Recorded) -> dict[str, str]:
    found = moves(graph, {address: (kind, inputs.get("node", "")) for address, (kind, inputs) in recorded.items()})
    return {str(new): old for new, old in found.items()}


def plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return value.property if isinstance(value, Ref) else value


def inputs_by_node(graph: Graph) -> dict[tuple[str, str], Any]:
    return {(it.type, it.node): plain(it.inputs) for it in graph.resources.values()}


RENAME = ", moved: [{from: nodepool/workers, to: nodepool/gpu}]"


def test_machines_of_a_renamed_pool_keep_names_addresses_and_everything_on_them(tmp_path: Path) -> None:
    before = fleet(tmp_path, "workers: {count: 3}", "head: {count: 1}")
    renamed = fleet(tmp_path, "gpu: {count: 3}", "head: {count: 1}", moved=RENAME, recorded=applied(before))

    assert moved(renamed, applied(before)) == {f"nodepool/gpu[{n}]": f"nodepool/workers[{n}]" for n in range(3)}
    assert inputs_by_node(renamed) == inputs_by_node(before)
    assert {str(it.address) for it in renamed.resources.values() if it.type != "swarm:nodepool:Machine"} == {
        str(it.address) for it in before.resources.values() if it.type != "swarm:nodepool:Machine"
    }


def test_it_stays_so_with_the_entry_and_without_it(tmp_path: Path) -> None:
    before = fleet(tmp_path, "workers: {count: 2}")
    renamed = fleet(tmp_path, "gpu: {count: 2}", moved=RENAME, recorded=applied(before))
    again = fleet(tmp_path, "gpu: {count: 2}", moved=RENAME, recorded=applied(renamed))
    without = fleet(tmp_path, "gpu: {count: 2}", recorded=applied(renamed))

    for graph in (again, without):
        assert applied(graph) == applied(renamed)
        assert digest(graph) == digest(renamed)
        assert moved(graph, applied(renamed)) == {}


def test_a_machine_that_comes_after_the_rename_is_called_like_the_pool(tmp_path: Path) -> None:
    before = fleet(tmp_path, "workers: {count: 2}")
    grown = fleet(tmp_path, "gpu: {count: 3}", moved=RENAME, recorded=applied(before))
    assert [machine.name for machine in grown.exported(Machine)] == ["workers-0", "workers-1", "gpu-2"]
    shrunk = fleet(tmp_path, "gpu: {count: 1}", recorded=applied(grown))
    regrown = fleet(tmp_path, "gpu: {count: 2}", recorded=applied(shrunk))
    assert [machine.name for machine in regrown.exported(Machine)] == ["workers-0", "gpu-1"]


def test_a_new_pool_cannot_have_a_name_that_a_machine_keeps(tmp_path: Path) -> None:
    before = fleet(tmp_path, "workers: {count: 2}")
    renamed = fleet(tmp_path, "gpu: {count: 2}", moved=RENAME, recorded=applied(before))
    with pytest.raises(InvalidDeclaration) as refused:
        fleet(tmp_path, "gpu: {count: 2}", "workers: {count: 1}", recorded=applied(renamed))
    found = refused.value.diagnostics
    assert [one.code.id for one in found] == ["SW3209"]
    assert "`workers-0`, and nodepool/gpu[0] is called so" in found[0].message
    assert found[0].range is not None
    assert refused.value.sources[found[0].range.file].splitlines()[found[0].range.start.line - 1].count("workers")

    free = fleet(tmp_path, "gpu: {count: 1}", "workers: {hosts: [{name: w1}]}", recorded=applied(renamed))
    assert {machine.name for machine in free.exported(Machine)} == {"workers-0", "w1"}


def test_moves_of_moves_lead_to_where_the_thing_is(tmp_path: Path) -> None:
    before = fleet(tmp_path, "a: {count: 1}")
    chain = ", moved: [{from: nodepool/a, to: nodepool/b}, {from: nodepool/b, to: nodepool/c}]"
    renamed = fleet(tmp_path, "c: {count: 1}", moved=chain, recorded=applied(before))
    assert moved(renamed, applied(before)) == {"nodepool/c[0]": "nodepool/a[0]"}
    assert renamed.resources[Address("nodepool", "c", "0")].node == "a-0"


def test_single_machines_move_to_keys_of_another_pool(tmp_path: Path) -> None:
    before = fleet(tmp_path, "a: {count: 1}", "b: {count: 1}")
    one = ', moved: [{from: "nodepool/a[0]", to: "nodepool/b[1]"}]'
    renamed = fleet(tmp_path, "b: {count: 2}", moved=one, recorded=applied(before))
    assert moved(renamed, applied(before)) == {"nodepool/b[1]": "nodepool/a[0]"}
    assert inputs_by_node(renamed) == inputs_by_node(before)


def test_a_move_that_was_cut_off_goes_on(tmp_path: Path) -> None:
    before = fleet(tmp_path, "workers: {count: 3}")
    renamed = fleet(tmp_path, "gpu: {count: 3}", moved=RENAME, recorded=applied(before))
    half = {name: it for name, it in applied(before).items() if name != "nodepool/workers[1]"}
    half["nodepool/gpu[1]"] = applied(renamed)["nodepool/gpu[1]"]
    again = fleet(tmp_path, "gpu: {count: 3}", moved=RENAME, recorded=half)
    assert moved(again, half) == {f"nodepool/gpu[{n}]": f"nodepool/workers[{n}]" for n in (0, 2)}
    assert applied(again) == applied(renamed)


def test_a_host_with_another_name_in_the_files_stays_the_same_machine_with_its_node_name(tmp_path: Path) -> None:
    before = fleet(tmp_path, "w: {hosts: [{name: n1}, {name: n2}]}")
    entry = ', moved: [{from: "nodepool/w[n1]", to: "nodepool/w[big]"}]'
    renamed = fleet(tmp_path, "w: {hosts: [{name: big}, {name: n2}]}", moved=entry, recorded=applied(before))
    assert moved(renamed, applied(before)) == {"nodepool/w[big]": "nodepool/w[n1]"}
    assert inputs_by_node(renamed) == inputs_by_node(before)


def test_a_mesh_moves_with_all_that_belongs_to_it(tmp_path: Path) -> None:
    before = fleet(tmp_path, "w: {count: 2}")
    entry = ", moved: [{from: mesh/backbone, to: mesh/spine}]"
    renamed = fleet(tmp_path, "w: {count: 2}", mesh="spine", moved=entry, recorded=applied(before))
    assert moved(renamed, applied(before)) == {
        f"mesh/spine[{key}]": f"mesh/backbone[{key}]"
        for key in ("rotation", *(f"w-{n}{part}" for n in range(2) for part in ("", "/peers")))
    }
    addresses = [graph.resources[Address("mesh", name, "w-1")].inputs["addresses"] for graph, name in
                 ((before, "backbone"), (renamed, "spine"))]  # fmt: skip
    assert addresses[0] == addresses[1]


def test_a_move_to_where_something_is_already_is_refused_before_anything_is_lost(tmp_path: Path) -> None:
    before = fleet(tmp_path, "workers: {count: 2}", "gpu: {count: 1}")
    with pytest.raises(InvalidDeclaration) as refused:
        fleet(tmp_path, "gpu: {count: 2}", moved=RENAME, recorded=applied(before))
    assert [(one.code.id, one.message) for one in refused.value.diagnostics] == [
        ("SW2303", "nodepool/workers[0] cannot become nodepool/gpu[0]: both have been applied")
    ]


def test_what_is_declared_where_a_move_begins_is_refused_also_where_only_the_plan_knows(tmp_path: Path) -> None:
    entry = ', moved: [{from: "mesh/backbone[w-0]", to: "mesh/backbone[w-1]"}]'
    with pytest.raises(InvalidDeclaration) as refused:
        fleet(tmp_path, "w: {count: 2}", moved=entry)
    assert [one.code.id for one in refused.value.diagnostics] == ["SW2302"]


def names(graph: Graph) -> dict[str, str]:
    return {str(machine.address): machine.name for machine in graph.exported(Machine)}


TO_GPU = ", moved: [{from: nodepool/workers, to: nodepool/gpu}]"


def test_machines_that_moved_are_known_by_their_marks_when_the_state_is_lost(tmp_path: Path) -> None:
    before = applied(fleet(tmp_path, "workers: {count: 3}"))
    kept = fleet(tmp_path, "gpu: {count: 4}", moved=TO_GPU, recorded=before)
    lost = fleet(tmp_path, "gpu: {count: 4}", moved=TO_GPU, there=["workers-0", "workers-1", "workers-2"])
    assert names(lost) == {
        "nodepool/gpu[0]": "workers-0",
        "nodepool/gpu[1]": "workers-1",
        "nodepool/gpu[2]": "workers-2",
        "nodepool/gpu[3]": "gpu-3",
    }
    assert inputs_by_node(lost) == inputs_by_node(kept)


@pytest.mark.parametrize(
    ("there", "expected"),
    [
        ([], "gpu-0"),
        (["others-0", "workers-1"], "gpu-0"),
        (["workers-0", "gpu-0"], "gpu-0"),
    ],
    ids=["none is there", "another is there", "it has its new name already"],
)
def test_only_the_machine_that_moved_keeps_its_name(tmp_path: Path, there: list[str], expected: str) -> None:
    graph = fleet(tmp_path, "gpu: {count: 1}", moved=TO_GPU, there=there)
    assert names(graph) == {"nodepool/gpu[0]": expected}


def test_a_machine_that_moved_twice_or_to_another_number_is_known(tmp_path: Path) -> None:
    twice = ", moved: [{from: nodepool/a, to: nodepool/b}, {from: nodepool/b, to: nodepool/c}]"
    assert names(fleet(tmp_path, "c: {count: 1}", moved=twice, there=["a-0"])) == {"nodepool/c[0]": "a-0"}
    assert names(fleet(tmp_path, "c: {count: 1}", moved=twice, there=["a-0", "b-0"])) == {"nodepool/c[0]": "b-0"}
    one = ', moved: [{from: "nodepool/a[7]", to: "nodepool/c[0]"}]'
    assert names(fleet(tmp_path, "c: {count: 1}", moved=one, there=["a-0", "a-7"])) == {"nodepool/c[0]": "a-7"}


def test_a_name_that_is_declared_or_recorded_elsewhere_is_not_taken(tmp_path: Path) -> None:
    there = ["workers-0"]
    graph = fleet(tmp_path, "gpu: {count: 1}", "x: {hosts: [{name: workers-0}]}", moved=TO_GPU, there=there)
    assert names(graph) == {"nodepool/gpu[0]": "gpu-0", "nodepool/x[workers-0]": "workers-0"}
    before = {"nodepool/y[workers-0]": ("swarm:nodepool:Machine", {"node": "workers-0"})}
    graph = fleet(tmp_path, "gpu: {count: 1}", moved=TO_GPU, there=there, recorded=before)
    assert names(graph) == {"nodepool/gpu[0]": "gpu-0"}


def test_marks_are_asked_for_only_where_something_moved(tmp_path: Path) -> None:
    class Unasked(list[str]):
        def __contains__(self, name: object) -> bool:
            raise AssertionError

    assert names(fleet(tmp_path, "gpu: {count: 1}", there=Unasked())) == {"nodepool/gpu[0]": "gpu-0"}
    before = applied(fleet(tmp_path, "workers: {count: 1}"))
    assert names(fleet(tmp_path, "gpu: {count: 1}", moved=TO_GPU, recorded=before, there=Unasked())) == {
        "nodepool/gpu[0]": "workers-0"
    }
