"""`swarmctl validate` and the loading that other operations begin with."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from swarmctl import assets
from swarmctl.cli import run
from swarmctl.engine import workspace
from swarmctl.errors import InvalidDeclaration, NoDocuments, SwarmError
from swarmctl.operations.fmt import fmt
from swarmctl.operations.init import init
from swarmctl.operations.load import load_stack
from swarmctl.operations.validate import validate
from swarmctl.state.store import Store
from tests.declarations.stacks import BASE, CLUSTER, MESH, POLICY, POOL, STACK, diagnose

LAB = assets.folder("stacks") / "lab"


def write(folder: Path, **changed: str) -> Path:
    """The base stack in one file, some kinds written otherwise."""
    folder.mkdir(exist_ok=True)
    (folder / "all.yaml").write_text("---\n".join({**BASE, **changed}.values()), "utf-8")
    return folder


def test_shipped_stacks_are_valid_without_a_warning() -> None:
    for folder in sorted(assets.folder("stacks").iterdir()):
        assert validate(folder).diagnostics == (), folder


def test_shipped_and_first_stacks_are_laid_out_the_one_way(tmp_path: Path) -> None:
    init(tmp_path / "new")
    for folder in [*assets.folder("stacks").iterdir(), tmp_path / "new"]:
        assert fmt(folder, write=False).changed == (), folder


def test_the_next_step_after_init_can_be_pasted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["init", str(tmp_path / "Ünï Çode")]) == 0
    last = capsys.readouterr().out.splitlines()[-1]

    assert Path(shlex.split(last)[3]).resolve() == tmp_path / "Ünï Çode"


def test_success_is_told_with_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["-C", str(LAB), "validate"]) == 0
    assert capsys.readouterr().out == "valid: 6 documents in 3 files\n"


def test_every_mistake_is_told_in_one_go_and_exits_with_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, Mesh=MESH.replace("cidrs", "cidr"), NodePool=POOL.replace("3", "many"))
    (tmp_path / "broken.yaml").write_text("kind: [\n")

    assert run(["-C", str(tmp_path), "validate"]) == 4
    out = capsys.readouterr().out
    assert "error[SW2101]" in out
    assert "error[SW2103]" in out
    assert "error[SW1" in out
    assert "valid:" not in out


def test_warnings_are_told_and_do_not_fail(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, Mesh=MESH.replace("10.88", "11.88"))

    assert run(["-C", str(tmp_path), "validate"]) == 0
    out = capsys.readouterr().out
    assert "warning[SW3109]" in out
    assert out.endswith("valid: 5 documents in 1 file\n")


def test_a_folder_without_documents_exits_with_3(tmp_path: Path) -> None:
    assert run(["-C", str(tmp_path), "validate"]) == 3
    with pytest.raises(NoDocuments):
        load_stack(tmp_path)


def test_json_is_all_that_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, Mesh=MESH.replace("10.88.0.0", "10.88.0.7"))

    assert run(["-C", str(tmp_path), "validate", "--format", "json"]) == 4
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == "swarmctl/validate/v1"
    (found,) = document["diagnostics"]
    assert (found["code"], found["severity"], found["line"]) == ("SW3102", "error", 19)
    assert found["help"] == "did you mean `10.88.0.0/16`?"


def test_what_the_reader_has_told_of_a_value_is_not_told_again(tmp_path: Path) -> None:
    found = diagnose(tmp_path, MESH.replace("[10.88.0.0/16]", "[10.88.0.0/16], mtu: .inf"), without=("Mesh",))

    assert [one.code.id[:3] for one in found] == ["SW1"]


@pytest.mark.parametrize("bad", [False, True])
def test_validate_imports_nothing_that_only_apply_needs(tmp_path: Path, bad: bool) -> None:
    write(tmp_path, **({"Mesh": MESH.replace("cidrs", "cidr")} if bad else {}))
    code = (
        "import sys, socket\n"
        "socket.socket = None\n"  # the network is out of reach, too
        "from swarmctl.cli import run\n"
        f"code = run(['-C', {str(tmp_path)!r}, 'validate'])\n"
        "heavy = {'pulumi', 'grpc', 'rich', 'jinja2', 'boto3', 'jsonschema'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert ('jsonschema_rs' in sys.modules) == (code == 4), 'a sound stack waits for no schema'\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == (4 if bad else 0), done.stderr


def test_loading_refuses_mistakes_with_all_diagnostics_and_their_texts(tmp_path: Path) -> None:
    write(tmp_path, Mesh=MESH.replace("10.88", "11.88"), NodePool=POOL.replace("3", "many"))

    with pytest.raises(InvalidDeclaration) as caught:
        load_stack(tmp_path)
    assert [one.code.id for one in caught.value.diagnostics] == ["SW2103", "SW3109"]
    assert set(caught.value.sources) == {one.range.file for one in caught.value.diagnostics if one.range}


def test_identity_is_the_name_and_the_uid_where_there_is_one(tmp_path: Path) -> None:
    uid = "5b2a9a52-7d0c-4c6e-9a0e-6f1f4f0a9c11"
    with_uid = write(tmp_path / "a", Stack=STACK.replace("{name: example}", f"{{name: example, uid: {uid}}}"))

    assert load_stack(with_uid).identity == f"example-{uid}"
    assert load_stack(write(tmp_path / "b")).identity == "example"


@pytest.mark.parametrize(
    ("declared", "url"),
    [("file:///srv/x", "file:///srv/x"), ("file://~/x", "file://{home}/x"), ("file://./x", "file://{folder}/x")],
)
def test_the_state_store_is_absolute(tmp_path: Path, declared: str, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    folder = write(tmp_path / "a", Stack=STACK.replace("spec: {", f"spec: {{state: '{declared}', "))

    assert load_stack(folder).state_url == url.format(home=tmp_path / "home", folder=folder)


@pytest.mark.parametrize(
    "declared",
    [
        "file://~nosuchuser/x", "file://~", "file://", "file:///tmp/a\\0b", "file://user:pw@host/x?y=z",
        "file:///srv/a?b", "file:///srv/%41", "https://host/x", "/srv/x",
    ],
)  # fmt: skip
def test_what_is_no_folder_for_the_state_is_told(tmp_path: Path, declared: str) -> None:
    found = diagnose(tmp_path, STACK.replace("spec: {", f'spec: {{state: "{declared}", '), without=("Stack",))

    assert [one.code.id for one in found] == ["SW2105"]
    assert "absolute" in found[0].help


def test_a_folder_with_odd_characters_in_its_path_is_the_state_store_all_the_same(tmp_path: Path) -> None:
    folder = write(tmp_path / "a%41 #b?", Stack=STACK.replace("spec: {", "spec: {state: 'file://state', "))
    loaded = load_stack(folder)

    assert Store(loaded.identity, loaded.state_url).folder == folder / "state" / "example"


def test_a_home_that_nobody_knows_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(_: Path) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr(Path, "expanduser", unknown)
    folder = write(tmp_path / "a", Stack=STACK.replace("spec: {", "spec: {state: 'file://~/x', "))

    with pytest.raises(SwarmError, match="no home"):
        load_stack(folder)


def test_the_state_kept_beside_the_declarations_is_none_of_them(tmp_path: Path) -> None:
    write(tmp_path, Stack=STACK.replace("spec: {", "spec: {state: 'file://state', "))
    loaded = load_stack(tmp_path)
    store = Store(loaded.identity, loaded.state_url)
    with store.lease() as lease:
        workspace.of_run(store, store.begin(lease, operation="update"), None, tmp_path / "home")
        assert list(store.folder.rglob("*.yaml"))

        assert load_stack(tmp_path).digest == loaded.digest
        assert fmt(tmp_path, write=False).files == 1


def test_the_digest_is_of_what_is_declared_not_of_how_it_is_written(tmp_path: Path) -> None:
    first = load_stack(write(tmp_path / "a")).digest
    other = tmp_path / "b"
    other.mkdir()
    for index, text in enumerate([POLICY, MESH, STACK, POOL, CLUSTER]):
        (other / f"{index}.yaml").write_text(f"# a comment\n{text}")
    explicit = write(tmp_path / "c", Mesh=MESH.replace("spec: {", "spec: {listenPort: 51820, "))
    changed = write(tmp_path / "d", Mesh=MESH.replace("spec: {", "spec: {listenPort: 51821, "))

    assert load_stack(other).digest == first
    assert load_stack(explicit).digest == first
    assert load_stack(changed).digest != first
