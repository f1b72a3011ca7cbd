"""The folder of one changing run: what it set out to do, its journal, the engine's private copy of the state."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from swarmctl.state import files
from swarmctl.state.journal import CLOSED
from swarmctl.state.model import ResourceHeader, RunHeader
from swarmctl.state.published import StateTooNew

Json = Any
SCHEMA = "swarmctl/run/v1"
_FAMILY = "swarmctl/run/v"
VARIABLE = "SWARMCTL_RUN"
"""Tells the provider, and who looks for a dead run's processes, the absolute path of the run's folder."""


@dataclass(frozen=True, slots=True)
class RunFolder:
    """`runs/<token>/`."""

    path: Path
    header: RunHeader

    @property
    def journal(self) -> Path:
        """What was begun and what came of it, see `state.journal`."""
        return self.path / "journal"

    @property
    def state(self) -> Path:
        """The engine's state store: a copy, which nobody else reads while the engine runs."""
        return self.path / "state"

    @property
    def project(self) -> Path:
        """The folder that the engine is started in."""
        return self.path / "project"

    @property
    def environment(self) -> dict[str, str]:
        """What the engine and its provider get beside their own environment."""
        return {VARIABLE: str(self.path)}


def begin(folder: Path, header: RunHeader) -> RunFolder:
    """Make the folder of a run below `folder`, with its header on the disk."""
    path = (folder / str(header.token)).absolute()
    files.folder(path)
    for part in ("state", "project"):
        files.folder(path / part)
    files.write(path / "run.json", encode(header))
    return RunFolder(path, header)


def close(run: RunFolder) -> None:
    """Let the run begin nothing more, should it still work somewhere; then its journal can be read. See `CLOSED`."""
    with contextlib.suppress(FileNotFoundError):  # another one has recovered it and removed its folder
        os.close(os.open(run.path / CLOSED, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))


def finish(run: RunFolder) -> None:
    """Remove the folder: its result is published, or there is none."""
    remove(run.path)


def remove(path: Path) -> None:
    """Remove the folder of a run that is over; under another name first, so that half of it is not taken for a run."""
    over = path
    if path.suffix != ".over":
        over = path.with_name(f"{path.name}.over")
        os.rename(path, over)
        files.sync(path.parent)
    shutil.rmtree(over)


def put_aside(path: Path) -> Path:
    """Keep the folder of a run that nobody can read, under a name that says so."""
    aside = path.with_name(f"{path.name}.broken")
    os.rename(path, aside)
    files.sync(path.parent)
    return aside


@dataclass(frozen=True, slots=True)
class Found:
    """What lies in the folder with the runs."""

    runs: tuple[RunFolder, ...] = ()
    """Those whose result was not published when they ended, or that go on; by token."""
    empty: tuple[Path, ...] = ()
    """Folders of runs that changed nothing: cut off before the header was whole, or over already."""
    broken: tuple[Path, ...] = ()
    """Folders of runs that did change something, and whose header can't be read."""


def found(folder: Path) -> Found:
    """Look at all runs. Raises `StateTooNew` for one of a newer swarmctl."""
    runs: list[RunFolder] = []
    empty: list[Path] = []
    broken: list[Path] = []
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if path.suffix == ".over":
            empty.append(path)
        if not path.name.isdecimal():
            continue
        try:
            runs.append(RunFolder(path, decode((path / "run.json").read_bytes())))
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
            journal = path / "journal"
            (broken if journal.exists() and journal.stat().st_size else empty).append(path)
    return Found(tuple(sorted(runs, key=lambda run: run.header.token)), tuple(empty), tuple(broken))


def encode(header: RunHeader) -> bytes:
    """The content of `run.json`."""
    return json.dumps({"schema": SCHEMA, **asdict(header)}, separators=(",", ":")).encode() + b"\n"


def decode(content: bytes) -> RunHeader:
    """Read `run.json`.

    Raises `StateTooNew`; for what is none `ValueError`, `KeyError`, `TypeError` or `AttributeError`.
    """
    document = json.loads(content)
    schema = document.pop("schema")
    if str(schema).startswith(_FAMILY) and schema != SCHEMA:
        raise StateTooNew(
            "a run that was cut off was begun by a newer swarmctl, and this one can't read what it did",
            "install that version, or a newer one, and run `swarmctl apply` with it; nothing was changed",
        )
    if schema != SCHEMA:
        raise ValueError("no header of a run")
    document["resources"] = {address: _resource(found) for address, found in document["resources"].items()}
    header = RunHeader(**document)
    if type(header.token) is not int or type(header.generation) is not int:
        raise TypeError("token and generation are numbers")
    return header


def _resource(document: Mapping[str, Json]) -> ResourceHeader:
    fields = dict(document)
    fields["dependencies"] = tuple(fields["dependencies"])
    fields["property_dependencies"] = {name: tuple(of) for name, of in fields["property_dependencies"].items()}
    return ResourceHeader(**fields)
