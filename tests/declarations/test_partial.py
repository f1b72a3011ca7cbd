"""A mistake hides no other: what is wrong with a document is told whatever else is wrong with it."""

from __future__ import annotations

import copy
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from swarmctl.diagnostics import Diagnostic, errors
from tests.declarations.stacks import BASE, HEAD, POOL, STACK, diagnose, spec, told

Change = Callable[[dict[str, Any]], None]


def put(*path: str | int, value: Any) -> Change:
    """Writes `value` at `path`."""

    def change(data: Any) -> None:
        for step in path[:-1]:
            data = data.setdefault(step, {}) if isinstance(data, dict) else data[step]
        data[path[-1]] = value

    return change


PORTS = {"a": [1, 2], "b": [3, 4], "c": [5]}
STACKS: dict[str, tuple[dict[str, Any], dict[str, Change]]] = {
    "Mesh": (
        {"metadata": {"name": "backbone"}, "spec": {"cidrs": ["10.88.0.0/16", "fd88::/64"]}},
        {
            "host bits": put("spec", "cidrs", 0, value="10.88.0.5/16"),
            "no network": put("spec", "cidrs", 1, value="nonsense"),
            "mtu": put("spec", "mtu", value=100),
            "port": put("spec", "listenPort", value="x"),
            "hubs": put("spec", "topology", value={"hubs": {"select": {"role": "nobody"}}}),
            "interface": put("spec", "interface", value="lo"),
            "unknown": put("spec", "xyzzy", value=1),
            "misspelt": put("spec", "persistent_keepalive", value=1),
            "label": put("metadata", "labels", value={"a": "b"}),
            "annotation": put("metadata", "annotations", value={"a": 1}),
        },
    ),
    "NodePool": (
        {
            "metadata": {"name": "a", "labels": {"role": "worker"}},
            "spec": {"region": "eu", "lab": {"hosts": [{"name": "n1"}, {"name": "n2"}, {"name": "n3"}]}},
        },
        {
            "named twice": put("spec", "lab", "hosts", 1, "name", value="n1"),
            "no host": put("spec", "lab", "hosts", 2, value=5),
            "unknown in host": put("spec", "lab", "hosts", 0, "xyzzy", value=1),
            "memory": put("spec", "resources", "memory", value="1Ki"),
            "cpus": put("spec", "resources", "cpus", value=0),
            "label": put("metadata", "labels", value={"role": 5}),
            "cluster": put("spec", "cluster", value="nowhere"),
            "region": put("spec", "region", value="EU"),
            "unknown": put("spec", "xyzzy", value=1),
        },
    ),
    "SecurityPolicy": (
        {
            "metadata": {"name": "baseline"},
            "spec": {
                "network": {
                    "flows": [{"name": name, "ports": ports} for name, ports in PORTS.items()]
                }
            },
        },
        {
            "no port": put("spec", "network", "flows", 0, "ports", 0, value="x"),
            "no range": put("spec", "network", "flows", 0, "ports", 1, value="90-80"),
            "beyond": put("spec", "network", "flows", 1, "ports", 1, value="5-70000"),
            "same name": put("spec", "network", "flows", 2, "name", value="b"),
            "selector": put("spec", "network", "flows", 1, "to", value={"role": 5}),
            "protocol": put("spec", "network", "flows", 0, "protocol", value="icmp"),
            "misspelt": put("spec", "network", "flows", 1, "form", value={}),
            "no flow": put("spec", "network", "flows", 2, value="x"),
        },
    ),
    "Stack": (
        {"metadata": {"name": "example"}, "spec": {"defaults": {"cluster": "core", "region": "eu"}}},
        {
            "cluster": put("spec", "defaults", "cluster", value="nowhere"),
            "cluster type": put("spec", "defaults", "cluster", value=5),
            "state": put("spec", "state", value="file://~nobody/x"),
            "misspelt": put("spec", "default", value={}),
            "uid": put("metadata", "uid", value="x"),
        },
    ),
}  # fmt: skip
CLASHING = {("named twice", "no host"), ("same name", "no flow"), ("cluster", "cluster type")}
"""Not independent: one writes over the other, or is one of the two that clash."""
PAIRS = [
    (kind, one, other)
    for kind, (_, changes) in STACKS.items()
    for one in changes
    for other in changes
    if one < other and not {(one, other), (other, one)} & CLASHING
]


