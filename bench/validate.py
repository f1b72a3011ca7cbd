"""How long `swarmctl validate` takes for 1,000 documents, against check-jsonschema on the same files and schema.

Both run as a user runs them, a process each time, in turn. check-jsonschema reads one document per file and checks
the schema alone; swarmctl also checks names, references, networks and ports, and knows line and column of everything.
Bound: swarmctl takes less time. Also measured: reading 120,000 lines of YAML without checking them (at most 1.5 s).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SCHEMA = ROOT / "schemas" / "swarmctl.v1alpha1.json"
DOCUMENTS, LINES, SECONDS = 1000, 120_000, 1.5
BASE = """\
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: bench}
spec: {defaults: {cluster: core, region: eu-central}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: backbone, securityPolicy: baseline}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: backbone}
spec: {cidrs: [10.88.0.0/16, "fd88:5b2a::/64"], topology: {full: {}}}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec:
  network:
    flows:
      - {name: ray-head, from: {role: worker}, to: {role: head}, ports: [6379, 10001-10010]}
"""
POOL = """\
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata:
  name: pool-{number}
  labels:
    role: {role}
    tier: gpu
spec:
  cluster: core
  region: region-{region}
  lab:
    count: 1
"""


def documents(count: int) -> list[str]:
    """`count` documents of one valid stack."""
    pools = (
        POOL.format(number=number, role="worker" if number % 10 else "head", region=number % 5)
        for number in range(count)
    )
    base = BASE.split("---\n")
    return [*base, *pools][:count]


def seconds(command: list[str]) -> float:
    """Wall-clock time of one run that must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "NO_COLOR": "1"}, check=False)
    taken = time.perf_counter() - started
    if done.returncode:
        raise SystemExit(f"{command[0]} failed:\n{(done.stdout + done.stderr)[:2000]}")
    return taken


def against_check_jsonschema(folder: Path, rounds: int) -> dict[str, Any]:
    """Both tools over the same files, in turn, so that a busy moment of the machine meets both."""
    files = []
    for number, text in enumerate(documents(DOCUMENTS)):
        files.append(str(folder / f"{number:04}.yaml"))
        Path(files[-1]).write_text(text)
    here = Path(sys.executable)
    own = [str(here.with_name("swarmctl")), "-C", str(folder), "validate"]
    peer = [str(here.with_name("check-jsonschema")), "--schemafile", str(SCHEMA), *files]
    pairs = [(seconds(own), seconds(peer)) for _ in range(rounds)]
    ours, theirs = zip(*pairs, strict=True)
    return {
        "documents": len(files),
        "swarmctl": {"min": min(ours), "median": statistics.median(ours)},
        "checkJsonschema": {"min": min(theirs), "median": statistics.median(theirs)},
        "ratio": statistics.median(ours) / statistics.median(theirs),
        "bound": 1.0,
    }


def reading(rounds: int) -> dict[str, Any]:
    """The reader alone, in this process; processor time."""
    from swarmctl.documents import read_folder

    text = "---\n".join(documents(LINES // (POOL.count("\n") + 1)))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "all.yaml").write_text(text)
        taken = []
        for _ in range(rounds):
            started = time.process_time()
            read_folder(Path(folder))
            taken.append(time.process_time() - started)
    return {
        "lines": text.count("\n"),
        "bytes": len(text),
        "seconds": {"min": min(taken), "median": statistics.median(taken)},
        "bound": SECONDS,
    }


def main() -> int:
    """Print both measurements; 1 when one is over its bound."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        compared = against_check_jsonschema(Path(folder), options.rounds)
    read = reading(options.rounds)
    over = compared["ratio"] > compared["bound"] or read["seconds"]["median"] > read["bound"]
    if options.json:
        print(json.dumps({"schema": "swarmctl/bench-validate/v1", "validate": compared, "read": read}, indent=2))
        return int(over)
    print(f"{compared['documents']} documents          min   median")
    for name, key in (("swarmctl validate", "swarmctl"), ("check-jsonschema", "checkJsonschema")):
        print(f"  {name:<18} {compared[key]['min']:5.2f} s  {compared[key]['median']:5.2f} s")
    verdict = "ok" if compared["ratio"] <= compared["bound"] else "OVER"
    print(f"  ratio {compared['ratio']:.2f} (at most {compared['bound']}) {verdict}")
    took = read["seconds"]
    verdict = "ok" if took["median"] <= read["bound"] else "OVER"
    print(
        f"{read['lines']} lines read     {took['min']:5.2f} s  {took['median']:5.2f} s (at most {SECONDS} s) {verdict}"
    )
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
