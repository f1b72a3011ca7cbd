"""Verify the meshes of a stack by real traffic: what `status` measures, deeper. Changes nothing, needs no engine.

Every node is read, and tunnels without a session are opened and waited for, by `status`' own code; only the probes
are others. In one call each node sends echoes as large as the mesh's MTU to the others and watches the underlay
meanwhile. What gets no answer, or not every one, is asked once more by itself: with small echoes, with more of them,
and for the largest that comes through.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from swarmctl.backends.base import Host
from swarmctl.hosts import mesh_probes, probes
from swarmctl.hosts.mesh_probes import HEADERS, SMALL, Request, Sounding
from swarmctl.operations import status
from swarmctl.operations.exec import Open, open_machine
from swarmctl.operations.flow_probes import FlowProbe
from swarmctl.operations.mesh_verify_checks import judge
from swarmctl.operations.mesh_verify_model import Verification
from swarmctl.operations.mesh_verify_seen import Seen, Wanted, wanted
from swarmctl.operations.nodes import Declared, declared
from swarmctl.operations.stack import Emit
from swarmctl.operations.status_model import Reading

MAX_OTHERS = 49
"""Other nodes that each node pings: in a mesh of up to 50 all of them, in a larger one those after it, round the end.
More would be above what nodes let in of echoes (`mesh.firewall.LIMIT`)."""
BURST = 100
"""Echoes of one family that come to a node in one round at the most: under that limit, too."""
MOST_ECHOES = 10
"""Per address and round."""
AGAIN = 10
"""Echoes to an address that lost some: whether it loses packets, a second look has to say."""
MOST_AGAIN = 8
"""Addresses that one node asks again with so many."""
MOST_SEARCHES = 2
"""Path MTUs that one node searches."""
MARKED = 2
"""Nodes to which each node sends the pattern that must not be seen on the underlay."""


def verify(folder: Path, *, emit: Emit, open_: Open = open_machine) -> Verification:
    """Measure all meshes of the stack in `folder`.

    Raises NoDocuments and InvalidDeclaration. Machines that are gone or don't answer are part of the result.
    """
    return measure(declared(folder, emit), open_=open_, emit=emit)


def measure(
    stack: Declared,
    *,
    open_: Open,
    emit: Emit = lambda event: None,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Verification:
    """See `verify`."""
    started = clock()
    survey = _Survey(stack)
    readings = status.take(
        stack,
        status.ping_targets(stack.members, MAX_OTHERS),
        open_=open_,
        ask=survey.ask,
        emit=emit,
        sleep=sleep,
        clock=clock,
    )
    return judge(stack, readings, survey.seen, survey.wanted, seconds=clock() - started)


@dataclass
class _Survey:
    """What is asked of each node, and what came of it."""

    stack: Declared
    seen: dict[str, Seen] = field(default_factory=dict)
    """By node; each node is asked by one thread at a time."""
    wanted: dict[str, Wanted] = field(init=False)
    """What is declared, by node: each is in one mesh."""
    pattern: str = field(default_factory=mesh_probes.new_pattern)

    def __post_init__(self) -> None:
        self.wanted = {member.node: wanted(self.stack, member) for member in self.stack.members}
        sizes = Counter(member.mesh for member in self.stack.members)
        # What a node can be sent depends on how many send to it.
        most = max((min(count - 1, MAX_OTHERS) for count in sizes.values()), default=1)
        self._count = max(1, min(MOST_ECHOES, BURST // max(1, most)))

    def ask(self, host: Host, question: status.Question) -> Reading:
        """One machine."""
        return status.read_machine(host, question, partial(self.send, question.machine.name))

    def send(self, node: str, host: Host, addresses: Sequence[str], flows: Sequence[FlowProbe]) -> probes.Answers:
        """Echoes from one node. What came of each address is noted; the answer says which of them came back at all."""
        member, seen = self.wanted[node].member, self.seen.setdefault(node, Seen())
        full = {address: self.wanted[node].mtu - HEADERS[_family(address)] for address in addresses}
        first = self._ask(
            host,
            Request(
                full,
                self._count,
                larger={address: size + 1 for address, size in [*full.items()][:1]},
                networks=member.cidrs,
                port=member.listen_port,
                marked=[address for address in addresses if _family(address) == _family(addresses[0])][:MARKED],
            ),
        )
        seen.captures += first.captures
        seen.missing |= first.missing
        seen.larger |= first.larger
        for address, echo in first.echoes.items():
            if address in full:
                seen.note(address, echo, full[address])
        self._again(host, seen, full)
        answers = {address: seen.echoes[address] for address in full if address in seen.echoes}
        pings = {address: probes.Ping(echo.received > 0, echo.least) for address, echo in answers.items()}
        return probes.Answers(pings, complete=first.complete and "ping" not in first.missing)

    def _again(self, host: Host, seen: Seen, full: Mapping[str, int]) -> None:
        """A second look: whether small echoes come through where large ones don't, and whether losses go on.

        Only at so many: where nearly nothing comes through, more echoes make it worse and tell nothing new.
        """
        known = [address for address in full if address in seen.echoes]
        silent = [address for address in known if not seen.echoes[address].received]
        small = self._ask(host, Request(dict.fromkeys(silent, SMALL), self._count)).echoes if silent else {}
        large = [address for address in silent if address in small and small[address].received]
        for address in large:
            seen.note(address, small[address], SMALL, exact=False)
        doubtful = [address for address in known if seen.echoes[address].lossy or address in large][:MOST_AGAIN]
        if not doubtful:
            return
        again = self._ask(host, Request({address: full[address] for address in doubtful}, AGAIN)).echoes
        for address in doubtful:
            if address in again and (again[address].received or address not in large):
                seen.note(address, again[address], full[address])
        narrow = [address for address in large if address in again and not again[address].received][:MOST_SEARCHES]
        if narrow:
            searches = {address: (SMALL, full[address]) for address in narrow}
            for address, size in self._ask(host, Request({}, 1, searches=searches)).largest.items():
                if address in searches:
                    seen.note(address, small[address], size)

    def _ask(self, host: Host, request: Request) -> Sounding:
        told = host.run(
            mesh_probes.argv(),
            stdin=mesh_probes.request(request, self.pattern),
            timeout=mesh_probes.TIMEOUT,
            check=False,
        )
        return mesh_probes.parse(told.text)


def _family(address: str) -> int:
    return 6 if ":" in address else 4