def findings(folder: Path, kind: str, *names: str) -> Counter[tuple[str, str]]:
    """Errors by code and message; places shift when there is more in the document."""
    folder = folder / kind
    folder.mkdir(exist_ok=True)
    base, changes = STACKS[kind]
    data = copy.deepcopy(base)
    for name in names:
        changes[name](data)
    text = json.dumps({"apiVersion": "swarmctl/v1alpha1", "kind": kind, **data})
    return Counter((one.code.id, one.message) for one in errors(diagnose(folder, text, without=(kind,))))


@pytest.mark.parametrize(("kind", "one", "other"), PAIRS, ids=lambda part: part.replace(" ", "-"))
def test_two_mistakes_are_told_as_each_of_them_and_nothing_else(
    tmp_path: Path, kind: str, one: str, other: str
) -> None:
    alone = findings(tmp_path, kind, one) + findings(tmp_path, kind, other)

    assert findings(tmp_path, kind, one)
    assert findings(tmp_path, kind, one, other) == alone


def codes(found: list[Diagnostic]) -> list[str]:
    return [one.code.id for one in found]


def test_places_are_right_behind_an_item_that_is_none(tmp_path: Path) -> None:
    policy = spec("SecurityPolicy", "baseline", "  network: {flows: [5, {name: a, ports: [x, 90-80]}]}\n")

    assert told(diagnose(tmp_path, policy, without=("SecurityPolicy",))) == [
        ("SW2103", 5, 21), ("SW2105", 5, 42), ("SW3302", 5, 45),
    ]  # fmt: skip


@pytest.mark.parametrize("defaults", ["{cluster: 5, region: 5}", "5", "{clusters: core, regio: eu}"])
def test_pools_are_not_without_cluster_because_the_default_is_mistaken(tmp_path: Path, defaults: str) -> None:
    stack = STACK.replace("{cluster: core, region: eu-central}", defaults)
    found = diagnose(tmp_path, stack, without=("Stack",))

    assert set(codes(found)) <= {"SW2101", "SW2103"}


def test_a_misspelt_field_is_not_also_missing(tmp_path: Path) -> None:
    pool = spec("NodePool", "workers", "  clutser: core\n  regoin: eu\n  lab: {count: 3}\n")
    stack = HEAD + "kind: Stack\nmetadata: {name: example}\n"

    assert codes(diagnose(tmp_path, pool, stack, without=("NodePool", "Stack"))) == ["SW2101", "SW2101"]


def test_pools_without_names_do_not_share_one(tmp_path: Path) -> None:
    pool = POOL.replace("name: workers, ", "")

    assert codes(diagnose(tmp_path, pool, pool, without=("NodePool",))) == ["SW2102", "SW2102"]


def test_a_pool_whose_cluster_is_no_name_counts_nowhere(tmp_path: Path) -> None:
    mesh = spec("Mesh", "backbone", "  cidrs: [10.88.0.0/29]\n")
    pool = spec("NodePool", "many", "  cluster: [core]\n  lab: {count: 9}\n")

    assert codes(diagnose(tmp_path, mesh, pool, without=("Mesh",))) == ["SW2103"]


@pytest.mark.parametrize(
    "field",
    ["lab: *b", "lab: &x {count: *x}", "lab: !t [1]", "lab: !!str 5", "cluster: *b", "cluster: !t [1]"],
)
def test_what_the_reader_refuses_is_told_once(tmp_path: Path, field: str) -> None:
    lab = "  lab: {count: 1}\n" if "cluster" in field else ""
    found = diagnose(tmp_path, spec("NodePool", "workers", f"  {field}\n{lab}"), without=("NodePool",))

    assert [code[:3] for code in codes(found)] == ["SW1"]


def test_the_base_has_no_mistakes(tmp_path: Path) -> None:
    assert [kind for kind in STACKS if findings(tmp_path, kind)] == []
    assert set(STACKS) < set(BASE)
