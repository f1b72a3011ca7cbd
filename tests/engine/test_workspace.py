"""What the engine is started with."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import pytest

from swarmctl.engine import workspace
from swarmctl.engine.program import property_dependencies
from swarmctl.state.store import Store
from tests.engine.world import address, file, token


def test_the_environment_is_made_from_an_allow_list(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")
    space = workspace.Workspace("lab", tmp_path, store.passphrase_file(), tmp_path / "home")
    inherited = {
        "HOME": "/h",
        "PATH": "/bin",
        "LC_ALL": "C",
        "https_proxy": "p",
        "SWARMCTL_X": "1",
        "SWARMCTL_RUN": "/another",
        "PULUMI_HOME": "/user",
        "PULUMI_ACCESS_TOKEN": "t",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PYTHONPATH": "/evil",
        "LD_PRELOAD": "x",
    }

    environment = space.environment(inherited)

    assert {name for name in environment if not name.startswith(("PULUMI_", "GO"))} == {
        "HOME",
        "PATH",
        "LC_ALL",
        "https_proxy",
        "SWARMCTL_X",
    }
    assert environment["PULUMI_HOME"] == str(tmp_path / "home")
    assert "PULUMI_ACCESS_TOKEN" not in environment
    passphrase = Path(environment["PULUMI_CONFIG_PASSPHRASE_FILE"])
    assert passphrase.stat().st_mode & 0o777 == 0o600
    assert passphrase.read_text().strip() not in json.dumps(environment)


def test_the_passphrase_stays_the_same(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")
    first = store.passphrase_file().read_bytes()
    second = store.passphrase_file().read_bytes()

    assert first == second
    assert len(first) > 30


def test_a_copy_for_looking_leaves_the_store_alone(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}/store")

    space = workspace.scratch(store, tmp_path, None, tmp_path / "home")

    assert not store.folder.exists()
    assert space.passphrase.parent == tmp_path
    assert json.loads((space.state / ".pulumi/stacks/swarmctl/lab.json").read_bytes())["version"] == 3


def test_the_engine_finds_no_place_for_logs(tmp_path: Path) -> None:
    (tmp_path / "logs" / "deep").mkdir(parents=True)

    workspace.without_logs(tmp_path)
    workspace.without_logs(tmp_path)

    assert (tmp_path / "logs").is_file()


def test_what_only_looks_is_not_stopped_by_protection(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}/store")
    resource = {"urn": "urn:pulumi:lab::swarmctl::swarm:a:B::a/b", "type": "swarm:a:B", "protect": True}
    checkpoint = workspace.empty("lab")
    checkpoint["checkpoint"]["latest"] = {"resources": [resource]}

    space = workspace.scratch(store, tmp_path, checkpoint, tmp_path / "home")

    assert "protect" not in space.checkpoint.read_text()
    assert resource["protect"]


def test_what_a_resource_waits_for_counts_as_where_it_lands() -> None:
    waiting = file("b", k={"x": [token("a")]}, node="m", host={"node": "m"}, after=("m",))

    assert property_dependencies(waiting) == {
        "name": set(),
        "k": {address("a")},
        "node": {address("m")},
        "host": {address("m")},
    }


def test_scratch_folders_of_runs_that_are_gone_are_removed_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    with workspace.scratch_folder() as mine:
        namespace, pid, start, _ = mine.name.removeprefix("swarmctl-").split("-")
        dead = tmp_path / f"swarmctl-{namespace}-{pid}-{int(start) + 1}-abc"
        kept = [
            tmp_path / f"swarmctl-{int(namespace) + 1}-{pid}-{int(start) + 1}-abc",
            tmp_path / f"swarmctl-bench-{pid}",
            tmp_path / f"swarmctl-{namespace}-{pid}",
        ]
        for folder in (dead, *kept):
            folder.mkdir()
            (folder / "file").write_text("x")
        with workspace.scratch_folder() as other:
            assert not dead.exists()
            assert all((folder / "file").exists() for folder in kept)
            assert mine.exists()
    assert not mine.exists()
    assert not other.exists()
