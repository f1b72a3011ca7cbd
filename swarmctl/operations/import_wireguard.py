"""Configurations of wg-quick(8) → declarations, with all that changes on the way. Reads files; asks no machine.

Private keys are read for their public halves, and kept, shown and written nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from swarmctl.diagnostics import Diagnostic, Range, Severity, errors
from swarmctl.errors import InvalidDeclaration, SwarmError, UsageError
from swarmctl.mesh.wgquick import draft as drafts
from swarmctl.mesh.wgquick.codes import NO_COUNTERPART, NO_NETWORK, READABLE
from swarmctl.mesh.wgquick.fleet import Fleet, assemble
from swarmctl.mesh.wgquick.nodes import Node, node
from swarmctl.mesh.wgquick.secrets import Hidden
from swarmctl.mesh.wgquick.text import SECRET, parse
from swarmctl.operations.import_compare import compare
from swarmctl.operations.import_fold import folded
from swarmctl.operations.import_settle import Existing, family_warnings, settle

MOST = 1 << 20
"""Bytes of a file: a thousand peers take about 200 KiB."""
NAME = "backbone"


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    mesh: str
    interface: str
    nodes: tuple[str, ...]
    topology: str
    """In words."""
    files: dict[str, str]
    """Text by file name."""
    written: tuple[Path, ...]
    """Empty when there was no folder to write to."""
    diagnostics: tuple[Diagnostic, ...]
    """Warnings: what is not as it was."""
    sources: dict[str, str] = field(default_factory=dict)
    """Text by path as shown, without keys."""


def import_wireguard(
    files: Sequence[Path], folder: Path, *, out: Path | None = None, name: str = "", interface: str = ""
) -> Imported:
    """The mesh that the files make: as one document for the stack in `folder`, or as a stack where that declares none.

    `name` is the mesh's, `interface` that of its interfaces where the files are not called after them. Raises
    InvalidDeclaration with everything that is wrong in the files, before anything is written, and UsageError.
    """
    fleet, hidden, found, sources = _read(files)
    try:
        existing = Existing(folder)
        if existing.documents:
            found += hidden.diagnostics(existing.unknown(fleet))
    except InvalidDeclaration as error:
        raise InvalidDeclaration([*found, *error.diagnostics], {**sources, **error.sources}) from None
    if errors(found):
        raise InvalidDeclaration(folded(found), sources)
    drafted = drafts.draft(fleet, name or existing.mesh or NAME, interface)
    settled = settle(drafted, existing, out or folder)
    changes = compare(fleet, settled.graph, drafted.name, settled.stand_ins)
    found += hidden.diagnostics([*drafts.undeclared(fleet), *changes, *family_warnings(fleet, settled)])
    written = _write(out, settled.texts, existing, drafted.name) if out is not None else ()
    return Imported(
        drafted.name,
        drafted.interface,
        tuple(it.name for it in fleet.nodes),
        drafted.topology,
        settled.texts,
        tuple(written),
        tuple(folded(found)),
        sources,
    )


def _read(files: Iterable[Path]) -> tuple[Fleet, Hidden, list[Diagnostic], dict[str, str]]:
    from swarmctl.documents.reading import display_path

    nodes: list[Node] = []
    problems: list[Diagnostic] = []
    sources: dict[str, str] = {}
    for path in dict.fromkeys(files):
        shown = display_path(path)
        text, mode = _contents(path, shown)
        sources[shown] = text
        sections, found = parse(shown, text)
        problems += found
        keys = [setting for section in sections for setting in section.settings if setting.key in SECRET]
        if keys and mode & 0o077:
            problems.append(_readable(shown, mode, keys[0].line))
        one, found = node(shown, sections)
        problems += found
        if one is not None:
            nodes.append(one)
    fleet, found = assemble(nodes)
    if errors(problems):
        # A file that is not understood is no missing counterpart, and may have the address that is missing.
        follow = {NO_COUNTERPART} if all(it.addresses for it in nodes) else {NO_COUNTERPART, NO_NETWORK}
        found = [one for one in found if one.code not in follow]
    found = [*problems, *found]
    hidden = Hidden(sources.values(), (it.key for it in nodes))
    return fleet, hidden, hidden.diagnostics(found), {shown: hidden.text(text) for shown, text in sources.items()}


def _contents(path: Path, shown: str) -> tuple[str, int]:
    try:
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read(MOST + 1) if stat.S_ISREG(status.st_mode) else None
    except OSError as error:
        raise UsageError(f"{shown} cannot be read: {error.strerror or error}", "name files of wg-quick(8)") from error
    if data is None or len(data) > MOST:
        what = "is no file" if data is None else f"has more than {MOST >> 20} MiB"
        raise UsageError(f"{shown} {what}", "name files of wg-quick(8), such as /etc/wireguard/wg0.conf")
    return data.decode("utf-8", "replace"), stat.S_IMODE(status.st_mode)


def _readable(shown: str, mode: int, place: Range) -> Diagnostic:
    who = "everybody" if mode & 0o004 else "others"
    return Diagnostic(
        READABLE,
        f"`{shown}` has the mode {mode:04o}, and a private key in it: {who} on this machine can read it",
        place,
        label="a private key",
        help="run `chmod 0600` on the file, on the node, too; `swarmctl mesh rotate` makes new keys after the import",
        severity=Severity.WARNING,
    )


def _write(out: Path, texts: dict[str, str], existing: Existing, mesh: str) -> list[Path]:
    if existing.documents and existing.declares(mesh):
        raise UsageError(
            f"the stack declares a Mesh {mesh} already; nothing was written",
            "take it out first, or leave --out away and take from what is printed what you need",
        )
    paths = {out / name: text for name, text in texts.items()}
    there = sorted(str(path) for path in paths if path.exists() or path.is_symlink())
    if there or (out.exists() and not out.is_dir()):
        raise UsageError(
            f"{', '.join(there) or out} is there already; nothing was written", "name another folder with --out"
        )
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path, text in paths.items():
            with open(path, "x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise SwarmError(
            f"cannot write {error.filename or out}: {error.strerror or error}", "name a folder that can be written"
        ) from error
    return list(paths)
