"""Go programs that swarmctl can build for itself, each from a module pinned in toolchain/ (go.mod and go.sum).

The pins are read from those files, so a version stands in one place. Built programs are kept in the user's cache
under their version: another pin is another file, and an old one is never taken for a new one.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from swarmctl import assets, paths
from swarmctl.errors import SwarmError

Progress = Callable[[str, int, int], None]
"""Called as (what is going on, steps done, steps in all or 0 when that isn't known)."""

BUILD_TIMEOUT = 3600.0
"""Seconds for one build; the engine takes about four minutes on two cores."""
_REPORT_LINES = 15
"""Lines of a failed build that are shown; the reason stands at the end."""


class ToolMissing(SwarmError):
    """A program could not be had; `details` says why for every way that was tried."""


@dataclass(frozen=True, slots=True)
class Program:
    """One Go program pinned in toolchain/<name>."""

    name: str
    """The folder under toolchain/ and the executable."""
    module: str
    """The Go module whose version counts."""
    package: str
    """The package that is built."""
    version_variable: str = ""
    """The Go variable that a release build sets to "v" and the version."""

    @property
    def source(self) -> Path:
        """The folder with go.mod and go.sum."""
        return assets.folder("toolchain") / self.name

    @property
    def version(self) -> str:
        """The pinned version without the leading "v"."""
        return _pinned(self.source / "go.mod", self.module)


PULUMI = Program(
    name="pulumi",
    module="github.com/pulumi/pulumi/pkg/v3",
    package="github.com/pulumi/pulumi/pkg/v3/cmd/pulumi",
    version_variable="github.com/pulumi/pulumi/sdk/v3/go/common/version.Version",
)
WIREGUARD_GO = Program(name="wireguard-go", module="golang.zx2c4.com/wireguard", package="golang.zx2c4.com/wireguard")


@cache
def _pinned(go_mod: Path, module: str) -> str:
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} v(\S+)", go_mod.read_text("utf-8"), re.MULTILINE)
    if not found:
        raise ValueError(f"{go_mod} does not pin {module}")
    return found[1]


def cached(program: Program) -> Path:
    """Where a built `program` is kept, there or not: `CACHE/bin/NAME-VERSION`."""
    return paths.cache_home() / "bin" / f"{program.name}-{program.version}"


def find(program: Program) -> Path | None:
    """`program` from PATH, else from the cache; None when it has to be built first. Starts nothing."""
    if on_path := shutil.which(program.name):
        return Path(on_path)
    kept = cached(program)
    return kept if os.access(kept, os.X_OK) else None


def wireguard_go() -> Path | None:
    """The userspace WireGuard from PATH or the cache; None when there is none yet."""
    return find(WIREGUARD_GO)


_PASSED = re.compile(
    r"PATH|HOME|TMPDIR|LANG|GO[A-Z0-9]*|XDG_(CACHE|CONFIG)_HOME|SSL_CERT_(FILE|DIR)|(?i:(https?|no|all)_proxy)|GIT_SSL_CAINFO"
)
"""The environment that Go gets: its own settings, where it caches, and how it reaches its module proxy."""


def obtain(program: Program, progress: Progress | None = None) -> Path:
    """`program` from PATH or the cache, else built now. Raises ToolMissing when that can't be done."""
    return find(program) or build(program, cached(program), progress)


def build(program: Program, target: Path, progress: Progress | None = None) -> Path:
    """Build `program` with Go and put it at `target`; a build by another process is waited for and taken.

    Every module is checked by Go against the committed go.sum. Raises ToolMissing.
    """
    with lock(target.parent, program.name, progress):
        if os.access(target, os.X_OK):
            return target
        go = shutil.which("go")
        if go is None:
            raise ToolMissing(f"{program.name} can't be built: go is not on PATH", "install Go from your distribution")
        with staged(target) as fresh:
            _compile(go, program, fresh, progress or _silent)
    return target


@contextmanager
def lock(folder: Path, name: str, progress: Progress | None = None) -> Iterator[None]:
    """Hold `name` in `folder` against other swarmctl processes; waits for one that makes the same, and says so.

    Raises SwarmError when the folder can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        opened = (folder / f".{name}.lock").open("w")
    except OSError as error:
        raise SwarmError(
            f"{name} can't be kept in {folder}: {error.strerror}", "make it writable, or set XDG_CACHE_HOME"
        ) from None
    with opened as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            (progress or _silent)(f"waiting for another swarmctl that is making {name}", 0, 0)
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A path beside `target` to write to; it becomes `target`, executable, in one step when the block succeeds.

    Only to be used under `lock`: what a killed run left of the same target is swept away first.
    """
    for left in target.parent.glob(f".{target.name}-*"):
        shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fresh = folder / target.name
        yield fresh
        fresh.chmod(0o755)
        with fresh.open("rb") as handle:
            os.fsync(handle.fileno())
        fresh.replace(target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _compile(go: str, program: Program, target: Path, progress: Progress) -> None:
    modules = sum(1 for line in (program.source / "go.sum").read_text("utf-8").splitlines() if "/go.mod " not in line)
    fetched = 0

    def on_fetch(line: str) -> None:
        nonlocal fetched
        if line.startswith("go: downloading "):
            fetched += 1
            progress(f"fetching the Go modules of {program.name}", fetched, modules)

    listing = _go(go, program, ("list", "-mod=readonly", "-deps", program.package), on_fetch)
    packages = len(listing)
    compiled = 0

    def on_package(_line: str) -> None:
        nonlocal compiled
        compiled += 1
        progress(f"building {program.name} {program.version} with Go", min(compiled, packages), packages)

    flags = ["-s", "-w"]
    if program.version_variable:
        flags += ["-X", f"{program.version_variable}=v{program.version}"]
    arguments = ("build", "-mod=readonly", "-trimpath", "-buildvcs=false", "-v", "-ldflags", " ".join(flags))
    _go(go, program, (*arguments, "-o", str(target), program.package), on_package)
    progress(f"building {program.name} {program.version} with Go", packages, packages)


def _go(go: str, program: Program, arguments: Sequence[str], on_line: Callable[[str], None]) -> list[str]:
    """Run Go in the pinned module; lines of standard error go to `on_line`. Returns the lines of standard output."""
    # No C compiler is needed, and no go.work of a folder above may change what is built.
    passed = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    environment = {**passed, "CGO_ENABLED": "0", "GOWORK": "off", "GO111MODULE": "on"}
    last: deque[str] = deque(maxlen=_REPORT_LINES)
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output,
        subprocess.Popen(
            [go, *arguments],
            cwd=program.source,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        ) as process,
    ):
        watchdog = threading.Timer(BUILD_TIMEOUT, process.kill)
        watchdog.start()
        try:
            for line in process.stderr or ():
                last.append(line.rstrip())
                on_line(line)
            status = process.wait()
        finally:
            watchdog.cancel()
            process.kill()
        if status != 0:
            raise ToolMissing(
                f"{program.name} can't be built: go {arguments[0]} ended with status {status}",
                "see the lines above; Go needs its module proxy for the first build",
                details=last,
            )
        output.seek(0)
        return output.read().splitlines()


def _silent(_title: str, _done: int, _total: int) -> None:
    return
