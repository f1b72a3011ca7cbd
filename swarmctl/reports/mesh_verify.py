"""Draws what `swarmctl mesh verify` measured: a table of checks, then what is wrong, and times between pairs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarmctl.operations.mesh_verify_model import Check, MeshReport, Pair, Verdict, Verification
from swarmctl.reports.console import amount, duration, paint, safe
from swarmctl.reports.table import Column, table

MOST_FINDINGS = 8
"""Shown of each check; --format json has them all."""
MOST_PAIRS = 24
"""Pairs shown one by one; of more only those with the slowest answers are."""

MARKS = {Verdict.OK: "✓", Verdict.FAILED: "✗", Verdict.UNMEASURED: "?"}
COLORS = {Verdict.OK: "green", Verdict.FAILED: "red", Verdict.UNMEASURED: "yellow"}
TITLES = {
    "nodes": "nodes",
    "tunnels": "tunnels",
    "reachability": "reachability",
    "loss": "loss and latency",
    "pathMtu": "path MTU",
    "cipher": "cipher",
    "keyAge": "key age",
    "presharedKeys": "preshared keys",
    "keyFiles": "key files",
    "peers": "peers",
    "plaintext": "no plaintext",
}


def render(found: Verification, *, color: bool, width: int) -> str:
    """Everything as text, the verdict first. Marks always come with a word, so colour only helps."""
    lines = [summary(found, color=color), ""]
    for mesh in found.meshes:
        lines += [*_checks(mesh, color), "", *_pairs(mesh, color, width), ""]
    return "\n".join(lines[:-1]) + "\n"


def summary(found: Verification, *, color: bool) -> str:
    """One line."""
    name = paint(safe(found.stack), "bold", color=color)
    if not found.meshes:
        return f"{name}: no mesh is declared, or no node is in one"
    checks = [check.verdict for mesh in found.meshes for check in mesh.checks]
    parts = [f"{checks.count(Verdict.OK)} of {len(checks)} checks ok"]
    parts += [
        paint(f"{number} {verdict}", COLORS[verdict], color=color)
        for verdict in (Verdict.FAILED, Verdict.UNMEASURED)
        if (number := checks.count(verdict))
    ]
    word = paint("verified", "green", color=color) if found.verified else paint("not verified", "red", color=color)
    if not found.applied:
        parts.append("not applied")
    return f"{name}: {word}; {', '.join(parts)}; measured in {duration(found.seconds)}"


def finding_lines(check: Check, *, most: int = MOST_FINDINGS) -> Iterator[str]:
    """A line per finding, without a mark."""
    for finding in check.findings[:most]:
        yield f"{safe(finding.node)}: {safe(finding.text)}"
    if len(check.findings) > most:
        yield f"… and {len(check.findings) - most:,} more; --format json has them all"


def _checks(mesh: MeshReport, color: bool) -> Iterator[str]:
    yield paint(f"Mesh {safe(mesh.name)}", "bold", color=color) + f"  ({amount(len(mesh.nodes), 'node')})"
    titles = max(map(len, TITLES.values()))
    for check in mesh.checks:
        mark = paint(MARKS[check.verdict], COLORS[check.verdict], color=color)
        said = check.said if check.verdict is Verdict.OK else str(check.verdict)
        yield f"  {mark} {TITLES[check.name]:{titles}}  {safe(said)}"
        yield from (f"      {line}" for line in finding_lines(check))


def _pairs(mesh: MeshReport, color: bool, width: int) -> Iterator[str]:
    measured = [pair for pair in mesh.pairs if any(way.echo.mean is not None for way in pair.ways)]
    if not measured:
        return
    few = len(measured) <= MOST_PAIRS
    shown = measured if few else sorted(measured, key=_slowest, reverse=True)[: MOST_PAIRS // 3]
    more = "" if few else f"  (the slowest {len(shown)} of {len(measured):,})"
    yield paint("Pairs", "bold", color=color) + more
    head, *body = table(list(_columns(shown)), width=width, indent=2)
    yield paint(head, "dim", color=color)
    yield from body


def _columns(pairs: Sequence[Pair]) -> Iterator[Column]:
    yield Column("FROM", [safe(pair.sender) for pair in pairs])
    yield Column("TO", [safe(pair.target) for pair in pairs])
    for family in sorted({way.family for pair in pairs for way in pair.ways}):
        yield Column(f"IPv{family} MIN/AVG/MAX", [_times(pair, family) for pair in pairs], right=True)
    yield Column("LOSS", [_lost(pair) for pair in pairs], right=True)
    yield Column("MTU", [_mtu(pair) for pair in pairs], right=True, drop=1)
    if any(pair.via for pair in pairs):
        yield Column("THROUGH", [safe(", ".join(pair.via)) or "tunnel" for pair in pairs], drop=2)


def _times(pair: Pair, family: int) -> str:
    times = [(e.least, e.mean, e.most) for way in pair.ways if way.family == family for e in [way.echo]]
    return next(("/".join(f"{time or 0:.1f}" for time in three) + " ms" for three in times if three[1]), "no answer")


def _lost(pair: Pair) -> str:
    sent, received = sum(way.echo.sent for way in pair.ways), sum(way.echo.received for way in pair.ways)
    return f"{100 * (sent - received) / sent:.0f} %" if sent else "-"


def _mtu(pair: Pair) -> str:
    known = [way.mtu for way in pair.ways]
    return str(min(mtu for mtu in known if mtu is not None)) if known and None not in known else "?"


def _slowest(pair: Pair) -> float:
    return max((way.echo.most or 0.0 for way in pair.ways), default=0.0)
