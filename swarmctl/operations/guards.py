"""Nodes with guarded changes, asked many at a time: put off, confirmed, undone; and what runs that died have left."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from swarmctl import backends
from swarmctl.backends.base import Fence, Host
from swarmctl.errors import SwarmError
from swarmctl.hosts import guard
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.engine.guarded import Made
    from swarmctl.operations.stack import Emit
    from swarmctl.state.lease import Lease
    from swarmctl.state.store import Store

THREADS = 32
"""Nodes that are asked at the same time."""
TIMEOUT = 30.0
"""Seconds that a node may take to undo a change, or to confirm it; it needs less than one."""
NAMED = 5
Open = Callable[[Mapping[str, Any], Fence | None], Host]


@dataclass(frozen=True, slots=True)
class Told:
    """What one node answered; `error` when it did not."""

    answer: guard.Answer
    error: str = ""


class Nodes:
    """The nodes of one run, by name, with the inputs that name their hosts."""

    def __init__(
        self, hosts: Mapping[str, Mapping[str, Any]], fence: Fence | None, open_: Open = backends.open_host
    ) -> None:
        self._hosts = dict(hosts)
        self._fence = fence
        self._open = open_

    def tell(self, names: Iterable[str], script: Callable[[str], str], *, done: bool) -> dict[str, Told]:
        """Run a script of `hosts.guard`'s on each; with `done` its timer is ended where nothing is left to watch."""

        def one(name: str) -> Told:
            try:
                host = self._open(self._hosts[name], self._fence)
                argv, text = guard.ARGV, script(name).encode()
                answer = guard.parse(host.run(argv, stdin=text, timeout=TIMEOUT).text)
                if done and answer.word in ("confirmed", "undone", "none"):
                    host.stop_service(guard.SERVICE)
            except SwarmError as error:
                return Told(guard.Answer(""), error.message)
            return Told(answer)

        return _each(list(names), one)


def _each(names: Sequence[str], one: Callable[[str], Told]) -> dict[str, Told]:
    with ThreadPoolExecutor(max_workers=max(1, min(THREADS, len(names)))) as pool:
        return dict(zip(names, pool.map(one, names), strict=True))


def left(store: Store, below: int | None = None) -> list[Made]:
    """Guarded changes in journals of runs whose result is not published; with `below` of those with a smaller token,
    which are kept from beginning anything more."""
    from swarmctl.engine.guarded import made
    from swarmctl.state import journal, runs

    found: list[Made] = []
    for run in store.runs():
        if below is not None:
            if run.header.token >= below:
                continue
            runs.close(run)
        found += made(journal.read(run.journal))
    return found


def undo_left(store: Store, lease: Lease, emit: Emit, open_: Open = backends.open_host) -> None:
    """Have undone at once what runs that are over have not confirmed, so that it is not undone under the feet of this
    one. Their journals tell of it until this run has taken them in, so it is done again when this one dies, too."""
    found = left(store, lease.token) if store.runs() else []
    if not found:
        return
    fence = Fence(store.identity, lease.token, lease.holder.owner)
    hosts = {it.node: it.host for it in found}
    told = Nodes(hosts, fence, open_).tell(sorted(hosts), lambda name: guard.undo(), done=True)
    undone = [name for name, it in told.items() if it.answer.word == "undone"]
    if undone:
        emit(Note(f"a run that was cut off had not confirmed its changes: undone on {named(undone)}", warning=True))
    silent = [name for name, it in told.items() if it.answer.word not in ("undone", "none")]
    if silent:
        text = "could not be asked to undo what a run that was cut off did there; by themselves they do so in time"
        emit(Note(f"{named(silent)} {text}", warning=True))


def tell_pending(store: Store, emit: Emit, open_: Open = backends.open_host) -> None:
    """Say what is not confirmed yet on nodes that runs have changed whose result is not published."""
    hosts = {it.node: it.host for it in left(store)}
    lines: dict[str, str] = {}

    def one(name: str) -> Told:
        try:
            printed = open_(hosts[name], None).run(("sh", "-c", f"date +%s; {guard.READ}"), timeout=TIMEOUT).text
            now, _, part = printed.partition("\n")
            if found := guard.pending(part, int(now)):
                lines[name] = found.text
        except (SwarmError, ValueError):
            pass  # whoever reads the node tells what is wrong with it
        return Told(guard.Answer(""))

    _each(sorted(hosts), one)
    for name, text in sorted(lines.items()):
        emit(Note(f"{name}: {text}", warning=True))


def named(names: Sequence[str]) -> str:
    """Some of the names."""
    more = f" and {len(names) - NAMED:,} more nodes" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"
