"""How fast the spine is, with all of its safety on, when the resources themselves cost nothing.

    python bench/spine.py            1,000 to 10,000 resources; Terraform beside it with 1,000
    python bench/spine.py --full     Terraform with 10,000, too, which takes it about 20 minutes
    python bench/spine.py --quick    a hundredth of that, to see that it works; no target is judged

Whole command lines on the real engine: creation, a plan of what is unchanged, the same without reading the world, a
plan of one thing more, and destruction. Where the `terraform` binary is found, the same count of its built-in
`terraform_data` runs right after each of ours, and the ratio is printed. Memory is the peak of the largest process, and
of all together. Exit status 1 when a target is missed.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

CLI = Path(__file__).with_name("costless") / "cli.py"
SIZES = (1000, 2000, 4000, 8000, 10_000)
MORE = "plan, one more"
"""With one thing more declared: what is unchanged is proved without the engine, and this is not."""
STEPS = ("create", "plan", "plan --no-refresh", MORE, "destroy")
TARGETS = {
    ("create", 1000): 8.0,
    ("create", 10_000): 40.0,
    ("plan", 1000): 2.5,
    ("plan --no-refresh", 1000): 1.1,
    ("plan", 10_000): 20.0,
    ("plan --no-refresh", 10_000): 5.0,
}
"""Seconds, on two cores."""
MEMORY = 500.0
"""Megabytes that the largest process may use, with 10,000 resources."""
STATE = 1024
"""Bytes of state that a small resource may take."""
EXPONENT = 1.15
"""Of a power law through the times, at most; what takes hardly longer for more has a small one. R² of a straight line
is printed beside it, and judges nothing: even x^1.5 has 0.99 over these sizes."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One command line."""

    seconds: float
    largest: float
    """Peak resident memory of the largest process, in megabytes."""
    together: float
    """The most that all processes had at one time."""


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    quick, full = "--quick" in arguments, "--full" in arguments
    sizes = tuple(size // 100 for size in SIZES) if quick else SIZES
    terraform = shutil.which("terraform")
    compared = {sizes[0], *([sizes[-1]] if full or quick else [])} if terraform else set()
    results: dict[tuple[str, int], Measured] = {}
    missed: list[str] = []
    print(
        f"{'':26}{'ours':>10}{'target':>10}{'largest':>10}{'together':>10}{'terraform':>11}{'ratio':>8}{'largest':>10}"
    )
    for size in sizes:
        with tempfile.TemporaryDirectory(prefix="swarmctl-bench-") as name:
            folder = Path(name)
            theirs = _Terraform(folder / "terraform", size, terraform) if terraform and size in compared else None
            ours = _Ours(folder / "ours", size)
            for step in STEPS:
                measured = results[step, size] = ours.run(step)
                beside = theirs.run(step) if theirs else None
                target = None if quick else TARGETS.get((step, size))
                print(_line(f"{step} {size:,}", measured, target, beside), flush=True)
                if target is not None and measured.seconds > target:
                    missed.append(f"{step} {size:,}: {measured.seconds:.1f} s, target {target} s")
                if step == "create":
                    print(f"{'  state, bytes each':26}{ours.bytes_each():10.0f}{STATE:>10}", flush=True)
                    if not quick and ours.bytes_each() > STATE:
                        missed.append(f"{ours.bytes_each():.0f} bytes of state a resource, target {STATE}")
                if not quick and size == sizes[-1] and measured.largest > MEMORY:
                    missed.append(f"{step} {size:,}: {measured.largest:.0f} MB, target {MEMORY:.0f} MB")
    print("\ngrowth                       R²  exponent")
    for step in STEPS:
        times = [results[step, size].seconds for size in sizes]
        straight, exponent = fit(sizes, times)
        print(f"{step:22}{straight:9.4f}{exponent:10.2f}")
        if not quick and exponent > EXPONENT:
            missed.append(f"{step}: grows with the power {exponent:.2f}")
    for line in missed:
        print(f"missed: {line}")
    return int(bool(missed))


def fit(sizes: Sequence[int], times: Sequence[float]) -> tuple[float, float]:
    """R² of the straight line through the times, and the exponent of the power law through them (least squares)."""
    straight = statistics.correlation(sizes, times) ** 2
    exponent = statistics.linear_regression([math.log(it) for it in sizes], [math.log(it) for it in times]).slope
    return straight, exponent


def _line(what: str, ours: Measured, target: float | None, theirs: Measured | None) -> str:
    line = f"{what:26}{ours.seconds:8.2f} s{f'{target} s' if target else '':>10}"
    line += f"{ours.largest:7.0f} MB{ours.together:7.0f} MB"
    if theirs is not None:
        line += f"{theirs.seconds:9.2f} s{ours.seconds / theirs.seconds:8.2f}{theirs.largest:7.0f} MB"
    return line


class _Ours:
    """A stack of so many costless things."""

    def __init__(self, folder: Path, size: int) -> None:
        self._size = size
        self._folder = folder
        (folder / "stack").mkdir(parents=True)
        self._declare(size)
        self._environment = os.environ | {
            "SWARMCTL_WORLD": str(folder / "world"),
            "XDG_DATA_HOME": str(folder / "data"),
        }

    def _declare(self, count: int) -> None:
        (self._folder / "stack" / "stack.yaml").write_text(
            "apiVersion: swarmctl/v1alpha1\nkind: Stack\nmetadata: {name: bench}\n---\n"
            f"apiVersion: swarmctl/v1alpha1\nkind: Costless\nmetadata: {{name: thing}}\nspec: {{count: {count}}}\n"
        )

    def run(self, step: str) -> Measured:
        """One step, as a command line."""
        if step == MORE:
            self._declare(self._size + 1)
            step = "plan"
        arguments = {"create": ["apply", "--yes"], "destroy": ["destroy", "--yes"]}.get(step, step.split())
        command = [sys.executable, str(CLI), "-C", str(self._folder / "stack"), *arguments]
        measured = measure(command, self._environment, self._folder)
        if step == "create":
            made = (self._folder / "world" / "effects.log").read_bytes().count(b'"op":"create"')
            assert made == self._size, f"{made} of {self._size} things were made"
        return measured

    def bytes_each(self) -> float:
        """Bytes of published state per resource."""
        (state,) = self._folder.glob("data/swarmctl/stacks/bench*/state.json")
        return state.stat().st_size / self._size


class _Terraform:
    """As many `terraform_data`, which is built in: nothing is fetched."""

    def __init__(self, folder: Path, size: int, binary: str) -> None:
        self._binary, self._folder = binary, folder
        folder.mkdir(parents=True)
        self._size = size
        self._declare(size)
        self._environment = os.environ | {"CHECKPOINT_DISABLE": "1", "TF_IN_AUTOMATION": "1"}
        measure([binary, "init", "-no-color"], self._environment, folder)

    def _declare(self, count: int) -> None:
        thing = {"count": count, "input": {"name": "thing[${count.index}]", "size": 1, "version": 1}}
        (self._folder / "main.tf.json").write_text(json.dumps({"resource": {"terraform_data": {"thing": thing}}}))

    def run(self, step: str) -> Measured:
        """The same step, in Terraform's words."""
        if step == MORE:
            self._declare(self._size + 1)
            step = "plan"
        arguments = {
            "create": ["apply", "-auto-approve"],
            "plan": ["plan"],
            "plan --no-refresh": ["plan", "-refresh=false"],
            "destroy": ["destroy", "-auto-approve"],
        }[step]
        return measure([self._binary, *arguments, "-no-color"], self._environment, self._folder)


def measure(command: Sequence[str], environment: dict[str, str], folder: Path) -> Measured:
    """Run it to its end, its output thrown away. Raises CalledProcessError when it does not end well."""
    started = time.perf_counter()
    process = subprocess.Popen(
        command, env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    watch = _Memory(process.pid)
    _, complaints = process.communicate()
    seconds = time.perf_counter() - started
    watch.stop()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=complaints[-2000:])
    return Measured(seconds, watch.largest, watch.together)


class _Memory(threading.Thread):
    """Looks at a process and what it has started, until it is told to stop."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self._over = threading.Event()
        self.largest = self.together = 0.0
        self.start()

    def run(self) -> None:
        while not self._over.wait(0.05):
            peaks, now = [0], 0
            for pid in _family(self._pid):
                memory = _memory(pid)
                peaks.append(memory.get("VmHWM", 0))
                now += memory.get("VmRSS", 0)
            self.largest = max(self.largest, max(peaks) / 1024)
            self.together = max(self.together, now / 1024)

    def stop(self) -> None:
        self._over.set()
        self.join()


def _family(pid: int) -> list[int]:
    found, waiting = [], [pid]
    while waiting:
        found.append(waiting.pop())
        for task in Path(f"/proc/{found[-1]}/task").glob("*/children"):
            try:
                waiting += map(int, task.read_text().split())
            except OSError:
                continue
    return found


def _memory(pid: int) -> dict[str, int]:
    """proc_pid_status(5), kB."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return {}
    return {line.partition(":")[0]: int(line.split()[1]) for line in lines if line.startswith(("VmHWM", "VmRSS"))}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
