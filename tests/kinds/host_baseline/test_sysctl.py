"""Settings of which one is 0 as long as the other is set, on files that behave as the kernel's."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.reading import RECORDS

KERNEL = """
say() {
  case $1 in
    vm.dirty*bytes) if [ "$2" = 0 ]; then return 1; fi ;;
  esac
  if [ "$(cat "$(at "$1")")" != "$2" ] && [ -n "$(other "$1")" ]; then echo 0 >"$(at "$(other "$1")")"; fi
  printf '%s\\n' "$2" >"$(at "$1")"
}
"""
"""As mm/page-writeback.c has it: never 0 bytes, and what is set makes the other one 0."""


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(SYSCTL, "library", SYSCTL.library + KERNEL, raising=False)
    (tmp_path / "vm").mkdir()
    return tmp_path


def settings(kernel: Path, **found: int) -> None:
    for name, value in found.items():
        (kernel / "vm" / name).write_text(f"{value}\n")


def both(kernel: Path) -> tuple[int, int]:
    return int((kernel / "vm/dirty_bytes").read_text()), int((kernel / "vm/dirty_ratio").read_text())


def run(kernel: Path, **values: str) -> None:
    """Set, or with no values taken away."""
    inputs: dict[str, Any] = {"baseline": "b", "values": {f"vm.{name}": value for name, value in values.items()}}
    script = SYSCTL.script(inputs, SYSCTL.setting(inputs) if values else SYSCTL.taking_away(inputs))
    for place in (RECORDS, "/etc/sysctl.d"):
        script = script.replace(place, f"{kernel}{place}")
    script = script.replace("/proc/sys/", f"{kernel}/")
    done = subprocess.run(["sh", "-eu", "-s"], input=script, text=True, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("first", [{"dirty_bytes": 0, "dirty_ratio": 20}, {"dirty_bytes": 5000, "dirty_ratio": 0}])
@pytest.mark.parametrize(
    "steps",
    [
        [{"dirty_bytes": "9000"}],
        [{"dirty_ratio": "30"}],
        [{"dirty_bytes": "9000"}, {"dirty_bytes": "9001"}],
        [{"dirty_bytes": "9000"}, {"dirty_ratio": "30"}],
        [{"dirty_ratio": "30"}, {"dirty_bytes": "9000"}],
        [{"dirty_ratio": "30"}, {"dirty_bytes": "9000"}, {"dirty_ratio": "40"}],
    ],
)
def test_of_two_the_one_that_counted_is_given_back(
    kernel: Path, first: dict[str, int], steps: list[dict[str, str]]
) -> None:
    settings(kernel, **first)
    before = both(kernel)
    for values in steps:
        run(kernel, **values)
        assert both(kernel) == (int(values.get("dirty_bytes", 0)), int(values.get("dirty_ratio", 0)))
    run(kernel)
    assert both(kernel) == before


def test_what_somebody_has_set_since_stays(kernel: Path) -> None:
    settings(kernel, dirty_bytes=0, dirty_ratio=20)
    run(kernel, dirty_bytes="9000")
    settings(kernel, dirty_bytes=0, dirty_ratio=7)
    run(kernel)
    assert both(kernel) == (0, 7)
