"""The rules of the house: what `make lint` checks holds, as one test a rule."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
LINTS = re.findall(r"^lint-([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("lint", LINTS)
def test_lint(lint: str) -> None:
    run = subprocess.run(["make", "-s", f"lint-{lint}"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr


def test_lint_runs_them_all() -> None:
    listed = re.search(r"^LINTS := (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert listed is not None
    assert listed[1].split() == LINTS


def test_ci_runs_the_one_test_command_and_nothing_else() -> None:
    lines = (ROOT / ".ci" / "run").read_text().splitlines()
    commands = [line for line in lines if line and not line.startswith("#")]
    assert commands == ["set -euo pipefail", 'cd "$(dirname "$0")/.."', "exec make test"]


@pytest.mark.xdist_group("a group")
def test_tests_of_one_group_run_on_one_worker(request: pytest.FixtureRequest) -> None:
    if "PYTEST_XDIST_WORKER" not in os.environ or not request.config.getoption("loadgroup", False):
        pytest.skip("groups matter only where tests run side by side, as in `make test`")
    assert request.node.nodeid.endswith("@a group"), "pytest-xdist doesn't group with this version of pytest"
