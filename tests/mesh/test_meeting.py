"""Machines over SSH whose own addresses are of different families: the rule refuses what no mesh can be made of."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends import ways
from swarmctl.declarations.declaration import Inventory
from swarmctl.kinds.mesh.rules import check
from swarmctl.mesh.faults import NoCommonFamily
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


def test_the_one_that_is_otherwise_is_told_with_its_place(tmp_path: Path) -> None:
    hosts = "".join(
        f"      - {{name: n{number}, address: '{address.format(number)}', hostKeys: [{key}]}}\n"
        for number, (address, key) in enumerate(zip((ADDRESSES[0], ADDRESSES[1], ADDRESSES[0]), KEYS, strict=True), 1)
    )
    pool = (
        f"{HEAD}kind: NodePool\nmetadata: {{name: metal, labels: {{role: worker}}}}\nspec:\n  ssh:\n    hosts:\n{hosts}"
    )
    mesh = spec("Mesh", "backbone", "  cidrs: [10.88.0.0/16]\n")
    (found,) = (one for one in diagnose(tmp_path, mesh, pool, without=("Mesh", "NodePool")) if one.code.id == "SW3138")
    assert found.message == (
        "`n2` (IPv6) and `n1` (IPv4) share no address family below the Mesh `backbone`, so neither can begin their "
        "tunnel"
    )
    assert found.help == "give `n2` an IPv4 address, here or under `endpoints` of the Mesh `backbone`"
