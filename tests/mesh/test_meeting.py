"""Machines over SSH whose own addresses are of different families: the rule refuses what no mesh can be made of."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends import ways
from swarmctl.declarations.declaration import Inventory
from swarmctl.diagnostics import Diagnostic, Severity
from swarmctl.errors import InvalidDeclaration
from swarmctl.kinds.mesh.rules import check
from swarmctl.mesh.faults import NoCommonFamily
from swarmctl.operations import nodes
from swarmctl.operations.drift import drift
from swarmctl.operations.running import Stopper
from tests.declarations.stacks import HEAD, diagnose, spec
from tests.mesh.builder import compiled, declare, lab

KEYS = [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{'A' * 42}{number}" for number in range(1, 4)]
ADDRESSES = ("203.0.113.{}", "2001:db8::{}", "n{}.example.net")
MESHES: tuple[dict[str, Any], ...] = (
    {"topology": {"full": {}}},
    {"topology": {"hubs": {"select": {"role": "hub"}}}},
    {"topology": {"full": {}}, "relays": {"role": "hub"}},
    {"topology": {"full": {}}, "endpoints": [{"node": "n1", "host": "198.51.100.7"}]},
    {"topology": {"full": {}}, "endpoints": [{"node": "n1", "host": "2001:db8::ffff"}]},
    {"topology": {"full": {}}, "endpoints": [{"node": "n1", "host": "one.example.net"}]},
)


def metal(addresses: tuple[str, ...], mesh: dict[str, Any], **first: Any) -> Inventory:
    """Three machines, the first of them a hub."""
    hosts = [
        {"name": f"n{number}", "address": address.format(number), "hostKeys": [key]}
        for number, (address, key) in enumerate(zip(addresses, KEYS, strict=True), 1)
    ]
    hosts[0] |= {"labels": {"role": "hub"}, **first}
    pool = declare("NodePool", "metal", {"region": "eu", "ssh": {"hosts": hosts}}, {"role": "worker"})
    kept = (it for it in lab(flows=[]) if it.kind not in ("NodePool", "Mesh"))
    return Inventory([*kept, declare("Mesh", "backbone", {"cidrs": ["10.88.0.0/16"], **mesh}), pool])


def refused(inventory: Inventory) -> bool:
    return "SW3138" in {found.code.id for found in check(inventory)}


def impossible(inventory: Inventory) -> bool:
    try:
        compiled(inventory)
    except NoCommonFamily:
        return True
    finally:
        ways.declare("lab", [])
    return False


@pytest.mark.parametrize("mesh", MESHES)
def test_it_is_refused_exactly_where_no_mesh_can_be_made(mesh: dict[str, Any]) -> None:
    found = {addresses: refused(metal(addresses, mesh)) for addresses in product(ADDRESSES, repeat=3)}
    assert found == {addresses: impossible(metal(addresses, mesh)) for addresses in found}
    assert not found["203.0.113.{}", "203.0.113.{}", "203.0.113.{}"]
    assert not any(wrong for addresses, wrong in found.items() if set(addresses) == {ADDRESSES[2]})


@pytest.mark.parametrize(("state", "fine"), [("isolated", True), ("lost", True), ("cordoned", False)])
def test_who_is_in_no_mesh_needs_no_family(state: str, fine: bool) -> None:
    wrong = metal((ADDRESSES[1], ADDRESSES[0], ADDRESSES[0]), MESHES[0], state=state)
    assert refused(wrong) != fine


def test_who_needs_no_tunnel_goes_on(tmp_path: Path) -> None:
    found = mixed(tmp_path)
    assert [one.severity for one in found] == ["error"]
    with pytest.raises(InvalidDeclaration):
        nodes.declared(tmp_path, lambda event: None)
    there = nodes.declared(tmp_path, lambda event: None, machines_alone=True)
    assert [machine.name for machine in there.machines] == ["n1", "n2", "n3"]
    assert {address.kind for address in there.resources} == {"nodepool"}
    drift(tmp_path, emit=lambda event: None, stopper=Stopper())
    (tmp_path / "more.yaml").write_text(f"{HEAD}kind: Mesh\nmetadata: {{name: second}}\nspec: {{cidrs: [none]}}\n")
    with pytest.raises(InvalidDeclaration):
        nodes.declared(tmp_path, lambda event: None, machines_alone=True)


def mixed(folder: Path) -> list[Diagnostic]:
    """What is found where the second of three machines has an IPv6 address."""
    hosts = "".join(
        f"      - {{name: n{number}, address: '{address.format(number)}', hostKeys: [{key}]}}\n"
        for number, (address, key) in enumerate(zip((ADDRESSES[0], ADDRESSES[1], ADDRESSES[0]), KEYS, strict=True), 1)
    )
    pool = (
        f"{HEAD}kind: NodePool\nmetadata: {{name: metal, labels: {{role: worker}}}}\nspec:\n  ssh:\n    hosts:\n{hosts}"
    )
    mesh = spec("Mesh", "backbone", "  cidrs: [10.88.0.0/16]\n")
    found = diagnose(folder, mesh, pool, without=("Mesh", "NodePool"))
    return [one for one in found if one.severity is Severity.ERROR]


def test_the_one_that_is_otherwise_is_told_with_its_place(tmp_path: Path) -> None:
    (found,) = mixed(tmp_path)
    assert found.code.id == "SW3138"
    assert found.message == (
        "`n2` (IPv6) and `n1` (IPv4) share no address family below the Mesh `backbone`, so neither can begin their "
        "tunnel"
    )
    assert found.help == "give `n2` an IPv4 address, here or under `endpoints` of the Mesh `backbone`"
