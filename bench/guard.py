"""What it costs that changes undo themselves unless they are confirmed, and how soon nodes are back when they do.

Three lab nodes, one after the other, `confirmWithin: 12s`. Measured on the clock, each the best or the worst of a few
rounds as said:
- a change that takes something away, and so is guarded, beside one of the same size that gives it back, and is not;
- a change that cuts nodes off, undone by its own run: from the run's start until they are reached again;
- kill -9 of the run right after the first node's change: how long until that node is as it was, by itself;
- the same, and the node is restarted at once.
Bounds: a guarded change takes at most 2 s a node more; nodes are back at most 3 s after the declared time.
Needs what a lab needs, and a few minutes; uses wireguard-go where the kernel has no WireGuard.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from tests.integration import lab as labs
from tests.integration.guarding import MORE, NETWORK, NODES, NOWHERE, POOL, WITHIN, killed, reached, table, until
from tests.integration.underlay import Underlay
from tests.integration.watching import again

ROUNDS, COST, SLACK = 3, 2.0, 3.0
OPEN = "      - {name: traffic, from: {role: worker}, to: {role: worker}, ports: [7946], protocol: udp}\n"


def timed(lab: labs.Lab) -> float:
    """Seconds that one apply takes."""
    started = time.monotonic()
    lab("apply", "--yes")
    return time.monotonic() - started


def confirmed(lab: labs.Lab) -> bool:
    """Changes that are taken back by nobody."""
    guarded, plain = [], []
    for _ in range(ROUNDS):
        lab.edit("network.yaml", MORE, "")
        guarded.append(timed(lab))
        (lab.stack / "network.yaml").write_text(NETWORK + OPEN)
        plain.append(timed(lab))
    more = (min(guarded) - min(plain)) / len(NODES)
    print(
        f"confirmed: {min(guarded):.2f} s guarded, {min(plain):.2f} s not: ratio {min(guarded) / min(plain):.2f}, "
        f"{more:.2f} s more a node (at most {COST:.0f})",
        flush=True,
    )
    return more <= COST


def cut_off(lab: labs.Lab, under: Underlay) -> bool:
    """A change that its own run undoes: traffic would have WireGuard learn where its peers are, so there is none."""
    worst = 0.0
    for _ in range(ROUNDS):
        lab.edit("network.yaml", "#endpoints", NOWHERE)
        started = time.monotonic()
        lab("apply", "--yes", code=1)
        until(lambda: reached(under), WITHIN + SLACK)
        worst = max(worst, time.monotonic() - started)
        (lab.stack / "network.yaml").write_text(NETWORK + OPEN)
        lab("apply", "--yes")
    print(f"cut off: undone and reached {worst:.1f} s after the run's start at most (at most {WITHIN + SLACK:.0f})")
    return worst <= WITHIN + SLACK


def back(lab: labs.Lab, under: Underlay, name: str, also: Callable[[], object]) -> bool:
    """A run that died, and what the node does then."""
    worst = 0.0
    for _ in range(ROUNDS):
        before = table(under, NODES[0])
        lab.edit("network.yaml", MORE, "")
        run = killed(lab, "cli")
        died = time.monotonic()
        also()
        run.end()
        until(lambda before=before: table(under, NODES[0]) == before, WITHIN + 10 * SLACK)
        worst = max(worst, time.monotonic() - died)
        (lab.stack / "network.yaml").write_text(NETWORK + OPEN)
        until(lambda: reached(under), 30)
        again(lab, "apply", "--yes")
    print(f"{name}: back {worst:.1f} s after that at the most (at most {WITHIN + SLACK:.0f})", flush=True)
    return worst <= WITHIN + SLACK


def main() -> int:
    """Make the lab, measure, take it away; 1 when a bound is not kept."""
    with tempfile.TemporaryDirectory(prefix="swarmctl-bench-guard-") as folder:
        lab = labs.make(Path(folder))
        (lab.stack / "pools.yaml").write_text(POOL)
        (lab.stack / "network.yaml").write_text(NETWORK + OPEN)
        os.environ["XDG_DATA_HOME"] = lab.env["XDG_DATA_HOME"]
        try:
            lab("apply", "--yes")
            under = Underlay.of(lab)
            kept = [
                confirmed(lab),
                cut_off(lab, under),
                back(lab, under, "kill -9", lambda: None),
                back(lab, under, "kill -9 and a restart", lambda: under.reboot(NODES[0])),
            ]
        finally:
            again(lab, "destroy", "--yes")
    print("ok" if all(kept) else "too much")
    return int(not all(kept))


if __name__ == "__main__":
    sys.exit(main())
