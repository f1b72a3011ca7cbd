"""Machines whose own facts contradict what is declared for them: what that is about is left alone there, and the others
go on. Every plan says so, and no run that left something alone ends well."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from swarmctl.errors import PRECEDENCE, NothingDone, PartlyDone, SwarmError

if TYPE_CHECKING:
    from swarmctl.graph.model import Graph, Unfit

_SHOWN = 20
"""Told one by one."""
_HINT = "mend each as it says, then run the same command again; all other machines go on meanwhile"


def of(graph: Graph, targets: Collection[str] = (), held: Collection[str] = ()) -> tuple[Unfit, ...]:
    """Those of a stack, in the order of the declarations; of a run for `targets`, in which it must not touch what is
    `held`, those that it has to do with."""
    from swarmctl.graph.model import Unfit

    found = graph.exported(Unfit)
    if not targets:
        return tuple(found)
    # What is not made is in no graph, so that only its name tells.
    meant = {it.address for it in found if it.address in graph.resources and str(it.address) not in held}
    return tuple(
        it
        for it in found
        if it.address in meant
        or any(str(it.address) == one or str(it.address).startswith(f"{one}[") for one in targets)
    )


def notes(found: Iterable[Unfit]) -> list[str]:
    """As a plan notes them."""
    return [f"{it.problem.message} ({it.problem.code.id})" for it in found]


def judge(found: Sequence[Unfit], others: Callable[[], None], *, done: bool = False) -> None:
    """Raises what `others` does, with what was `found` told beside it; when that returns, an error of its own.

    `done`: whether something was changed. Of two errors the one whose exit code counts first ends the run.
    """
    if not found:
        others()
        return
    nodes = {it.node for it in found}
    what = (
        f"{len(nodes)} machines are not as declared, and left" if len(nodes) > 1 else "one machine is not as declared"
    )
    what += " alone in that" if len(nodes) > 1 else ", and left alone in that"
    own = (PartlyDone if done else NothingDone)(what, _HINT, details=_told(found))
    try:
        others()
    except SwarmError as error:
        if PRECEDENCE.index(own.exit_code) < PRECEDENCE.index(error.exit_code):
            own.details = (*own.details, error.message, *error.details)
            raise own from error
        error.details = (*error.details, *own.details)
        raise
    raise own


def _told(found: Sequence[Unfit]) -> list[str]:
    lines = []
    for it in found[:_SHOWN]:
        at = it.problem.range
        place = f"{at.file}:{at.start.line}:{at.start.column}: " if at else ""
        lines += [f"{place}{it.problem.message} ({it.problem.code.id})", f"    help: {it.problem.help}"]
    left = len(found) - _SHOWN
    return [*lines, f"and {left} more; --format json has them all"] if left > 0 else lines
