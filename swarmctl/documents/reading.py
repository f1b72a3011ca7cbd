"""A folder → all its documents, with a diagnostic for everything in it that could not be read."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from swarmctl import collector
from swarmctl.diagnostics import Code, Diagnostic, Position, Range, Severity
from swarmctl.documents.codes import NOT_A_FILE, TOO_LARGE, UNREADABLE
from swarmctl.documents.document import Document, Source
from swarmctl.documents.parser import parse
from swarmctl.documents.text import decode
from swarmctl.errors import NoDocuments

MAX_FILE = 8 * 1024 * 1024
MAX_STACK = 64 * 1024 * 1024
MAX_FILES = 10_000
SUFFIXES = (".yaml", ".yml")
STORE = ("state.json", "lease.json", "lease.lock", "keys/passphrase", "lock", "passphrase", "state/.pulumi")
"""What a stack's store holds; two of them in one folder are no accident."""


@dataclass(slots=True)
class Reading:
    """What a folder holds."""

    documents: list[Document] = field(default_factory=list)
    """In the order of files and documents."""
    diagnostics: list[Diagnostic] = field(default_factory=list)
    sources: dict[str, str] = field(default_factory=dict)
    """Path as shown to the user → text, for excerpts."""
    whole: bool = True
    """False when a file or document is missing here because it could not be read: what isn't found in `documents`
    may be declared all the same."""

    def add(self, source: Source) -> None:
        """Parse one text into this reading."""
        documents, diagnostics, whole = parse(source)
        self.documents += documents
        self.diagnostics += diagnostics
        self.whole = self.whole and whole


@dataclass(frozen=True, slots=True)
class File:
    """One file of the folder: where it is, and how it is shown."""

    path: Path
    display: str


def read_folder(folder: Path) -> Reading:
    """Read every `*.yaml` and `*.yml` under `folder`, hidden files and folders left out, sorted by path.

    Symbolic links are followed. Raises NoDocuments when there is nothing to read and nothing is wrong either.
    """
    reading = Reading()
    total = 0
    with collector.paused():
        for file in _find(folder, reading):
            data = _read(file, reading)
            if data is None:
                continue
            total += len(data)
            if total > MAX_STACK:
                _refuse(reading, file, TOO_LARGE, f"the files up to this one hold more than {MAX_STACK >> 20} MiB",
                        "move what isn't a declaration out of the folder")  # fmt: skip
                break
            source, problems = decode(file.display, data)
            reading.sources[file.display] = source.text
            if problems:
                reading.diagnostics += problems
                reading.whole = False
            else:
                reading.add(source)
    if not reading.documents and not any(each.severity is Severity.ERROR for each in reading.diagnostics):
        raise NoDocuments(
            f"no declarations in {display_path(folder)}",
            "they are *.yaml or *.yml files; `swarmctl init` writes a first stack, `-C DIR` names another folder",
        )
    return reading


def declares(file: Path, folder: Path) -> bool:
    """Whether `read_folder` would read a file of this name, which need not be there yet."""
    if not file.name.endswith(SUFFIXES):
        return False
    try:
        inner = file.parent.resolve().relative_to(folder.resolve()) / file.name
    except ValueError:
        return False
    return not any(part.startswith(".") for part in inner.parts)


def list_files(folder: Path) -> tuple[list[File], list[Diagnostic]]:
    """The files that `read_folder` would read, unopened, and what is wrong with the folder."""
    reading = Reading()
    return list(_find(folder, reading)), reading.diagnostics


def read_file(file: File) -> tuple[bytes, Reading]:
    """One file: its bytes as they are, and what they mean."""
    reading = Reading()
    with collector.paused():
        data = _read(file, reading)
        if data is not None:
            source, reading.diagnostics = decode(file.display, data)
            reading.sources[file.display] = source.text
            reading.whole = not reading.diagnostics
            if reading.whole:
                reading.add(source)
    return data or b"", reading


