"""What the engine is started with."""

from __future__ import annotations

import json
import os
from pathlib import Path

from swarmctl.engine import workspace
from swarmctl.engine.program import property_dependencies
from swarmctl.state.store import Store
from tests.engine.world import address, file, token


def test_the_environment_is_made_from_an_allow_list(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")
    with store.lock():
        space = workspace.lasting(store, tmp_path / "home")
    inherited = {
        "HOME": "/h",
        "PATH": "/bin",
        "LC_ALL": "C",
        "https_proxy": "p",
        "SWARMCTL_X": "1",
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
    with store.lock():
        first = store.passphrase_file().read_bytes()
        second = store.passphrase_file().read_bytes()

    assert first == second
    assert len(first) > 30


def test_a_copy_for_looking_leaves_the_store_alone(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}/store")

    space = workspace.scratch(store, tmp_path, tmp_path / "home")

    assert not store.folder.exists()
    assert space.passphrase.parent == tmp_path
    assert json.loads((space.state / ".pulumi/stacks/swarmctl/lab.json").read_bytes())["version"] == 3


def test_only_logs_of_this_stack_are_removed(tmp_path: Path) -> None:
    space = workspace.Workspace("lab", tmp_path, tmp_path / "p", tmp_path)
    logs = tmp_path / "logs"
    logs.mkdir()
    for name in ("lab-20261121T133654", "lab-2-20261121T133654", "other-20261121T133654"):
        (logs / f"organization+swarmctl+{name}.log").touch()

    workspace.remove_logs(space)

    assert sorted(os.listdir(logs)) == [
        "organization+swarmctl+lab-2-20261121T133654.log",
        "organization+swarmctl+other-20261121T133654.log",
    ]


def test_what_a_resource_waits_for_counts_as_where_it_lands() -> None:
    waiting = file("b", k={"x": [token("a")]}, node="m", host={"node": "m"}, after=("m",))

    assert property_dependencies(waiting) == {
        "name": set(),
        "k": {address("a")},
        "node": {address("m")},
        "host": {address("m")},
    }
