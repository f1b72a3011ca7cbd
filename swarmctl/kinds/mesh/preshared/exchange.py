"""From the files that the nodes have to the same key on both ends of every tunnel, phase by phase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import UNKNOWN
from swarmctl.kinds.mesh.preshared import files, scripts
from swarmctl.kinds.mesh.rotation.nodes import Nodes

LEFT: dict[tuple[str, str], str] = {}
"""Why a node has no keys, by folder and node, as this process has found: its peers tell of it."""
APART: dict[str, frozenset[str]] = {}
"""By folder, files whose other end has another key or none, as this process has seen last: nobody may use them."""
TIMEOUT = 120.0
"""Seconds for one script: a thousand keys take less than twenty."""


class Link(NamedTuple):
    """One tunnel, as a mesh's inputs declare it."""

    maker: str
    other: str
    made: str
    """File on the one that makes the key."""
    taken: str
    """File on the other one."""


def links(inputs: Mapping[str, Json]) -> Iterator[Link]:
    """Every tunnel of the mesh whose ends have keys that are known."""
    folder = inputs["folder"]
    for name, other, one, two in _tunnels(inputs):
        if UNKNOWN not in (one, two):
            yield Link(name, other, files.path(folder, one, two), files.path(folder, two, one))


def to_come(inputs: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    """Who makes the key and the other end, of every tunnel with an end whose key is yet to be made: nothing can be in
    place for it."""
    return ((name, other) for name, other, one, two in _tunnels(inputs) if UNKNOWN in (one, two))


def _tunnels(inputs: Mapping[str, Json]) -> Iterator[tuple[str, str, Json, Json]]:
    nodes = inputs["nodes"]
    for name, node in nodes.items():
        for other in node["makesFor"]:
            if other in nodes:
                yield name, other, node["publicKey"], nodes[other]["publicKey"]


def agree(link: Link, facts: Mapping[str, Facts]) -> bool:
    """Whether both ends have the same key in place."""
    made = facts[link.maker].preshared_files.get(link.made)
    return made is not None and made == facts[link.other].preshared_files.get(link.taken)


def apart(inputs: Mapping[str, Json], facts: Mapping[str, Facts]) -> list[Link]:
    """Tunnels whose ends have not the same key; of nodes that were read."""
    return [it for it in links(inputs) if it.maker in facts and it.other in facts and not agree(it, facts)]


def note(folder: str, links: Iterable[Link]) -> None:
    """Keep in mind which tunnels have not the same key on both ends."""
    APART[folder] = frozenset(path for link in links for path in (link.made, link.taken))


class Exchange:
    """One run over a mesh. Every step may be repeated; what is on the nodes says how far it has come."""

    def __init__(self, nodes: Nodes, inputs: Mapping[str, Json]) -> None:
        self._nodes = nodes
        self._inputs = inputs
        self._keys = {name: str(node["publicKey"]) for name, node in inputs["nodes"].items()}
        self._names = {files.name(key): name for name, key in self._keys.items()}

    def run(self) -> None:
        """Do all that is missing."""
        folder = self._inputs["folder"]
        facts = self._nodes.facts(self._inputs["nodes"])
        missing = apart(self._inputs, facts)
        refused: dict[str, str] = {}
        done: list[Link] = []
        if missing:
            recipients = self._recipients(missing)
            sealed = self._sealed(missing, recipients)
            opened, refused = self._opened(sealed)
            self._settle(sealed, opened, facts)
            same = {pair for pair, (digest, _) in sealed.items() if opened.get(pair) == digest}
            done = [it for it in missing if (it.maker, it.other) in same and it.maker not in self._nodes.lost]
            self._use(done, facts)
        note(folder, {*missing}.difference(done))
        self._forget(facts)
        for name in self._keys:
            LEFT.pop((folder, name), None)
        for name, why in {**refused, **self._nodes.lost}.items():
            LEFT[folder, name] = why

    def _head(self, node: str) -> str:
        return scripts.head(self._inputs["folder"], self._keys[node])

    def _run(self, phase: str, bodies: Mapping[str, str]) -> dict[str, str]:
        wanted = {node: self._head(node) + body for node, body in bodies.items()}
        return self._nodes.run(phase, wanted, timeout=TIMEOUT)

    def _recipients(self, missing: list[Link]) -> dict[str, str]:
        """To what a key is sealed, by the node that is to open it."""
        printed = self._run("recipients", dict.fromkeys((link.other for link in missing), scripts.IDENTITY))
        found = {node: scripts.recipient(text) for node, text in printed.items()}
        for node, recipient in found.items():
            if not recipient:
                self._nodes.lost[node] = f"{node} has printed no age recipient"
        return {node: recipient for node, recipient in found.items() if recipient}

    def _sealed(self, missing: list[Link], recipients: Mapping[str, str]) -> dict[tuple[str, str], tuple[str, str]]:
        """Digest and sealed key by maker and other end."""
        wanted: dict[str, dict[str, str]] = {}
        for link in missing:
            if link.other in recipients:
                wanted.setdefault(link.maker, {})[self._keys[link.other]] = recipients[link.other]
        printed = self._run("seal", {node: scripts.seal(to) for node, to in wanted.items()})
        return {
            (node, self._names[peer]): found
            for node, text in printed.items()
            for peer, found in scripts.sealed(text).items()
            if peer in map(files.name, wanted[node])
        }

    def _opened(
        self, sealed: Mapping[tuple[str, str], tuple[str, str]]
    ) -> tuple[dict[tuple[str, str], str], dict[str, str]]:
        """Digests of what the other ends have opened, by maker and other end; and why, by node, one could not."""
        wanted: dict[str, dict[str, str]] = {}
        for (maker, other), (_, text) in sealed.items():
            wanted.setdefault(other, {})[self._keys[maker]] = text
        printed = self._run("open", {node: scripts.open_(texts) for node, texts in wanted.items()})
        found = {
            (self._names[peer], node): digest
            for node, text in printed.items()
            for peer, digest in scripts.opened(text).items()
            if peer in self._names
        }
        refused = {
            node: f"age could not open the key from {self._names.get(peer, 'somebody')}: {why}"
            for node, text in printed.items()
            for peer, why in scripts.refused(text).items()
        }
        return found, refused

    def _settle(
        self,
        sealed: Mapping[tuple[str, str], tuple[str, str]],
        opened: Mapping[tuple[str, str], str],
        facts: Mapping[str, Facts],
    ) -> None:
        """What both ends have is put in place on the first, where it is not so already."""
        wanted: dict[str, list[str]] = {}
        folder = self._inputs["folder"]
        for (maker, other), (digest, _) in sealed.items():
            own, peer = self._keys[maker], self._keys[other]
            # What was in place before was sealed as it is; nothing is to be moved then.
            placed = facts[maker].preshared_files.get(files.path(folder, own, peer)) == digest
            if opened.get((maker, other)) == digest and not placed:
                wanted.setdefault(maker, []).append(peer)
        self._run("settle", {node: scripts.settle(peers) for node, peers in wanted.items()})

    def _use(self, done: list[Link], facts: Mapping[str, Facts]) -> None:
        """Where an end had a key for this very tunnel, its peers may believe that nothing has changed."""
        wanted: dict[str, list[str]] = {}
        for link in done:
            ends = ((link.maker, link.other, link.made), (link.other, link.maker, link.taken))
            if not any(path in facts[node].preshared_files for node, _, path in ends):
                continue
            for node, across, _ in ends:
                now = facts[node].wireguard.get(self._inputs["interface"])
                peer = now.peers.get(self._keys[across]) if now is not None else None
                if peer is not None and peer.preshared:
                    wanted.setdefault(node, []).append(self._keys[across])
        name, folder = self._inputs["interface"], self._inputs["folder"]
        self._run("use", {node: scripts.use(name, folder, self._keys[node], keys) for node, keys in wanted.items()})

    def _forget(self, facts: Mapping[str, Facts]) -> None:
        """Remove keys of tunnels that are no more, and those of public keys that are no more."""
        kept = {path for link in links(self._inputs) for path in (link.made, f"{link.made}{files.NEXT}", link.taken)}
        folder = self._inputs["folder"]
        stale = {
            node: [path for path in found.preshared_files if path.startswith(f"{folder}/") and path not in kept]
            for node, found in facts.items()
        }
        self._nodes.run("forget", {node: scripts.forget(paths) for node, paths in stale.items() if paths})