def display_path(path: Path) -> str:
    """`path` as it is shown: relative to the current folder where it lies inside it, else absolute."""
    try:
        here = os.getcwd()
        full = os.path.abspath(path)
    except OSError:  # the current folder was removed under us
        return str(path)
    if full == here:
        return "."
    shown = full[len(here.rstrip("/")) + 1 :] if full.startswith(here.rstrip("/") + "/") else full
    # File names are bytes; those that aren't UTF-8 must still be printable.
    return os.fsencode(shown).decode("utf-8", "backslashreplace")


def _find(folder: Path, reading: Reading) -> Iterator[File]:
    """The files in order; without recursion, and safe against folders that contain themselves by a link."""
    waiting = [folder]
    seen: set[tuple[int, int]] = set()
    count = 0
    while waiting:
        path = waiting.pop()
        try:
            if path.is_dir():
                status = path.stat()
                if (status.st_dev, status.st_ino) in seen:
                    continue
                seen.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(path), key=lambda entry: entry.name, reverse=True)
                waiting += [path / entry.name for entry in entries if _belongs(entry, reading)]
                continue
        except OSError as error:
            _unreadable(reading, File(path, display_path(path)), error)
            continue
        count += 1
        if count > MAX_FILES:
            file = File(path, display_path(path))
            _refuse(reading, file, TOO_LARGE, f"the folder holds more than {MAX_FILES:,} files",
                    "run swarmctl in the folder of one stack, or name it with -C")  # fmt: skip
            return
        yield File(path, display_path(path))


def _belongs(entry: os.DirEntry[str], reading: Reading) -> bool:
    """Whether a folder's entry is to be looked at: visible folders, and visible files by their suffix."""
    if entry.name.startswith("."):
        return False
    file = File(Path(entry.path), display_path(Path(entry.path)))
    try:
        folder = entry.is_dir()
    except OSError as error:
        _unreadable(reading, file, error)
        return False
    if not folder:
        return entry.name.endswith(SUFFIXES)
    if _is_store(entry.path):
        return False
    if entry.name.endswith(SUFFIXES):
        _refuse(reading, file, NOT_A_FILE, "a folder has the name of a file", "rename it, without .yaml")
        return False
    return True


def _is_store(path: str) -> bool:
    """Whether a folder is a stack's state (`state.store.Store`), kept beside the declarations by `state: file://…`.

    The engine's own files are no declarations, and they hold what must not be shown.
    """
    return sum(os.path.lexists(os.path.join(path, name)) for name in STORE) > 1


def _read(file: File, reading: Reading) -> bytes | None:
    """The bytes of a regular file of decent size; never waits for a pipe, never reads more than it may."""
    try:
        descriptor = os.open(file.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        with open(descriptor, "rb") as stream:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                _refuse(reading, file, NOT_A_FILE, f"this is {_what(status.st_mode)}, not a regular file",
                        "move it out of the stack's folder")  # fmt: skip
                return None
            data = b"" if status.st_size > MAX_FILE else stream.read(MAX_FILE + 1)
    except OSError as error:
        _unreadable(reading, file, error)
        return None
    if status.st_size > MAX_FILE or len(data) > MAX_FILE:
        size = max(status.st_size, len(data)) / (1 << 20)
        _refuse(reading, file, TOO_LARGE, f"this file has {size:.1f} MiB; at most {MAX_FILE >> 20} are read",
                "move it out of the stack's folder, or split it")  # fmt: skip
        return None
    return data


def _what(mode: int) -> str:
    for test, name in (
        (stat.S_ISFIFO, "a pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISCHR, "a device"),
        (stat.S_ISBLK, "a device"),
    ):
        if test(mode):
            return name
    return "something else"


def _unreadable(reading: Reading, file: File, error: OSError) -> None:
    if file.path.is_symlink() and isinstance(error, FileNotFoundError):
        message = "this symbolic link leads nowhere"
        help = "mend the link, or remove it"
    else:
        message = f"this cannot be read: {os.strerror(error.errno) if error.errno else error}"
        help = "make it readable, or move it out of the stack's folder"
    _refuse(reading, file, UNREADABLE, message, help)


def _refuse(reading: Reading, file: File, code: Code, message: str, help: str) -> None:
    start = Position(1, 1)
    reading.diagnostics.append(Diagnostic(code, message, Range(file.display, start, start), help=help))
    reading.whole = False
