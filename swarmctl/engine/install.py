"""Finds the Pulumi engine, or gets it: configured path → PATH → own cache → official download → build with Go.

Which engine fits: the same major version as the Python SDK that swarmctl is pinned to, and not older than it. The SDK
is the client of the engine's protocol; within a major version the engine understands older clients, never newer ones.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarmctl import paths, toolchain
from swarmctl.errors import SwarmError
from swarmctl.plans.events import Downloaded, Event, PhaseEnded, PhaseStarted

PATH_VARIABLE = "SWARMCTL_ENGINE"
"""Environment variable with the path of the engine to use; then no other way is tried."""
_PROBE_TIMEOUT = 30.0
_VERSION = re.compile(r"v?(\d+)\.(\d+)\.(\d+)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?")

Emit = Callable[[Event], None]


class EngineMissing(SwarmError):
    """There is no engine that fits; `details` has one line for every way tried."""


class _Unfit(Exception):
    """One program can't be used as the engine; the text is the reason."""


@dataclass(frozen=True, slots=True)
class Engine:
    """An engine that fits."""

    path: Path
    version: str
    """Without a leading "v"."""
    source: str
    """The way it was found: "configured", "PATH", "cache", "download" or "build"."""


def wanted_version() -> str:
    """The version that swarmctl downloads or builds: the one of its pinned Python SDK."""
    return toolchain.PULUMI.version


def kept() -> Path:
    """Where swarmctl keeps the engine that it got itself, there or not."""
    return paths.cache_home() / "engine" / wanted_version() / "pulumi"


def locate() -> Engine:
    """The engine, without fetching or building anything. Raises EngineMissing."""
    found = _search()
    if isinstance(found, Engine):
        return found
    raise EngineMissing(
        f"no Pulumi engine {wanted_version()} or newer was found",
        "run `swarmctl engine install`, or set SWARMCTL_ENGINE to the path of one",
        details=found,
    )


def install(emit: Emit) -> Engine:
    """The engine: found, else downloaded, else built. Safe to run many times at once. Raises EngineMissing."""
    found = _search()
    if isinstance(found, Engine):
        return found
    # Only now: what speaks HTTP is slow to import, and nearly every run finds its engine.
    from swarmctl.engine.download import DownloadFailed

    target = kept()
    with toolchain.lock(target.parent, "engine", _relay(emit)):
        if isinstance(made := _cached(), Engine):  # by another swarmctl meanwhile
            return made
        failures = []
        for source, way in (("download", _download), ("build", _build)):
            title = f"{source} of Pulumi {wanted_version()}"
            started = time.monotonic()
            emit(PhaseStarted(title))
            try:
                way(target, emit)
            except (DownloadFailed, toolchain.ToolMissing, _Unfit) as error:
                failures += [f"{source}: {error}", *(f"  {line}" for line in getattr(error, "details", ()))]
            else:
                return Engine(target, wanted_version(), source)
            finally:
                emit(PhaseEnded(title, time.monotonic() - started))
    raise EngineMissing(
        f"the Pulumi engine {wanted_version()} could not be had in any way",
        f"mend one of these ways: put Pulumi {wanted_version()} on PATH, point SWARMCTL_ENGINE to it, let this machine "
        "reach the download (or a mirror, SWARMCTL_ENGINE_URL), or install Go and let it reach its module proxy",
        details=[*found, *failures],
    )


def _search() -> Engine | list[str]:
    """The engine, or why each way of finding one failed. Raises EngineMissing when the configured one is of no use:
    what someone configured is never silently replaced by something else."""
    if configured := os.environ.get(PATH_VARIABLE):
        try:
            path = Path(configured).expanduser()
            return Engine(path, fitting_version(path), "configured")
        except (_Unfit, RuntimeError) as reason:  # the latter of a home folder that nobody has
            raise EngineMissing(
                f"{PATH_VARIABLE} names an engine that can't be used: {reason}",
                f"mend {PATH_VARIABLE} or unset it; swarmctl then looks for an engine, or gets one",
            ) from reason
    tried = [f"configured: {PATH_VARIABLE} is not set"]
    if on_path := shutil.which("pulumi"):
        try:
            return Engine(Path(on_path), fitting_version(Path(on_path)), "PATH")
        except _Unfit as reason:
            tried.append(f"PATH: {reason}")
    else:
        tried.append("PATH: no pulumi there")
    found = _cached()
    return found if isinstance(found, Engine) else [*tried, f"cache: {found}"]


