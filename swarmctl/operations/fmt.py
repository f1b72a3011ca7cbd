"""Lay out the files of a folder the one way; meaning and comments stay, or the file does."""

from __future__ import annotations

import difflib
import json
import os
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from swarmctl.diagnostics import Diagnostic, errors
from swarmctl.documents.document import Document, Source
from swarmctl.documents.layout import CannotLayOut, lay_out
from swarmctl.documents.parser import parse
from swarmctl.documents.reading import Reading, display_path, list_files, read_file
from swarmctl.errors import InvalidDeclaration, NoDocuments, SwarmError


@dataclass(frozen=True, slots=True)
class Changed:
    """One file that isn't laid out the one way."""

    path: Path
    display: str
    before: bytes
    after: str

    def diff(self) -> str:
        """What changes, as a unified diff."""
        before = self.before.decode("utf-8", "replace")
        name = self.display.lstrip("/")
        lines = difflib.unified_diff(
            before.splitlines(keepends=True),
            self.after.splitlines(keepends=True),
            f"a/{name}",
            f"b/{name}",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


@dataclass(frozen=True, slots=True)
class Formatted:
    """What `fmt` found."""

    changed: tuple[Changed, ...]
    files: int
    """How many files were looked at."""
    left: tuple[tuple[str, str], ...]
    """Files that stay as they are although they aren't laid out the one way, each with the reason."""


def fmt(folder: Path, *, write: bool) -> Formatted:
    """Lay out every file of `folder`; with `write`, write those that change, each in one step.

    Raises InvalidDeclaration when any file cannot be read as YAML, and NoDocuments when there are no files; then
    nothing is written. Raises SwarmError when a file cannot be written; it then is as it was.
    """
    files, problems = list_files(folder)
    sources: dict[str, str] = {}
    changed: list[Changed] = []
    left: list[tuple[str, str]] = []
    for file in files:
        data, reading = read_file(file)
        sources |= reading.sources
        problems += errors(reading.diagnostics)
        if errors(reading.diagnostics):
            continue
        try:
            after = _proven(reading)
        except CannotLayOut as reason:
            left.append((file.display, str(reason)))
            continue
        if after.encode() != data:
            changed.append(Changed(file.path, file.display, data, after))
    if problems:
        raise InvalidDeclaration(problems, sources)
    if not files:
        raise NoDocuments(f"no declarations in {display_path(folder)}", "they are *.yaml or *.yml files")
    if write:
        for each in changed:
            replace(each.path, each.after.encode())
    return Formatted(tuple(changed), len(files), tuple(left))


def _proven(reading: Reading) -> str:
    """The text laid out, once it is certain that it says the same. Raises CannotLayOut."""
    [(display, text)] = reading.sources.items()
    if not reading.documents:
        return text  # nothing but comments
    laid = lay_out(text)
    documents, found, _ = parse(Source(display, laid.text))
    again = lay_out(laid.text)
    if _found(found) != _found(reading.diagnostics) or _meaning(documents) != _meaning(reading.documents):
        raise CannotLayOut("laid out it would not mean the same")
    if sorted(again.comments) != sorted(laid.comments) or again.text != laid.text:
        raise CannotLayOut("its comments have no certain place")
    return laid.text


def _meaning(documents: Iterable[Document]) -> list[str]:
    """The data as text, in which 1, 1.0 and true differ; only the order of the envelope's keys is left out."""
    return [
        json.dumps(dict(sorted(each.data.items())) if isinstance(each.data, dict) else each.data) for each in documents
    ]


def _found(diagnostics: Iterable[Diagnostic]) -> list[str]:
    return sorted(each.code.id for each in diagnostics)


def replace(path: Path, data: bytes) -> None:
    """Write a file in one step: whatever happens, it holds the old text or the new one, and keeps its permissions.

    A symbolic link stays one; the file that it leads to is written. Raises SwarmError.
    """
    real = path.resolve()
    try:
        mode = real.stat().st_mode & 0o7777
        # Hidden, so that no reader of the folder takes it for a declaration.
        descriptor, temporary = tempfile.mkstemp(prefix=f".{real.name}.", dir=real.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, mode)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            os.replace(temporary, real)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError as error:
        raise SwarmError(
            f"{display_path(path)} cannot be written: {error.strerror or error}",
            "it is as it was; files before it in the folder may have been laid out already",
        ) from error
