"""Adding a kind is one script and one folder: tried on a copy of the tree."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CARRIED = ("swarmctl", "schemas", "templates", "stacks", "toolchain", "scripts", "tests", "pyproject.toml")

Run = Callable[..., subprocess.CompletedProcess[str]]

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("new kind")]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree with a kind called Banner added by the script."""
    folder = tmp_path_factory.mktemp("tree")
    for name in CARRIED:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy2(ROOT / name, folder / name)
    run_in(folder)(sys.executable, "scripts/new-kind", "Banner")
    return folder


def run_in(folder: Path) -> Run:
    def run(*command: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
        environment |= {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    return run


def stack_of(copy: Path, folder: Path, example: str) -> Path:
    """A stack with one of the new kind's examples, which is a whole one."""
    folder.mkdir()
    shutil.copy(copy / "swarmctl" / "kinds" / "banner" / "examples" / example, folder / "banner.yaml")
    return folder


def test_a_document_of_the_new_kind_is_valid(copy: Path, tmp_path: Path) -> None:
    stack = stack_of(copy, tmp_path / "stack", "good/hello.yaml")
    run_in(copy)(sys.executable, "-m", "swarmctl", "-C", str(stack), "validate")


def test_its_rules_schema_and_references_are_checked(copy: Path, tmp_path: Path) -> None:
    stack = stack_of(copy, tmp_path / "stack", "bad/empty.yaml")
    first, mark, rest = (stack / "banner.yaml").read_text().partition("---\n")
    misspelt = first.replace("hello", "other").replace("core", "cor").replace('""', '"x"')
    unknown = first.replace("hello", "third").replace("content:", "contents:")
    (stack / "banner.yaml").write_text(first + mark + misspelt + mark + unknown + mark + rest)
    command = (sys.executable, "-m", "swarmctl", "-C", str(stack), "validate", "--format", "json")
    found = [diagnostic["message"] for diagnostic in json.loads(run_in(copy)(*command, code=4).stdout)["diagnostics"]]
    assert any("the Banner `hello` has no content" in message for message in found), found
    assert any("`cor`" in message for message in found), found
    assert any("contents" in message for message in found), found


def test_its_machines_get_a_resource_each(copy: Path, tmp_path: Path) -> None:
    stack = stack_of(copy, tmp_path / "stack", "good/hello.yaml")
    script = (
        "import sys; from pathlib import Path;"
        "from swarmctl.kinds.compile import compile_graph; from swarmctl.operations.load import load_stack;"
        "loaded = load_stack(Path(sys.argv[1]));"
        "graph = compile_graph(loaded.inventory, loaded.identity, lambda address: None);"
        "print(*[address for address in graph.resources if address.kind == 'banner'], sep='\\n')"
    )
    printed = run_in(copy)(sys.executable, "-c", script, str(stack)).stdout.split()
    assert printed == ["banner/hello[workers-0]", "banner/hello[workers-1]", "banner/hello[workers-2]"]


def test_it_is_explained(copy: Path) -> None:
    explained = run_in(copy)(sys.executable, "-m", "swarmctl", "explain", "Banner").stdout
    assert "Cluster whose machines get the file." in explained


def test_the_house_accepts_it(copy: Path) -> None:
    run = run_in(copy)
    run(sys.executable, "-m", "ruff", "check", "swarmctl/kinds/banner")
    run(sys.executable, "-m", "ruff", "format", "--check", "swarmctl/kinds/banner")
    run(sys.executable, "-m", "mypy", "-p", "swarmctl.kinds.banner")
    run(str(Path(sys.executable).parent / "lint-imports"), "--no-cache")


def test_the_tests_that_walk_the_kinds_cover_it(copy: Path) -> None:
    options = ("-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-m", "not integration and not slow")
    run_in(copy)(sys.executable, "-m", "pytest", *options, "tests/kinds")


@pytest.mark.parametrize("name", ["banner", "Ban-ner", "../Evil", "Cluster"])
def test_a_name_that_is_none_or_taken_is_refused(copy: Path, name: str) -> None:
    refused = run_in(copy)(sys.executable, "scripts/new-kind", name, code=1)
    assert refused.stderr.startswith("error: ")
