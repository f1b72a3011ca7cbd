"""What an import comes into, and what it compiles to there: the stack in the folder with the Mesh of the files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from swarmctl.diagnostics import Diagnostic, Range, Severity, errors
from swarmctl.errors import InvalidDeclaration
from swarmctl.graph.names import natural
from swarmctl.mesh.wgquick import draft as drafts
from swarmctl.mesh.wgquick.codes import NO_NAME
from swarmctl.mesh.wgquick.fleet import Fleet
from swarmctl.operations import import_text

if TYPE_CHECKING:
    from swarmctl.documents.document import Document
    from swarmctl.graph.model import Graph, Machine

FAMILY = "SW3137"
"""Rule of Mesh: the machines lack the family of an endpoint. Files say what other machines have, so it is no mistake in
them; they are imported, and what has to be mended is told."""
STAND_IN = "{}.endpoint.invalid"
"""A DNS name, which may have any family (RFC 6761, 6.4), in place of such an endpoint."""


@dataclass(slots=True)
class Settled:
    """What came of a draft."""

    texts: dict[str, str]
    """By file name."""
    graph: Graph
    stand_ins: dict[str, str] = field(default_factory=dict)
    """In the graph; the endpoint that each stands for."""
    lacking: list[tuple[str, Diagnostic]] = field(default_factory=list)
    """Nodes whose endpoint is of a family that others lack, with what the rules say of it."""


class Existing:
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


def settle(drafted: drafts.Draft, existing: Existing, home: Path) -> Settled:
    """The texts and what they compile to; without endpoints that the machines have by themselves."""
    from swarmctl.graph.model import Machine

    hubs = import_text.HUB if not existing.documents else {}
    while True:
        texts = {"mesh.yaml": import_text.mesh(drafted, hubs)}
        if not existing.documents:
            stack = _stack_name(home) or drafted.name
            texts |= {"stack.yaml": import_text.stack(drafted, stack), "pools.yaml": import_text.pools(drafted)}
        found = _compiled(drafted, hubs, texts, existing)
        machines = {machine.name: machine for machine in found.graph.exported(Machine)}
        if drafted.hubs and not hubs and (labels := _labels(machines, set(drafted.hubs))):
            hubs = labels
            continue
        known = [name for name in drafted.endpoints if name in machines and _itself(drafted, machines[name])]
        if not known:
            return found
        for name in known:
            del drafted.endpoints[name]


def _compiled(drafted: drafts.Draft, hubs: dict[str, str], texts: dict[str, str], existing: Existing) -> Settled:
    """What the texts compile to, also where machines lack the family of an endpoint."""
    try:
        graph, said = _compile(texts, existing, drafted.name)
        return Settled(texts, graph, lacking=_lacking(drafted, texts, said))
    except InvalidDeclaration as error:
        wrong = errors(list(error.diagnostics))
        if not all(one.code.id == FAMILY for one in wrong):
            raise
        lacking = _lacking(drafted, texts, error.diagnostics)
    hosts = {STAND_IN.format(name): drafted.endpoints[name] for name, _ in lacking}
    other = {name: (STAND_IN.format(name), drafted.endpoints[name][1]) for name, _ in lacking}
    stood_in = replace(drafted, endpoints={**drafted.endpoints, **other})
    graph, _ = _compile({**texts, "mesh.yaml": import_text.mesh(stood_in, hubs)}, existing, drafted.name)
    return Settled(texts, graph, {f"{name}:{port}": f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
                                  for name, (host, port) in hosts.items()}, lacking)  # fmt: skip


def _lacking(drafted: drafts.Draft, texts: dict[str, str], said: Sequence[Diagnostic]) -> list[tuple[str, Diagnostic]]:
    """Endpoints are the last lines of the Mesh, one for each node."""
    nodes = sorted(drafted.endpoints, key=natural)
    before = texts["mesh.yaml"].count("\n") - len(nodes)
    found = [(one, one.range.start.line - before - 1) for one in said if one.code.id == FAMILY and one.range]
    return [(nodes[item], one) for one, item in found if 0 <= item < len(nodes)]


def family_warnings(fleet: Fleet, settled: Settled) -> list[Diagnostic]:
    """What the rules say of endpoints that others lack the family of, at the line of a file that declares it."""
    found = []
    for name, one in settled.lacking:
        node = next(node for node in fleet.nodes if node.name == name)
        place = next((peer.endpoint.place for peer in fleet.endpoints(node) if peer.endpoint), node.place)
        mend = one.help
        if one.severity is Severity.ERROR:
            mend = f"`swarmctl validate` refuses it until the machines are others: declare those, or {mend}"
        found.append(replace(one, range=place, help=mend, severity=Severity.WARNING, related=()))
    return found


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


def _compile(texts: dict[str, str], existing: Existing, mesh: str) -> tuple[Graph, Sequence[Diagnostic]]:
    """The graph, and the warnings with places as in the declarations that would be written."""
    from swarmctl.operations.stack import compile_stack, load

    with TemporaryDirectory(prefix="swarmctl-import-") as temporary:
        folder = Path(temporary)
        for name, text in texts.items():
            (folder / name).write_text(text, "utf-8")
        if existing.documents:
            (folder / "stack.yaml").write_text(existing.without(mesh), "utf-8")
        try:
            loaded, store = load(folder)
            return compile_stack(loaded, store, reveal=False).graph, loaded.diagnostics
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
