"""How long swarmctl takes to start, against a bare `python -c "import click"`: the floor for any click program.

Bounds: `--help` and `version` at most 1.6 times, `validate` of the lab's stack at most 3 times.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ROUNDS = 31
SWARMCTL = str(Path(sys.executable).with_name("swarmctl"))
FLOOR = [sys.executable, "-c", "import click"]
CASES = [
    (["--help"], 1.6),
    (["version"], 1.6),
    (["-C", str(ROOT / "stacks" / "lab"), "validate"], 3.0),
]


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, env={**os.environ, "NO_COLOR": "1"})
    return time.perf_counter() - started


def main() -> int:
    """Print a ratio a case; 1 when one is over its bound."""
    over = 0
    for arguments, bound in CASES:
        command = [SWARMCTL, *arguments]
        # In turn, so that a busy moment of the machine meets both.
        pairs = [(seconds(FLOOR), seconds(command)) for _ in range(ROUNDS)]
        floor, own = (statistics.median(side) for side in zip(*pairs, strict=True))
        ratio = own / floor
        over += ratio > bound
        verdict = "ok" if ratio <= bound else "OVER"
        print(
            f"swarmctl {arguments[-1]:<9} {own * 1000:6.1f} ms, import click {floor * 1000:6.1f} ms: "
            f"ratio {ratio:.2f} (at most {bound}) {verdict}"
        )
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
