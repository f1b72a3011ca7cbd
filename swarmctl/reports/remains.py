"""What `swarmctl doctor --stack` found and did, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from swarmctl.operations.remains import Finding, Standing
from swarmctl.reports.console import amount, paint, safe

if TYPE_CHECKING:
    from swarmctl.operations.doctor_stack import Examination

_TITLES = {
    Standing.UNKNOWN: ("exists and no state knows it", "exist and no state knows them"),
    Standing.MISSING: ("is in the state and does not exist", "are in the state and do not exist"),
    Standing.UNREADABLE: ("cannot be read", "cannot be read"),
}
_MARKS = {Standing.UNKNOWN: ("?", "yellow"), Standing.MISSING: ("-", "red"), Standing.UNREADABLE: ("!", "red")}


def render(examination: Examination, *, color: bool) -> str:
    """By standing, each thing with where it belongs; what was done; how to go on."""
    findings = examination.findings
    name = safe(examination.stack)
    if not findings:
        return f"All of {name} that exists is in the state, and all of the state exists.\n"
    lines: list[str] = []
    for standing in Standing:
        here = [it for it in findings if it.standing is standing]
        if here:
            one, many = _TITLES[standing]
            title = f"{amount(len(here), 'thing')} of {name} {one if len(here) == 1 else many}"
            lines += [paint(title, "bold", color=color), *_list(here, examination, color=color), ""]
    return "\n".join([*lines, *_next(examination, color=color)]) + "\n"


def listed(findings: Sequence[Finding], *, color: bool) -> str:
    """What is about to be removed."""
    title = paint(f"{amount(len(findings), 'thing')} will be removed", "bold", color=color)
    width = max(len(_place(it)) for it in findings)
    lines = [f"  {paint('-', 'red', color=color)} {_place(it):<{width}}  {safe(it.what)}" for it in findings]
    return "\n".join([title, *lines]) + "\n"


def to_json(examination: Examination) -> dict[str, Any]:
    """The `swarmctl/remains/v1` document."""
    return {
        "schema": "swarmctl/remains/v1",
        "stack": examination.stack,
        "ok": examination.well,
        "findings": [
            {
                "standing": it.standing.value,
                "what": it.what,
                "address": it.address or None,
                "node": it.node or None,
                "backend": it.backend or None,
                "owner": it.owner or None,
                "declared": it.declared,
                "adoptable": it.adopts is not None,
                "reason": it.why,
                "done": _done(it, examination) or None,
            }
            for it in examination.findings
        ],
    }


def _list(findings: Sequence[Finding], examination: Examination, *, color: bool) -> Iterator[str]:
    width = max(len(_place(it)) for it in findings)
    for it in findings:
        mark, paint_as = _MARKS[it.standing]
        done = _done(it, examination)
        if done:
            mark, paint_as = "ok", "green"
        what = f"{_place(it):<{width}}  {safe(it.what)}{f': {done}' if done else ''}"
        yield f"  {paint(f'{mark:<2}', paint_as, 'bold', color=color)} {what}"
        more = [it.why, f"last changed by {it.owner}" if it.owner else ""]
        if said := "; ".join(safe(part) for part in more if part):
            yield f"     {'':<{width}}  {said}"


def _place(finding: Finding) -> str:
    """Where it belongs: its address, else the node or the backend that it was found on."""
    return safe(finding.address or finding.node or finding.backend)


def _done(finding: Finding, examination: Examination) -> str:
    if finding.address and finding.address in examination.adopted:
        return "adopted"
    return "removed" if finding in examination.removed else ""


def _next(examination: Examination, *, color: bool) -> Iterator[str]:
    left = [it for it in examination.findings if not _done(it, examination)]
    if examination.adopted:
        yield (
            f"{amount(len(examination.adopted), 'thing')} recorded as found; nothing in the world was changed. "
            "`swarmctl plan` shows what differs from the declarations."
        )
    if examination.removed:
        yield f"{amount(len(examination.removed), 'thing')} removed."
    steps = []
    unknown = [it for it in left if it.standing is Standing.UNKNOWN]
    if adoptable := [it for it in unknown if it.adopts is not None]:
        steps.append(
            f"swarmctl doctor --stack --adopt   record {_all(adoptable, unknown)} as found; changes nothing in the "
            "world. `swarmctl apply` takes over what is declared, too."
        )
    if any(it.removal is not None for it in unknown):
        steps.append(f"swarmctl doctor --stack --remove  take {_all(unknown, unknown)} away, after asking")
    if any(it.standing is Standing.MISSING for it in left):
        steps.append("swarmctl apply                    make again what is missing and declared, forget the rest")
    if steps:
        yield paint("How to go on", "bold", color=color)
        yield from (f"  {step}" for step in steps)


def _all(some: Sequence[Finding], every: Sequence[Finding]) -> str:
    if len(every) == 1:
        return "it"
    return "all of them" if len(some) == len(every) else f"the {len(some)} that are declared"
