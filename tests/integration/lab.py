"""A lab of its own for one test: folders, a stack, and `swarmctl` run as a user would run it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

STACKS = Path(__file__).resolve().parents[2] / "stacks"


@dataclass
class Run:
    """One finished command line."""

    args: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as JSON: with `--format json` nothing else may be there."""
        return json.loads(self.out)


def ended(process: subprocess.Popen[str], args: tuple[str, ...], *, code: int | None, timeout: float) -> Run:
    """Wait for the end of a command line and expect `code` (None: any) and no traceback."""
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"{args} did not end within {timeout} s\n{out}\n{err}") from None
    run = Run(args, process.returncode, out, err)
    assert "Traceback (most recent call last)" not in out + err, out + err
    if code is not None:
        assert run.code == code, f"swarmctl {' '.join(args)}: exit {run.code}, not {code}\n{out}\n{err}"
    return run


@dataclass
class Lab:
    """A copy of a stack with data, cache and temp folders of its own."""

    root: Path
    stack: Path
    env: dict[str, str]
    runs: list[Run] = field(default_factory=list)

    def start(self, *args: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """Start `swarmctl -C STACK …` in a session of its own, output captured."""
        return subprocess.Popen(
            [sys.executable, "-m", "swarmctl", "-C", str(self.stack), *args],
            env=self.env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=self.root,
        )

    def __call__(self, *args: str, code: int | None = 0, timeout: float = 180) -> Run:
        """Run it to its end and expect `code` (None: any)."""
        run = ended(self.start(*args), args, code=code, timeout=timeout)
        self.runs.append(run)
        return run

    def edit(self, file: str, old: str, new: str) -> None:
        """Change a declaration."""
        path = self.stack / file
        text = path.read_text()
        assert text.count(old) == 1, f"{old!r} is there {text.count(old)} times in {file}"
        path.write_text(text.replace(old, new))

    def on(self, node: str, script: str, *, check: bool = True, timeout: float = 30) -> str:
        """Run a shell script on a node and return what it prints."""
        run = self("exec", node, "--", "sh", "-c", script, code=None, timeout=timeout)
        assert not check or run.code == 0, f"{script}\n{run.out}\n{run.err}"
        return run.out

    @property
    def data(self) -> Path:
        """swarmctl's data folder of this lab."""
        return Path(self.env["XDG_DATA_HOME"]) / "swarmctl"

    def nodes(self) -> list[dict[str, Any]]:
        """The nodes of `status`."""
        found: list[dict[str, Any]] = self("status", "--format", "json", code=None).json["nodes"]
        return found


def make(root: Path, stack: str = "lab") -> Lab:
    """A lab below `root` with a copy of one of the project's stacks."""
    folder = root / "stack"
    shutil.copytree(STACKS / stack, folder)
    keep = ("PATH", "HOME", "LANG", "SWARMCTL_ENGINE", "GOPROXY", "GOFLAGS", "GOSUMDB", "SSL_CERT_FILE", "VIRTUAL_ENV")
    env = {name: os.environ[name] for name in keep if name in os.environ}
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    env |= {
        "XDG_DATA_HOME": str(root / "data"),
        "XDG_CACHE_HOME": cache,
        "TMPDIR": str(root / "tmp"),
        "NO_COLOR": "1",
        "COLUMNS": "100",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONWARNINGS": "error::ResourceWarning",
    }
    (root / "tmp").mkdir()
    return Lab(root, folder, env)


def footprint(root: Path) -> dict[str, list[str]]:
    """What is left on this machine that belongs to a lab below `root`: processes, mounts, files."""
    text, data = str(root), str(root / "data")
    here = os.readlink("/proc/self/ns/mnt")
    processes = []
    for proc in Path("/proc").iterdir():
        if not proc.name.isdigit() or int(proc.name) == os.getpid():
            continue
        try:
            environ = (proc / "environ").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            command = (proc / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            elsewhere = os.readlink(proc / "ns" / "mnt") != here
            mounts = (proc / "mountinfo").read_text() if elsewhere else ""
        except OSError:
            continue
        if text in environ or text in command or data in mounts:
            processes.append(f"{proc.name} {command or '[no command line]'}")
    mounts_ = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if data in line]
    files = [str(path) for path in (root / "data").rglob("*")] if (root / "data").exists() else []
    lab_files = [path for path in files if "/lab/" in path or "/stacks/" in path]
    return {"processes": processes, "mounts": mounts_, "files": lab_files}


def assert_nothing_left(lab: Lab) -> None:
    """Neither process, mount nor file of the lab is left; waits a moment for what is just ending."""
    deadline = time.monotonic() + 15  # a busy machine takes a while to end what was killed
    while True:
        left = footprint(lab.root)
        if not any(left.values()):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"left behind: {json.dumps(left, indent=1)}")
        time.sleep(0.1)


def tree(folder: Path) -> dict[str, tuple[int, int]]:
    """Every file below `folder` with size and modification time in ns; log files are left out."""
    found = {}
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink() and "/log/" not in str(path):
            status = path.stat()
            found[str(path.relative_to(folder))] = (status.st_size, status.st_mtime_ns)
    return found


def documents(file: Path) -> list[dict[str, Any]]:
    """The YAML documents of a file."""
    return [document for document in yaml.safe_load_all(file.read_text()) if document]


KEY = re.compile(r"[A-Za-z0-9+/]{43}=")
"""A WireGuard key, private or public, in base64."""
