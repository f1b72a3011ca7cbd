"""One turn of keys, phase by phase. A phase begins when the one before has ended on every node that keeps up."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping

from swarmctl.backends.base import Host
from swarmctl.graph.model import Json
from swarmctl.kinds.mesh.link import start, stop
from swarmctl.kinds.mesh.rotation import restart, routes, scripts
from swarmctl.kinds.mesh.rotation.nodes import Nodes
from swarmctl.kinds.mesh.rotation.survey import Link, Survey

SETTLE = 1.0
"""Seconds that packets which are on their way get before what they are on their way through is changed."""
PATIENCE = 20.0
"""Seconds to wait for handshakes: WireGuard tries again every five."""


class Turn:
    """From what the nodes have to the end, as far as it can be reached.

    Nodes that are lost on the way are left out. A link without a handshake stays as it was, and the keys of its ends
    too; what is left in flight so is found again by its facts.
    """

    def __init__(
        self,
        nodes: Nodes,
        inputs: Mapping[str, Json],
        *,
        settle: float = SETTLE,
        patience: float = PATIENCE,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._nodes = nodes
        self._inputs = inputs
        self._settle = settle
        self._patience = patience
        self._sleep = sleep
        self._moved: dict[str, set[str]] = {}
        """The peers that a node sends to over its second interface, by node."""

    def survey(self) -> Survey:
        """What the nodes have now."""
        return Survey(self._inputs, self._nodes.facts(self._inputs["nodes"]))

    def begin(self, nodes: Collection[str]) -> None:
        """Have the next key made on each of them."""
        survey = self.survey()
        wanted = {node: scripts.head(survey) + scripts.MAKE_KEY for node in sorted(nodes) if node in survey.facts}
        self._nodes.run("key", wanted)

    def finish(self) -> list[Link]:
        """Go through all phases, from where each node is; nothing is done where nothing is in flight.

        Returns the links that have both new keys and could not be brought back to the first interface.
        """
        survey = self.survey()
        if not survey.in_flight():
            return []
        links = survey.links(survey.rotating())
        broken = [link for link in links if survey.absent(link)]
        sound = [link for link in links if link not in broken]
        turned = [link for link in sound if survey.turned(link)]
        turning = [link for link in sound if link not in turned]
        self._moved = {node: routes.moved(survey, node) for node in survey.facts}
        ready = self._second(survey, turning)
        held = self._held(survey, [link for link in turning if link not in ready])
        fresh = self._keys(survey, ready, broken, held, self._left(turning))
        back = self._first(survey, [*turned, *fresh])
        self._back(survey, [*back, *broken])
        self._end(survey, [*back, *broken], held)
        return [link for link in self._alive([*turned, *fresh]) if link not in back]

    def _alive(self, links: Iterable[Link]) -> list[Link]:
        return [link for link in links if not {link.one, link.other} & self._nodes.lost.keys()]

    def _left(self, links: Iterable[Link]) -> dict[str, list[str]]:
        """The peers that were lost on the way, by node that was not."""
        lost = self._nodes.lost
        found = {node: [across for across in peers if across in lost] for node, peers in _peers(links).items()}
        return {node: across for node, across in found.items() if across and node not in lost}

    def _second(self, survey: Survey, links: list[Link]) -> list[Link]:
        """Both ends take what the other sends over the second interface, then send over it; the links that do so."""
        peers = _peers(links)

        def set_up(node: str, host: Host) -> None:
            if survey.next(node) is None:
                start(host, survey.second)
            script = scripts.head(survey) + scripts.waiting(survey) + scripts.second(survey, node, peers[node])
            script += scripts.keep(survey, restart.ways(survey, node, peers[node]))
            host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=60.0)

        self._nodes.work("second", peers, set_up)
        ready = self._handshakes(survey, survey.second, self._alive(links))
        wanted = {}
        for node, across in _peers(ready).items():
            self._moved[node] |= set(across)
            after = routes.wanted(survey, node, self._moved[node])
            if script := routes.change(survey, node, routes.now(survey, node), after):
                wanted[node] = scripts.head(survey) + script + scripts.keep(survey)
        self._nodes.run("routes", wanted)
        if wanted:
            self._sleep(self._settle)
        return self._alive(ready)

    def _handshakes(self, survey: Survey, interface: str, links: list[Link]) -> list[Link]:
        """The links whose ends both have had a handshake, which one of them begins."""
        which = "second" if interface == survey.second else "first"
        begun: dict[str, list[str]] = {}
        for link in links:
            node = survey.initiator(link)
            begun.setdefault(node, []).append(survey.goal(link.across(node)))
        # All have begun before any is waited for: who is waited for must not wait in line itself.
        self._nodes.run(f"{which}-begin", {node: scripts.begin(interface, keys) for node, keys in begun.items()})
        wanted = {
            node: scripts.handshakes(interface, [survey.goal(across) for across in peers], self._patience)
            for node, peers in _peers(self._alive(links)).items()
        }
        printed = self._nodes.run(f"{which}-handshake", wanted, timeout=self._patience + 40.0)
        seen = {node: set(text.split()) for node, text in printed.items()}
        return [
            link for link in links if all(survey.goal(across) in seen.get(node, ()) for node, across in link.ends())
        ]

    def _held(self, survey: Survey, stuck: list[Link]) -> set[str]:
        """Nodes whose key must stay for now: somebody who answers could not be reached with the next one."""
        return {node for link in self._alive(stuck) for node in (link.one, link.other) if survey.following(node)}

    def _keys(
        self, survey: Survey, ready: list[Link], broken: list[Link], held: set[str], left: Mapping[str, list[str]]
    ) -> list[Link]:
        """The first interface with the keys of the end; nothing is sent over it now. The links for which it is so.

        Who was lost on the way comes back with the keys of before there, and so understands these nodes on the second
        interface alone: what they send to it goes there, too.
        """
        fresh = [link for link in self._alive(ready) if not {link.one, link.other} & held]
        waiting, alone = _peers(fresh), _peers(self._alive(broken))
        changing = {node for node in {*waiting, *alone, *survey.rotating()} if survey.first(node) is not None} - held
        wanted = {}
        for node in sorted(changing):
            script = ""
            if survey.following(node) or waiting.get(node):
                first = survey.first(node)
                key = first is not None and first.public_key != survey.goal(node)
                script += self._move(survey, node, left[node]) if key and node in left else ""
                script += scripts.anew(survey, node, waiting.get(node, []), key=key, waiting=True)
            gone = [across for across in alone.get(node, []) if survey.way(node, across).entry != survey.goal(across)]
            script += scripts.anew(survey, node, gone, key=False, waiting=False) if gone else ""
            if script:
                wanted[node] = scripts.head(survey) + script + scripts.keep(survey)
        self._nodes.run("keys", wanted)
        return self._alive(fresh)

    def _move(self, survey: Survey, node: str, across: Iterable[str]) -> str:
        """The script that has what goes to these peers go over the second interface."""
        before = {**routes.wanted(survey, node, self._moved[node]), **routes.now(survey, node)}
        self._moved[node] |= set(across)
        return routes.change(survey, node, before, routes.wanted(survey, node, self._moved[node]))

    def _first(self, survey: Survey, links: list[Link]) -> list[Link]:
        """Links whose ends understand each other on the first interface again."""
        return self._alive(self._handshakes(survey, survey.interface, self._alive(links)))

    def _back(self, survey: Survey, links: list[Link]) -> None:
        """Send over the first interface again; what stays on the second one keeps its routes."""
        wanted = {}
        for node, across in _peers(self._alive(links)).items():
            before = {**routes.wanted(survey, node, self._moved[node]), **routes.now(survey, node)}
            after = routes.wanted(survey, node, self._moved[node].difference(across))
            script = scripts.keepalives(survey, node, across) if survey.first(node) else ""
            script += routes.change(survey, node, before, after)
            wanted[node] = scripts.head(survey) + script + scripts.keep(survey)
        self._nodes.run("back", wanted)
        if wanted:
            self._sleep(self._settle)

    def _end(self, survey: Survey, done: list[Link], held: set[str]) -> None:
        """The next key takes the key's place, and the second interface goes where nothing needs it any more."""
        peers = _peers(self._alive(done))
        everybody = not self._nodes.lost
        nodes = sorted({*peers, *survey.in_flight()})

        def end(node: str, host: Host) -> None:
            script = scripts.head(survey) + scripts.declared(survey, peers.get(node, ()))
            if survey.following(node) and node not in held:
                generation = int(self._inputs["nodes"][node]["generation"])
                script += scripts.FINISH.replace("{generation}", str(generation))
            second = Survey(self._inputs, self._nodes.facts([node])).next(node) if node in survey.facts else None
            there = second.peers if second is not None else {}
            # Of a peer that nobody knows the node may only be out of reach.
            done_with = set(peers.get(node, ()))
            going = [key for key in there if survey.owners.get(key, "" if everybody else key) in {*done_with, ""}]
            stays = len(going) < len(there) or node in held
            script += scripts.forget(going) + scripts.keep(survey) if stays else ""
            host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=60.0)
            if not stays:
                stop(host, survey.second)
                drop = scripts.head(survey) + scripts.DROP
                host.run(["sh", "-eu", "-s"], stdin=drop.encode(), timeout=60.0)

        self._nodes.work("end", nodes, end)


def _peers(links: Iterable[Link]) -> dict[str, list[str]]:
    """Who is across, by node."""
    found: dict[str, list[str]] = {}
    for link in links:
        for node, across in link.ends():
            found.setdefault(node, []).append(across)
    return found
