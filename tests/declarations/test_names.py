"""Names across a stack: duplicates with both places, references, the one Stack."""

from __future__ import annotations

from pathlib import Path

from tests.declarations.stacks import CLUSTER, HEAD, MESH, STACK, diagnose, told


def test_a_name_declared_twice_shows_both_places(tmp_path: Path) -> None:
    (found,) = diagnose(tmp_path, CLUSTER, CLUSTER, without=("Cluster",))

    assert told([found]) == [("SW2201", 8, 18)]
    assert (found.related[0].range.start.line, found.related[0].range.start.column) == (3, 18)


def test_one_name_may_be_used_by_two_kinds(tmp_path: Path) -> None:
    cluster = CLUSTER.replace("backbone", "core")
    mesh = MESH.replace("backbone", "core")
    assert diagnose(tmp_path, cluster, mesh, without=("Cluster", "Mesh")) == []


def test_a_dangling_reference_points_at_the_name_and_lists_what_exists(tmp_path: Path) -> None:
    found = diagnose(tmp_path, CLUSTER.replace("backbone", "backbon"), without=("Cluster",))

    (dangling,) = [one for one in found if one.severity == "error"]
    assert told([dangling]) == [("SW2202", 4, 14)]
    assert dangling.help == "did you mean `backbone`? declared: `backbone`"


def test_the_default_cluster_is_a_reference(tmp_path: Path) -> None:
    found = diagnose(tmp_path, STACK.replace("core", "cor"), without=("Stack",))

    assert ("SW2202", 4, 28) in told(found)


def test_a_document_with_mistakes_still_declares_its_name(tmp_path: Path) -> None:
    found = diagnose(tmp_path, MESH.replace("cidrs", "cidr"), without=("Mesh",))

    assert [one.code.id for one in found] == ["SW2101"]


def test_a_document_whose_kind_is_misspelt_does_not_leave_references_dangling(tmp_path: Path) -> None:
    found = diagnose(tmp_path, MESH.replace("kind: Mesh", "kind: Mehs"), without=("Mesh",))

    assert [one.code.id for one in found] == ["SW2003"]


def test_a_document_that_lost_its_name_does_not_leave_references_dangling(tmp_path: Path) -> None:
    found = diagnose(tmp_path, MESH.replace("{name: backbone}", "{}"), without=("Mesh",))

    assert [one.code.id for one in found] == ["SW2102"]


def test_nothing_is_called_missing_when_a_file_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "broken.yaml").write_text("kind: [\n")
    found = diagnose(tmp_path, without=("Mesh", "Stack"))

    assert {one.code.id[:3] for one in found} == {"SW1"}


def test_a_folder_without_stack_is_told_once(tmp_path: Path) -> None:
    found = diagnose(tmp_path, without=("Stack",))

    assert [one.code.id for one in found] == ["SW2203"]


def test_a_misspelt_stack_is_not_also_missing(tmp_path: Path) -> None:
    found = diagnose(tmp_path, STACK.replace("kind: Stack", "kind: Stak"), without=("Stack",))

    assert [one.code.id for one in found] == ["SW2003"]


def test_a_second_stack_shows_the_first(tmp_path: Path) -> None:
    found = diagnose(tmp_path, STACK, HEAD + "kind: Stack\nmetadata: {name: other}\n", without=("Stack",))

    assert told(found) == [("SW2204", 7, 7)]
    assert found[0].related[0].range.start.line == 2
