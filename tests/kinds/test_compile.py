"""What holds for resources of every kind: protection, timeouts, rollouts; and durations as they are read."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.declarations.duration import seconds
from swarmctl.graph.canonical import digest
from swarmctl.graph.model import Graph, Rollout, Timeouts
from swarmctl.kinds.compile import compile_graph
from swarmctl.operations.load import LoadedStack, load_stack
from tests.declarations.stacks import BASE, HEAD

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY0R1cPpdVHKBfVJX2QK0m8jRzUiHVhhPAnXcv6tPPS"


def loaded(folder: Path, **changed: str) -> LoadedStack:
    """The stack of the examples with some documents replaced, by kind."""
    for kind, text in {**BASE, **changed}.items():
        (folder / f"{kind}.yaml").write_text(text)
    return load_stack(folder)


def compiled(folder: Path, **changed: str) -> Graph:
    return compile_graph(loaded(folder, **changed).inventory, "s", lambda address: None)


def pool(spec: str) -> str:
    return f"{HEAD}kind: NodePool\nmetadata: {{name: workers}}\nspec:\n  lab: {{count: 15}}\n  {spec}\n"


@pytest.mark.parametrize(
    ("text", "length"),
    [("1s", 1), ("90s", 90), ("10m", 600), ("12h", 43200), ("30d", 2592000), ("999999d", 86399913600)],
)
def test_durations_are_exact(text: str, length: int) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    ("kind", "kinds"),
    [
        ("NodePool", {"nodepool"}),
        ("Mesh", {"mesh"}),
        ("SecurityPolicy", {"securitypolicy"}),
        ("Cluster", {"nodepool", "mesh", "securitypolicy"}),
        ("Stack", {"nodepool", "mesh", "securitypolicy"}),
    ],
)
def test_protection_covers_all_that_a_document_makes(tmp_path: Path, kind: str, kinds: set[str]) -> None:
    text = BASE[kind].replace("metadata: {", "metadata: {protect: true, ")
    graph = compiled(tmp_path, **{kind: text})
    assert {address.kind for address, it in graph.resources.items() if it.protect} == kinds
    # What is on no machine, such as the rotation of a whole mesh's keys, belongs to no cluster.
    left = {address.kind for address, it in graph.resources.items() if not it.protect and it.node}
    assert left.isdisjoint(kinds)


def test_nothing_is_protected_by_itself(tmp_path: Path) -> None:
    assert not any(it.protect for it in compiled(tmp_path).resources.values())


def test_timeouts_of_a_pool_hold_for_everything_on_its_machines(tmp_path: Path) -> None:
    usual = compiled(tmp_path)
    assert {it.timeouts for it in usual.resources.values()} == {Timeouts(600, 600, 600, 60)}
    graph = compiled(tmp_path, NodePool=pool("timeouts: {create: 90s, update: 2h, delete: 1m}"))
    assert {it.timeouts for it in graph.resources.values() if it.node} == {Timeouts(90, 7200, 60, 60)}
    assert len({address.kind for address in graph.resources}) == 3


@pytest.mark.parametrize(
    ("written", "rollout"),
    [
        ("{}", Rollout(1, 3, 0)),
        ("{canary: 0, batch: 4, maxFailures: 2}", Rollout(0, 4, 2)),
        ("{batch: 10%}", Rollout(1, 1, 0)),
        ("{batch: 1%}", Rollout(1, 1, 0)),
        ("{batch: 100%}", Rollout(1, 15, 0)),
        ("{batch: 99%}", Rollout(1, 14, 0)),
    ],
)
def test_shares_of_a_rollout_are_rounded_down_to_whole_machines(tmp_path: Path, written: str, rollout: Rollout) -> None:
    assert compiled(tmp_path, NodePool=pool(f"rollout: {written}")).rollouts == {"workers": rollout}


def test_pools_have_no_rollout_by_themselves(tmp_path: Path) -> None:
    assert compiled(tmp_path).rollouts == {}


def test_protection_timeouts_and_rollouts_count_in_both_digests(tmp_path: Path) -> None:
    variants = [pool(""), pool("timeouts: {read: 2m}"), pool("rollout: {}"), pool("rollout: {canary: 2}")]
    variants.append(pool("").replace("{name: workers}", "{name: workers, protect: true}"))
    stacks = [loaded(tmp_path, NodePool=text) for text in variants]
    graphs = [compile_graph(stack.inventory, "s", lambda address: None) for stack in stacks]
    assert len({stack.digest for stack in stacks}) == len(variants)
    assert len({digest(graph) for graph in graphs}) == len(variants)


def test_signers_are_told_without_the_comments_of_their_keys(tmp_path: Path) -> None:
    assert loaded(tmp_path).signers == ()
    stack = f"{HEAD}kind: Stack\nmetadata: {{name: s}}\nspec:\n  defaults: {{cluster: core, region: eu}}\n"
    stack += f"  signers: [{{name: ci, key: {KEY}   ci at work}}, {{name: me, key: {KEY.replace('IJY', 'IAY')}}}]\n"
    first, second = loaded(tmp_path, Stack=stack).signers
    assert (first.name, first.key) == ("ci", KEY)
    assert second.name == "me"
