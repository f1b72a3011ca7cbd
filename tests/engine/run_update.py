"""One update in a process of its own, to be killed: `run_update ENGINE WORLD NAME:SLEEP…`, one after the other."""

from __future__ import annotations

import sys
from pathlib import Path

from swarmctl.engine.install import Engine
from tests.engine.world import World, file, graph

if __name__ == "__main__":
    world = World(Path(sys.argv[2]), Engine(Path(sys.argv[1]), "3.259.0", "configured"))
    before: tuple[str, ...] = ()
    files = []
    for argument in sys.argv[3:]:
        name, _, sleep = argument.partition(":")
        files.append(file(name, after=before, sleep=float(sleep)))
        before = (name,)
    world.update(graph(*files))
