"""The command line of costless things on a store that machines share; as one of another machine, ELSEWHERE names it.

Such a one has a boot, a clock and process ids of its own, and its lease a short time to live. Who is not elsewhere sees
no process of such runs, as it would be.
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.costless import cli
from swarmctl.state import holder, lease, lease_watch
from tests.state.lease_child import move_away

TTL = 6.0
"""Seconds: few, since somebody waits for them to be over, and enough for a busy machine to beat in between. A run that
can't for so long gives up by itself."""


def main() -> None:
    """Go to the other machine, and become swarmctl."""
    holder.one_machine = lambda folder: False
    lease_watch.remains = lambda folder: []
    if name := os.environ.get("ELSEWHERE"):
        mine = replace(holder.me(), host=name, boot=f"boot of {name}")
        holder.me = lambda: mine
        move_away(name)
        lease.acquire = functools.partial(lease.acquire, timing=lease.Timing(ttl=TTL))
    cli.main()


if __name__ == "__main__":
    main()
