"""Configurations of wg-quick(8) → declarations, with all that changes on the way. Reads files; asks no machine.

Private keys are read for their public halves, and kept, shown and written nowhere.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from swarmctl.diagnostics import Diagnostic, Range, Severity, errors
from swarmctl.errors import InvalidDeclaration, SwarmError, UsageError
from swarmctl.mesh.wgquick import draft as drafts
from swarmctl.mesh.wgquick.codes import NO_NAME, READABLE
from swarmctl.mesh.wgquick.fleet import Fleet, assemble
from swarmctl.mesh.wgquick.nodes import Node, node
from swarmctl.mesh.wgquick.secrets import Hidden
from swarmctl.mesh.wgquick.text import SECRET, parse
from swarmctl.operations import import_text
from swarmctl.operations.import_compare import compare

if TYPE_CHECKING:
    from swarmctl.documents.document import Document
    from swarmctl.graph.model import Graph, Machine

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
    if errors(found):
        raise InvalidDeclaration(found, sources)
    existing = _Existing(folder)
    drafted = drafts.draft(fleet, name or existing.mesh or NAME, interface)
    if existing.documents:
        found += hidden.diagnostics(existing.unknown(fleet))
        if errors(found):
            raise InvalidDeclaration(found, sources)
    texts, graph = _settle(drafted, existing, out or folder)
    found += hidden.diagnostics([*drafts.undeclared(fleet), *compare(fleet, graph, drafted.name)])
    written = _write(out, texts, existing, drafted.name) if out is not None else ()
    return Imported(
        drafted.name,
        drafted.interface,
        tuple(it.name for it in fleet.nodes),
        drafted.topology,
        texts,
        tuple(written),
        tuple(found),
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
    # A file that is not understood is no missing counterpart.
    found = problems if errors(problems) else [*problems, *found]
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
        f"{shown} has the mode {mode:04o}, and a private key in it: {who} on this machine can read it",
        place,
        label="a private key",
        help=f"run `chmod 0600 {shown}`, on the node, too; `swarmctl mesh rotate` makes new keys after the import",
        severity=Severity.WARNING,
    )


class _Existing:
    """The stack that the mesh comes into; without documents where there is none."""

    def __init__(self, folder: Path) -> None:
        from swarmctl.documents.reading import list_files, read_folder

        self.documents: list[Document] = []
        if list_files(folder)[0]:
            reading = read_folder(folder)
            if errors(reading.diagnostics):
                raise InvalidDeclaration(reading.diagnostics, reading.sources)
            self.documents = reading.documents
        self.folder = folder

    def _of(self, kind: str) -> list[dict[str, object]]:
        return [it.data for it in self.documents if isinstance(it.data, dict) and it.data.get("kind") == kind]

    @property
    def mesh(self) -> str:
        """The mesh that its clusters name, where that is one."""
        specs = [data.get("spec") for data in self._of("Cluster")]
        named = {str(spec.get("mesh")) for spec in specs if isinstance(spec, dict) and spec.get("mesh")}
        return named.pop() if len(named) == 1 else ""

    def declares(self, name: str) -> bool:
        """Whether there is a Mesh of that name."""
        metadata = [data.get("metadata") for data in self._of("Mesh")]
        return any(isinstance(it, dict) and it.get("name") == name for it in metadata)

    def without(self, name: str) -> str:
        """Its documents as one text; without the Mesh that is imported anew."""
        import yaml

        def other(data: object) -> bool:
            metadata = data.get("metadata") if isinstance(data, dict) else None
            mesh = isinstance(data, dict) and data.get("kind") == "Mesh"
            return not (mesh and isinstance(metadata, dict) and metadata.get("name") == name)

        return yaml.safe_dump_all([it.data for it in self.documents if other(it.data)], sort_keys=False)

    def unknown(self, fleet: Fleet) -> list[Diagnostic]:
        """Nodes of files that the stack does not have."""
        from swarmctl.declarations import fleet as declared
        from swarmctl.declarations.words import did_you_mean, listing, sentences
        from swarmctl.operations.validate import validate

        names = {it.name for it in declared.nodes(validate(self.folder).inventory)}
        return [
            Diagnostic(
                NO_NAME,
                f"the stack has no node `{it.name}`",
                it.called[1] if it.called else it.place,
                label="no such node",
                help=sentences(did_you_mean(it.name, names), f"its nodes: {listing(sorted(names)[:8])}"),
            )
            for it in fleet.nodes
            if it.name not in names
        ]


def _settle(drafted: drafts.Draft, existing: _Existing, home: Path) -> tuple[dict[str, str], Graph]:
    """The texts and what they compile to; without endpoints that the machines have by themselves."""
    from swarmctl.graph.model import Machine

    hubs = import_text.HUB if not existing.documents else {}
    while True:
        texts = {"mesh.yaml": import_text.mesh(drafted, hubs)}
        if not existing.documents:
            stack = _stack_name(home) or drafted.name
            texts |= {"stack.yaml": import_text.stack(drafted, stack), "pools.yaml": import_text.pools(drafted)}
        graph = _compile(texts, existing, drafted.name)
        machines = {machine.name: machine for machine in graph.exported(Machine)}
        if drafted.hubs and not hubs and (found := _labels(machines, set(drafted.hubs))):
            hubs = found
            continue
        known = [name for name in drafted.endpoints if name in machines and _itself(drafted, machines[name])]
        if not known:
            return texts, graph
        for name in known:
            del drafted.endpoints[name]


def _stack_name(home: Path) -> str:
    """A stack's name made of its folder's."""
    from swarmctl.mesh.wgquick.nodes import label

    return label(home.resolve().name)


def _labels(machines: dict[str, Machine], hubs: set[str]) -> dict[str, str]:
    """A label that these machines have, and no other."""
    pairs = {pair for name in hubs & machines.keys() for pair in machines[name].labels.items()}
    for key, value in sorted(pairs):
        if {name for name, machine in machines.items() if machine.labels.get(key) == value} == hubs:
            return {key: value}
    return {}


def _itself(drafted: drafts.Draft, machine: Machine) -> bool:
    """Whether others reach a machine by its own address as its files say."""
    host, port = drafted.endpoints[machine.name]
    if host == drafts.NOWHERE:
        return machine.endpoint is None
    return machine.endpoint == "" and machine.underlay[:1] == (host,) and port == drafted.port


def _compile(texts: dict[str, str], existing: _Existing, mesh: str) -> Graph:
    from swarmctl.operations.stack import compile_stack, load

    with TemporaryDirectory(prefix="swarmctl-import-") as temporary:
        folder = Path(temporary)
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
        if existing.documents:
            (folder / "stack.yaml").write_text(existing.without(mesh), "utf-8")
        try:
            loaded, store = load(folder)
            return compile_stack(loaded, store, reveal=False).graph
        except InvalidDeclaration as error:
            raise _of_texts(error, temporary) from None


def _of_texts(error: InvalidDeclaration, temporary: str) -> InvalidDeclaration:
    """The error with places as in the declarations that would have been written."""

    def shown(path: str) -> str:
        return path.removeprefix(temporary).lstrip("/")

    def moved(place: Range | None) -> Range | None:
        return replace(place, file=shown(place.file)) if place else None

    problems = [
        replace(
            it,
            range=moved(it.range),
            related=tuple(replace(more, range=moved(more.range) or more.range) for more in it.related),
        )
        for it in error.diagnostics
    ]
    return InvalidDeclaration(problems, {shown(path): text for path, text in error.sources.items()})


def _write(out: Path, texts: dict[str, str], existing: _Existing, mesh: str) -> list[Path]:
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
