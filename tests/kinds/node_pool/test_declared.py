"""`drain:` and its states become resources, and what takes its hooks away too early is refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from swarmctl.errors import InvalidDeclaration
from swarmctl.graph.model import Address, Graph, Machine, Resource
from swarmctl.kinds.compile import compile_graph
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from swarmctl.kinds.node_pool.draining.expand import DRAIN as TYPE
from swarmctl.operations.load import load_stack
from tests.declarations.stacks import BASE, HEAD
from tests.gpu import hosts as composed
from tests.gpu.test_accelerators import Facts

HOOKS = "drain: {cordon: [sched, cordon], drain: [sched, drain], uncordon: [sched, back], timeout: 90s}"
CARDS = "accelerators: [{vendor: nvidia, model: H100, count: 8}]"
HGX = composed.host(*composed.HGX_H100)


def compiled(folder: Path, *lines: str, hosts: str = "{name: n1}", before: Mapping[Address, Resource] = {}) -> Graph:
    for kind, text in BASE.items():
        if kind != "NodePool":
            (folder / f"{kind}.yaml").write_text(text)
    spec = "".join(f"  {line}\n" for line in (f"lab: {{hosts: [{hosts}]}}", *lines))
    (folder / "pool.yaml").write_text(f"{HEAD}kind: NodePool\nmetadata: {{name: p}}\nspec:\n{spec}")
    return compile_graph(
        load_stack(folder).inventory,
        "s",
        lambda address: before[address].inputs if address in before else None,
        system=Facts({"n1": HGX, "n2": HGX}),
    )


def at(key: str) -> Address:
    return Address("nodepool", "p", key)


def test_every_machine_of_a_pool_with_hooks_is_in_service_or_what_it_is_declared(tmp_path: Path) -> None:
    graph = compiled(tmp_path, HOOKS, "state: cordoned", hosts="{name: n1}, {name: n2, state: drained}")
    found = {str(address): it.inputs["state"] for address, it in graph.resources.items() if it.type == TYPE}
    assert found == {"nodepool/p[n1/drain]": "cordoned", "nodepool/p[n2/drain]": "drained"}
    assert graph.resources[at("n1/drain")].inputs["hooks"] == {
        "cordon": ["sched", "cordon"],
        "drain": ["sched", "drain"],
        "uncordon": ["sched", "back"],
        "check": [],
        "timeout": 90,
    }
    assert {machine.name: machine.state for machine in graph.exported(Machine)} == {"n1": "cordoned", "n2": "drained"}
    assert not graph.frozen, "what is drained is managed on"
    assert any(it.type == "swarm:mesh:Peers" and it.node == "n2" for it in graph.resources.values())


def test_a_driver_comes_after_its_machine_s_state_and_knows_the_way_out_and_back(tmp_path: Path) -> None:
    graph = compiled(tmp_path, HOOKS, CARDS)
    driver = graph.resources[at("n1/driver")]
    assert driver.one_pool_at_a_time
    assert at("n1/drain") in driver.depends_on
    service = {key: graph.resources[at("n1/drain")].inputs[key] for key in ("state", "hooks")}
    assert (driver.inputs["drain"], driver.inputs["drained"]) == (service, "")
    without = compiled(tmp_path, CARDS).resources[at("n1/driver")]
    assert without.inputs.keys() & {"drain", "drained"} == set()
    assert DRIVER.diff(without.inputs, driver.inputs) == [], "hooks alone change no driver"
    newer = {**driver.inputs, "version": "1.2"}
    assert DRIVER.impact(driver.inputs, newer).text.endswith(
        "drained before, and comes back when the driver is verified"
    )
    assert "drained" not in DRIVER.impact(without.inputs, {**without.inputs, "version": "1.2"}).text


def test_a_driver_that_a_run_left_with_its_machine_drained_is_a_difference(tmp_path: Path) -> None:
    inputs = compiled(tmp_path, HOOKS, CARDS).resources[at("n1/driver")].inputs
    left = {**inputs, "drained": "by a change of it that failed or was cut off"}
    assert [change.path for change in DRIVER.diff(left, inputs)] == [("drained",)]
    assert [effect.text for effect in DRIVER.effects(left, inputs)] == [
        "drained by a change of it that failed or was cut off: what that began is ended first"
    ]


@pytest.mark.parametrize("state", ["drained", "cordoned"])
def test_hooks_stay_until_the_machine_is_back(tmp_path: Path, state: str) -> None:
    out = compiled(tmp_path, HOOKS, f"state: {state}").resources
    with pytest.raises(InvalidDeclaration) as raised:
        compiled(tmp_path, before=out)
    (found,) = raised.value.diagnostics
    assert found.code.id == "SW3283"
    assert found.message == f"`n1` is {state}, and the NodePool `p` no longer says how it comes back into service"
    assert found.range
    back = compiled(tmp_path, HOOKS, before=out)
    assert back.resources[at("n1/drain")].inputs["state"] == "active"
    assert at("n1/drain") not in compiled(tmp_path, before=back.resources).resources
    gone = compiled(tmp_path, HOOKS, hosts="{name: n9}", before=out)
    assert at("n1/drain") not in gone.resources, "whoever leaves may be drained"
