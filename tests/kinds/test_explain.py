"""`swarmctl explain` and `swarmctl schema`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarmctl import assets, kinds
from swarmctl.cli import run
from swarmctl.operations.explain import Subject, codes, explain
from swarmctl.operations.validate import validate


def test_a_field_is_explained_with_type_default_bounds_and_description(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain", "Mesh.listenPort"]) == 0
    assert capsys.readouterr().out == (
        "Mesh.spec.listenPort (integer)\n"
        "\n"
        "UDP port WireGuard listens on, on the underlay of every node.\n"
        "\n"
        "default: 51820\n"
        "takes:   1 to 65535\n"
    )


@pytest.mark.parametrize(
    ("path", "name", "type"),
    [
        ("Mesh.topology.hubs", "Mesh.spec.topology.hubs", "mapping"),
        ("mesh.spec.topology.hubs.select", "Mesh.spec.topology.hubs.select", "mapping of string"),
        ("NodePool.lab.count", "NodePool.spec.lab.count", "integer"),
        ("node-pool.lab.hosts.name", "NodePool.spec.lab.hosts.name", "string"),
        ("SecurityPolicy.network.flows.ports", "SecurityPolicy.spec.network.flows.ports", "list of integer or string"),
        ("Stack.metadata.uid", "Stack.metadata.uid", "string"),
    ],
)
def test_fields_are_found_through_lists_and_with_or_without_spec(path: str, name: str, type: str) -> None:
    found = explain(path)

    assert isinstance(found, Subject)
    assert (found.name, found.type) == (name, type)


@pytest.mark.parametrize("kind", sorted(kinds.registry()))
def test_every_kind_is_explained_with_an_example_of_itself(kind: str) -> None:
    found = explain(kind)

    assert isinstance(found, Subject)
    assert f"kind: {kind}\n" in found.document
    assert found.fields
    assert all(line.description for line in found.fields)


def test_every_code_can_be_looked_up_in_any_case(capsys: pytest.CaptureFixture[str]) -> None:
    for code in codes().values():
        assert explain(code.id.lower()) == code
    assert run(["explain", "SW2104"]) == 0
    assert capsys.readouterr().out.startswith("SW2104: value out of range\n\nThe number is")


def test_without_argument_kinds_and_codes_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["explain"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in [*kinds.registry(), *codes()])


@pytest.mark.parametrize(
    ("subject", "help"),
    [
        ("NodePol", "did you mean NodePool?"),
        ("Mesh.topolgy", "did you mean topology?"),
        ("Mesh.mtu.x", "has no fields"),
        ("SW21044", "did you mean SW2104?"),
    ],
)
def test_what_there_is_not_is_told_with_what_was_meant(
    subject: str, help: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["explain", subject]) == 2
    assert help in capsys.readouterr().err


def test_json_carries_the_same(capsys: pytest.CaptureFixture[str]) -> None:
    run(["explain", "Mesh.listenPort", "--format", "json"])
    field = json.loads(capsys.readouterr().out)
    run(["explain", "SW2101", "--format", "json"])
    code = json.loads(capsys.readouterr().out)
    run(["explain", "--format", "json"])
    listed = json.loads(capsys.readouterr().out)

    assert {document["schema"] for document in (field, code, listed)} == {"swarmctl/explain/v1"}
    assert field["subject"]["default"] == 51820
    assert code["code"]["title"] == "unknown field"
    assert set(listed["kinds"]) == set(kinds.registry())


def test_schema_prints_a_kind_or_all_and_writes_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["schema", "nodepool"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "NodePool"
    assert run(["schema", "--output", str(tmp_path / "all.json")]) == 0
    assert (tmp_path / "all.json").read_bytes() == (assets.folder("schemas") / "swarmctl.v1alpha1.json").read_bytes()
    assert run(["schema", "Mehs"]) == 2
    assert run(["schema", "--output", str(tmp_path / "no" / "where.json")]) == 1
    assert "did you mean Mesh?" in capsys.readouterr().err


def test_init_writes_a_stack_that_validates_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)

    assert run(["init", "My_Stack"]) == 0
    checked = validate(tmp_path / "My_Stack")
    (stack,) = checked.inventory.of("Stack")
    assert (checked.diagnostics, stack.name) == ((), "my-stack")
    assert "next: swarmctl -C My_Stack plan" in capsys.readouterr().out
    for path in (tmp_path / "My_Stack").glob("*.yaml"):
        first = path.read_text().splitlines()[0]
        schema = path.parent / first.removeprefix("# yaml-language-server: $schema=")
        assert json.loads(schema.read_text())["title"] == "swarmctl declarations"


def test_init_gives_every_stack_a_uid_of_its_own(tmp_path: Path) -> None:
    assert run(["init", str(tmp_path / "a")]) == 0
    assert run(["init", str(tmp_path / "b")]) == 0
    uids = {validate(tmp_path / name).inventory.of("Stack")[0].metadata.uid for name in "ab"}
    assert len(uids - {""}) == 2


@pytest.mark.parametrize("name", ["007", "no", "null", "1e3", "0x1f", "a"])
def test_init_writes_any_name_so_that_yaml_reads_it_as_text(tmp_path: Path, name: str) -> None:
    assert run(["init", str(tmp_path / "a"), "--name", name]) == 0
    checked = validate(tmp_path / "a")
    assert (checked.diagnostics, checked.inventory.of("Stack")[0].name) == ((), name)


@pytest.mark.parametrize("there", ["stack.yaml", "other.yml", ".swarmctl/swarmctl.v1alpha1.json"])
def test_init_overwrites_nothing_and_writes_nothing_beside_it(tmp_path: Path, there: str) -> None:
    (tmp_path / ".swarmctl").mkdir()
    (tmp_path / there).write_text("mine")

    assert run(["init", str(tmp_path)]) == 2
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [tmp_path / there]
    assert (tmp_path / there).read_text() == "mine"


@pytest.mark.parametrize("arguments", [["--name", "No Name"], ["--name", "-x"]])
def test_init_refuses_names_that_are_none(tmp_path: Path, arguments: list[str]) -> None:
    assert run(["init", str(tmp_path / "a"), *arguments]) == 2
    assert not (tmp_path / "a").exists()


def test_init_tells_when_it_cannot_write(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")

    assert run(["init", str(tmp_path / "file" / "stack")]) == 1
    assert "cannot write" in capsys.readouterr().err
    assert run(["init", str(tmp_path / "file")]) == 2