def _cached() -> Engine | str:
    """The engine that swarmctl got itself, or why there is none. What was good when it was put there may since have
    been cut off or removed in part."""
    if not os.access(kept(), os.X_OK):
        return f"no {kept()}"
    try:
        return Engine(kept(), fitting_version(kept()), "cache")
    except _Unfit as reason:
        return str(reason)


def fitting_version(path: Path) -> str:
    """The version of the engine at `path`. Raises _Unfit when it isn't one, or not one that fits."""
    version = _version_of(path)
    found, wanted = _parse(version), _parse(wanted_version())
    if found is None or wanted is None:
        raise _Unfit(f"{path} says that its version is {version!r}")
    if found[0] != wanted[0] or found < wanted:
        raise _Unfit(f"{path} is {version}; needed is {wanted_version()} or a newer {wanted[0]}.x")
    return version


def _parse(version: str) -> tuple[int, int, int, bool] | None:
    """A version as something to compare; a pre-release comes before its release."""
    found = _VERSION.fullmatch(version)
    return (int(found[1]), int(found[2]), int(found[3]), found[4] is None) if found else None


def _version_of(path: Path) -> str:
    """What `path version` prints, remembered for as long as the file stays the same (a start costs 0.2-0.4 s)."""
    try:
        stat = path.resolve(strict=True).stat()
    except OSError as error:
        raise _Unfit(f"{path}: {error.strerror}") from error
    mark = [stat.st_size, stat.st_mtime_ns, stat.st_ino]
    memory = paths.cache_home() / "engine" / "versions.json"
    known = _remembered(memory)
    entry = known.get(str(path))
    if isinstance(entry, dict) and entry.get("mark") == mark:
        return str(entry["version"])
    version = _ask(path)
    # Only speed is lost where the cache can't be written.
    with contextlib.suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=memory.parent, delete=False, encoding="utf-8") as handle:
            json.dump({**known, str(path): {"mark": mark, "version": version}}, handle)
        Path(handle.name).replace(memory)
    return version


def _remembered(memory: Path) -> dict[str, object]:
    try:
        known = json.loads(memory.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _ask(path: Path) -> str:
    with tempfile.TemporaryDirectory(prefix="swarmctl-") as home:
        try:
            answer = subprocess.run(
                [str(path), "version"],
                env={"PATH": os.defpath, "HOME": home, "PULUMI_HOME": home, "PULUMI_SKIP_UPDATE_CHECK": "true"},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_TIMEOUT,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise _Unfit(f"{path} version gave no answer in {_PROBE_TIMEOUT:.0f} s") from error
        except OSError as error:
            raise _Unfit(f"{path} can't be run: {error.strerror}") from error
    if answer.returncode != 0:
        raise _Unfit(f"{path} version ended with status {answer.returncode}")
    return answer.stdout.decode("utf-8", "replace").strip().removeprefix("v")[:100]


def _download(target: Path, emit: Emit) -> None:
    from swarmctl.engine.download import fetch_release

    title = f"downloading Pulumi {wanted_version()}"
    with toolchain.staged(target) as fresh:
        fetch_release(wanted_version(), fresh, lambda done, total: emit(Downloaded(title, done, total)))
        _check(fresh)


def _build(target: Path, emit: Emit) -> None:
    with toolchain.staged(target) as fresh:
        toolchain.build(toolchain.PULUMI, fresh, _relay(emit))
        _check(fresh)


def _check(fresh: Path) -> None:
    """What was got is what was asked for. Raises _Unfit."""
    fresh.chmod(0o755)
    version = _ask(fresh)
    if version != wanted_version():
        raise _Unfit(f"what came says that it is {version!r}, not {wanted_version()!r}")


def _relay(emit: Emit) -> toolchain.Progress:
    return lambda title, done, total: emit(Downloaded(title, done, total))
