"""A resource type whose things are JSON files in a folder, and the provider process that serves it.

`python -I fake_kind.py FOLDER` is the process; in the tests themselves `File(FOLDER)` is the same type. The inputs say
how a thing behaves: `fail` and `stuck` name what does not work, `sleep` is how long making it takes, in seconds.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swarmctl.backends import clocks
from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.kinds.base import ChangeKind, Effect, Hosts, Impact, Observed, PropertyChange, differences

Json = Any
TOKEN = "swarm:test:File"


class File:
    """One JSON file per resource, with its inputs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def diff(self, old: Mapping[str, Json], new: Mapping[str, Json]) -> Sequence[PropertyChange]:
        return differences(old, new, replace={"size": "a file cannot be resized", "node": "it moves"})

    def create(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Mapping[str, Json]:
        self._behave("create", inputs)
        count = self.read_file(inputs).get("made", 0) + 1
        self._write(inputs, count)
        time.sleep(inputs.get("sleep", 0))
        return self._outputs(inputs)

    def read(self, hosts: Hosts, inputs: Mapping[str, Json]) -> Observed | None:
        stored = self.read_file(inputs)
        if not stored:
            return None
        if stored.get("unreadable"):
            raise WorldUnreadable(f"{inputs['name']} cannot be read", "Look at it.")
        if "clock" in inputs:
            clocks.see(inputs["node"], time.time() + inputs["clock"])
        return Observed(stored["inputs"], self._outputs(inputs))

    def update(self, hosts: Hosts, old: Mapping[str, Json], new: Mapping[str, Json]) -> Mapping[str, Json]:
        self._behave("update", new)
        self._write(new, self.read_file(new).get("made", 0))
        return self._outputs(new)

    def delete(self, hosts: Hosts, inputs: Mapping[str, Json]) -> None:
        self._behave("delete", inputs)
        self.path(inputs["name"]).unlink(missing_ok=True)
        with (self.folder / "deletions.log").open("a") as log:
            log.write(f"{inputs['name']}\n")

    def outputs(self) -> Sequence[str]:
        return ("token",)

    def effects(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Sequence[Effect]:
        if new is None:
            return [Effect(ChangeKind.DELETE, "file")]
        return [Effect(ChangeKind.ADD if old is None else ChangeKind.UPDATE, "file")]

    def impact(self, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> Impact:
        return Impact("its readers" if new is None else "")

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def read_file(self, inputs: Mapping[str, Json]) -> dict[str, Json]:
        path = self.path(inputs["name"])
        return json.loads(path.read_text()) if path.exists() else {}

    def _write(self, inputs: Mapping[str, Json], made: int) -> None:
        path = self.path(inputs["name"])
        fresh = path.with_suffix(".new")
        fresh.write_text(json.dumps({"inputs": dict(inputs), "made": made}))
        fresh.rename(path)

    def _behave(self, action: str, inputs: Mapping[str, Json]) -> None:
        if inputs.get("fail") == action:
            raise SwarmError(f"{inputs['name']} does not want to", "Ask it nicely.")
        if inputs.get("bug") == action:
            raise KeyError("hunter2")

    def _outputs(self, inputs: Mapping[str, Json]) -> dict[str, Json]:
        return {"token": f"token of {inputs['name']} {inputs.get('size', 0)}"}


if __name__ == "__main__":
    from swarmctl.provider import run as runs
    from swarmctl.provider.hosts import Connections
    from swarmctl.provider.process import serve
    from swarmctl.provider.server import Provider

    run = runs.of()
    file = File(Path(sys.argv[1]))
    serve(Provider(Connections(), {TOKEN: file}.__getitem__, journal=run.journal if run else None))
