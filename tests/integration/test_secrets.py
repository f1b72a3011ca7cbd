"""A private key is made where it is used and never leaves: nothing of it in state, plan, logs, argv or temp files."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

LARGEST = 1_000_000
"""Bytes; larger temp files are none of ours."""


class Watcher(threading.Thread):
    """Collects every command line and environment on this machine that ever shows while it runs."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self.stop = threading.Event()

    def run(self) -> None:
        while not self.stop.wait(0.01):
            for proc in Path("/proc").iterdir():
                if proc.name.isdigit():
                    for name in ("cmdline", "environ"):
                        try:
                            self.seen.add((proc / name).read_bytes())
                        except OSError:
                            continue


class TempFiles(threading.Thread):
    """Collects what stands in temp files while it runs, also in those that are there for a moment only."""

    def __init__(self, folders: tuple[Path, ...]) -> None:
        super().__init__(daemon=True)
        self.folders = folders
        self.seen: dict[str, set[bytes]] = {}
        """Contents by path."""
        self.stop = threading.Event()
        self._known: dict[str, tuple[int, int, int]] = {}

    def run(self) -> None:
        while not self.stop.wait(0.005):
            for folder in self.folders:
                self._look(str(folder))

    def _look(self, folder: str, depth: int = 6) -> None:
        try:
            entries = list(os.scandir(folder))
        except OSError:
            return  # it is gone already, or not for us
        for entry in entries:
            try:
                if entry.is_dir(follow_symlinks=False):
                    if depth and not entry.name.startswith("pytest-"):
                        self._look(entry.path, depth - 1)
                elif entry.is_file(follow_symlinks=False):
                    self._read(entry)
            except OSError:
                continue

    def _read(self, entry: os.DirEntry[str]) -> None:
        status = entry.stat(follow_symlinks=False)
        mark = (status.st_ino, status.st_size, status.st_mtime_ns)
        if status.st_size < LARGEST and self._known.get(entry.path) != mark:
            self.seen.setdefault(entry.path, set()).add(Path(entry.path).read_bytes())
            self._known[entry.path] = mark


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    try:
        yield made
    finally:
        made("destroy", "--yes", code=None)
        labs.assert_nothing_left(made)


def test_no_private_key_leaves_its_node(lab: labs.Lab) -> None:
    temporary = TempFiles((lab.root / "tmp", Path("/dev/shm")))
    watcher = Watcher()
    watcher.start()
    temporary.start()
    lab("--debug", "plan", "--out", str(lab.root / "plan.json"))
    lab("--debug", "apply", "--yes")
    lab("--debug", "plan", "--format", "json")
    lab("--debug", "status", "--format", "json")
    lab("--debug", "drift")
    lab("logs", "workers-0")
    for thread in (watcher, temporary):
        thread.stop.set()
        thread.join()
    assert any("swarmctl-" in path for path in temporary.seen), "temp files were seen while they were there"
    said = [text.encode() for run in lab.runs for text in (run.out, run.err)]

    nodes = ["control-0", "control-1", "workers-0", "workers-1", "workers-2"]
    keys = {node: lab.on(node, "cat /etc/swarmctl/mesh/*/private.key").strip() for node in nodes}
    modes = {lab.on(node, "stat -c '%a %U' /etc/swarmctl/mesh/*/private.key").strip() for node in nodes}
    assert modes == {"600 root"}
    assert {lab.on(node, "stat -c %a /etc/swarmctl/mesh/backbone").strip() for node in nodes} == {"700"}
    assert all(labs.KEY.fullmatch(key) for key in keys.values())
    assert len(set(keys.values())) == len(nodes)

    forms = {}
    for node, key in keys.items():
        raw = subprocess.run(["base64", "-d"], input=key.encode(), capture_output=True, check=True).stdout
        forms[node] = [key.encode(), raw, raw.hex().encode()]
    logs = list((lab.data / "logs").glob("*"))
    assert logs, "--debug wrote a log"
    for node, secrets in forms.items():
        for secret in secrets:
            for blob in watcher.seen:
                assert secret not in blob, f"key of {node} in an argv or environment"
            for path, contents in temporary.seen.items():
                assert not any(secret in content for content in contents), f"key of {node} in {path}"
            for text in said:
                assert secret not in text, f"key of {node} in an output"
            hits = [path for path in files(lab.root) if secret in path.read_bytes()]
            places = [str(path.relative_to(lab.root)) if path.is_relative_to(lab.root) else str(path) for path in hits]
            outside = [place for place in places if f"/nodes/{node}/" not in f"/{place}"]
            assert outside == [], f"key of {node} found outside its node"
            inside = [place for place in places if place not in outside]
            assert all(place.endswith("/private.key") for place in inside), inside


def files(root: Path) -> list[Path]:
    """Every regular file below `root`, and every temp file of this machine."""
    found = [path for path in root.rglob("*") if path.is_file() and not path.is_symlink()]
    for folder in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        found += [
            path
            for path in folder.glob("*")
            if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST
        ]
    return found
