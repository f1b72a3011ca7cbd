"""A machine in a folder: the programs that are run on it are real, and its files lie below that folder."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from swarmctl.backends.base import Completed, Host, HostUnreachable
from swarmctl.kinds.node_pool.draining.reading import FOLDER
from swarmctl.provider.hosts import Connections

SCHEDULER = """#!/bin/sh
# A scheduler's agent: what it is asked stands in `log`, what it makes of it in `state`.
cd "$(dirname "$0")" || exit 1
[ "$1" = check ] || echo "$1" >>log
case $1 in
  check) cat state ;;
  cordon) echo cordoned >state ;;
  drain) sleep "$(cat slow 2>/dev/null || echo 0)"; [ ! -e stuck ] || { echo 'job 7 does not end' >&2; exit 3; }
    echo drained >state ;;
  uncordon) [ ! -e shut ] || { echo 'the scheduler is away' >&2; exit 4; }; echo active >state ;;
esac
"""


class Machine:
    """As `Host`, as far as draining needs it."""

    name = "n1"

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.agent = folder / "agent"
        self.cut: str = ""
        """The connection is lost before a command with this word, and from then on."""
        self.is_cut = False
        folder.mkdir(exist_ok=True)
        self.agent.write_text(SCHEDULER)
        self.agent.chmod(0o755)
        (folder / "state").write_text("active\n")

    @property
    def log(self) -> list[str]:
        """What the agent was asked since the last look."""
        path = self.folder / "log"
        found = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return found

    def hooks(self, **more: Any) -> dict[str, Any]:
        """As inputs have them."""
        every = {name: [str(self.agent), name] for name in ("cordon", "drain", "uncordon", "check")}
        return {**every, "timeout": 300, **more}

    def inputs(self, state: str = "active", **more: Any) -> dict[str, Any]:
        """Of `swarm:nodepool:Drain`."""
        return {
            "machine": "m",
            "host": {"backend": "lab", "stack": "s", "node": "n1"},
            "node": "n1",
            "state": state,
            "hooks": self.hooks(**more),
        }

    def hosts(self) -> Connections:
        """As one run has it."""
        return Connections(open_host=lambda about, fence: cast("Host", self))

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        self.is_cut = self.is_cut or bool(self.cut and self.cut in argv)
        if self.is_cut:
            raise HostUnreachable("n1 does not answer")
        here = [word.replace(FOLDER, str(self.folder / "notes")) for word in argv]
        done = subprocess.run(here, input=stdin, capture_output=True, timeout=timeout, check=False)
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        if self.is_cut:
            raise HostUnreachable("n1 does not answer")
        there = self._at(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_bytes(content)

    def remove(self, path: str) -> None:
        there = self._at(path)
        if there.is_dir():
            shutil.rmtree(there)
        else:
            there.unlink(missing_ok=True)

    def notes(self) -> dict[str, str]:
        """Everything that swarmctl has left there."""
        root = self.folder / "notes"
        return {str(path.relative_to(root)): path.read_text().strip() for path in root.rglob("*") if path.is_file()}

    def _at(self, path: str) -> Path:
        assert path.startswith(FOLDER), path
        return self.folder / "notes" / path.removeprefix(FOLDER).lstrip("/")
