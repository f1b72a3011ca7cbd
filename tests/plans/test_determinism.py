"""The same things make the same plan, byte by byte, in another process on another machine."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

MAKE = """
import sys
from pathlib import Path
import pytest
from swarmctl.plans import file
from tests.plans.reality import make
folder = Path(sys.argv[1])
with pytest.MonkeyPatch.context() as patch:
    reality = make(folder, patch)
    reality.world["mesh/backbone[workers-0/peers]"].inputs["peers"].pop("control-1")
    reality.world["securitypolicy/baseline[control-0]"].inputs["rules"]["stranger"] = "accept"
    reality.save(folder / "plan.json")
saved = file.load(folder / "plan.json")
assert len(saved.body["drift"]) > 1
print(saved.digest)
"""


def test_no_order_of_anything_and_no_place_shows_in_a_plan(tmp_path: Path) -> None:
    digests = []
    for seed in ("1", "2", "3"):
        folder = tmp_path / seed / ("deep/" * int(seed))
        folder.mkdir(parents=True)
        run = subprocess.run(
            [sys.executable, "-c", MAKE, folder],
            cwd=Path(__file__).parents[2],
            env={"PYTHONHASHSEED": seed, "PATH": "", "TZ": f"Etc/GMT+{seed}", "HOME": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert run.returncode == 0, run.stderr
        digests.append(run.stdout.strip())
    assert len(set(digests)) == 1
