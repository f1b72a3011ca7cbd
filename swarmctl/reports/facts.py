"""Draws what machines are: a table of many, and everything about a single one."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from swarmctl.hosts.system import SystemFacts
from swarmctl.operations.facts import NodeFacts, Report, accelerators
from swarmctl.reports import facts_words as words
from swarmctl.reports.console import amount, duration, paint, safe
from swarmctl.reports.table import Column, flowing, table

_LABEL = 14
MOST = 24
"""Disks, interfaces and cards that are shown of one machine; --format json has them all."""


def render(report: Report, *, color: bool, width: int, single: bool = False) -> str:
    """A table, or with `single` everything about each machine; then what can't be read, and why."""
    known = [node for node in report.nodes if node.facts is not None]
    lines = [] if single and len(known) == len(report.nodes) else [_summary(report, color), ""]
    if single:
        for node in known:
            lines += [*_everything(node, report.now, color, width), ""]
    elif known:
        lines += [*_table(known, report.now, color, width), ""]
    if problems := list(_problems(report, color, width, clocks=not single)):
        lines += [*problems, ""]
    return "\n".join(lines[:-1]) + "\n"


def _summary(report: Report, color: bool) -> str:
    name = paint(safe(report.stack), "bold", color=color)
    if not report.nodes:
        return f"{name}: no machines are declared"
    known = sum(node.facts is not None for node in report.nodes)
    kept = sum(node.kept for node in report.nodes)
    style = "green" if known == len(report.nodes) else "red"
    parts = [paint(f"{known:,} of {amount(len(report.nodes), 'machine')} known", style, color=color)]
    if kept:
        parts.append(f"{kept:,} from earlier (--refresh reads all anew)")
    return f"{name}: {'; '.join(parts)}"


def _table(nodes: Sequence[NodeFacts], now: float, color: bool, width: int) -> Iterator[str]:
    found = [(node, node.facts) for node in nodes if node.facts is not None]
    columns = [
        Column("NODE", [safe(node.name) for node, _ in found]),
        Column("SYSTEM", [safe(words.system(it)) for _, it in found]),
        Column("KERNEL", [safe(it.kernel) for _, it in found], drop=3),
        Column("CPU", [words.processors(it) for _, it in found], right=True),
        Column("MEMORY", [words.size(it.memory.total) for _, it in found], right=True),
        Column("DISKS", [words.disks(it.disks) for _, it in found], drop=2),
        Column("NETWORK", [words.network(it) for _, it in found], drop=1),
        Column("ACCELERATORS", [safe(words.cards(it)) for _, it in found]),
        Column("DRIVER", [_short_driver(it) for _, it in found], drop=4),
        Column("AGE", [_age(node, now) for node, _ in found], right=True),
    ]
    head, *rows = table(columns, width=width)
    yield paint(head, "dim", color=color)
    yield from rows


def _short_driver(found: SystemFacts) -> str:
    return safe(words.driver(found).replace(" module", "")) if accelerators(found) else ""


def _age(node: NodeFacts, now: float) -> str:
    return duration(max(0.0, now - node.read)) if node.kept else "now"


def _problems(report: Report, color: bool, width: int, *, clocks: bool) -> Iterator[str]:
    for node in report.nodes:
        if node.error is not None:
            yield from _wrap(f"{paint('✗', 'red', color=color)} {safe(node.error.message)}", width, 2)
            if node.error.hint:
                yield from _wrap(f"  hint: {safe(node.error.hint)}", width, 8)
        elif node.facts is None:
            text = "does not exist: it is not applied yet, or somebody has removed it"
            yield from _wrap(f"{paint('✗', 'red', color=color)} {safe(node.name)} {text}", width, 2)
        elif clocks and (text := words.wrong_clock(node)):
            yield from _wrap(f"{paint('!', 'yellow', color=color)} {safe(node.name)}: {text}", width, 2)


def _wrap(text: str, width: int, hang: int) -> list[str]:
    indent = len(text) - len(text.lstrip(" "))
    return flowing(text.split(), " ", width=width, indent=indent, hang=hang)


def _everything(node: NodeFacts, now: float, color: bool, width: int) -> Iterator[str]:
    found = node.facts
    assert found is not None
    age = f"read {_age(node, now)} ago" if node.kept else "read now"
    yield f"{paint(safe(node.name), 'bold', color=color)}  ({safe(node.pool)}, {safe(node.backend)}; {age})"
    for label, lines in _lines(node, found):
        for number, line in enumerate(lines):
            title = paint(label.ljust(_LABEL), "dim", color=color) if not number else " " * _LABEL
            first, *rest = flowing(_pieces(safe(line)), " ", width=max(20, width - _LABEL - 2), indent=0, hang=2)
            yield f"  {title}{first}"
            yield from (f"  {' ' * _LABEL}{more}" for more in rest)


def _pieces(line: str) -> list[str]:
    """Words, with the blanks that keep columns in line still at their ends."""
    return [piece[:-1] for piece in re.findall(r"\S+ *", f"{line} ")]


def _lines(node: NodeFacts, found: SystemFacts) -> Iterator[tuple[str, list[str]]]:
    cpu, swap = found.cpu, found.memory.swap
    yield "host name", [found.hostname]
    yield "system", [f"{found.os.name or words.system(found)}, Linux {found.kernel} {cpu.architecture}"]
    groups = words.UNKNOWN if found.cgroups is None else f"v{found.cgroups}"
    yield "init", [f"{found.init or words.UNKNOWN}, control groups {groups}"]
    yield "machine", [words.machine(found.virtualisation)]
    threads = f", {amount(cpu.threads, 'thread')}" if cpu.threads is not None else ""
    sockets = f", {amount(cpu.sockets, 'socket')}" if cpu.sockets is not None else ""
    yield "processor", [f"{cpu.model or words.UNKNOWN}{sockets}, {words.processors(found)}{threads}"]
    swaps = "swap unknown" if swap is None else f"{words.size(swap)} of swap" if swap else "no swap"
    yield "memory", [f"{words.size(found.memory.total)}, {swaps}"]
    yield "accelerators", _cards(found)
    if accelerators(found) or words.driver(found) not in (words.NONE, words.UNKNOWN):
        yield "driver", [words.driver(found)]
    yield "disks", _disks(found)
    yield "network", _nics(found)
    yield "modules", [_modules(found)]
    yield "secure boot", [words.yes(found.secure_boot)]
    yield "IOMMU", [_iommu(found)]
    yield "confidential", [words.tees(found)]
    yield "clock", [_clock(node, found)]
    yield "boot", [found.boot_id or words.UNKNOWN]


def _cards(found: SystemFacts) -> list[str]:
    there = accelerators(found)
    rows = [
        f"{one.device.address}  {one.device.vendor}:{one.device.device}  {one.card.name if one.card else words.UNKNOWN}"
        for one in there
    ]
    rows += [f"{one.address}  {one.vendor}:{one.device}  gone from the bus: answers nothing" for one in found.gone]
    return [words.cards(found), *_some(rows)]


def _disks(found: SystemFacts) -> list[str]:
    rows = []
    for disk in found.disks or ():
        use = "" if disk.used is None else "in use" if disk.used else "empty"
        about = [disk.name.ljust(9), words.size(disk.size).rjust(8), disk.transport.ljust(4), use.ljust(6), disk.model]
        rows.append("  ".join(about).rstrip())
    return _some(rows) or [words.disks(found.disks)]


def _nics(found: SystemFacts) -> list[str]:
    rows = []
    for nic in found.nics or ():
        state = words.speed(nic.speed) or ("up" if nic.up else "down")
        about = [nic.name.ljust(9), state.rjust(8), nic.kind or nic.driver, nic.pci, *found.addresses.get(nic.name, ())]
        rows.append("  ".join(part for part in about if part))
    return _some(rows) or [words.UNKNOWN if found.nics is None else words.NONE]


def _modules(found: SystemFacts) -> str:
    if found.modules is None:
        return words.UNKNOWN
    shown = [f"{one} {found.modules[one]}".strip() for one in words.RELEVANT if one in found.modules]
    others = len(found.modules) - len(shown)
    if not shown:
        return amount(others, "module")
    return ", ".join(shown) + (f" and {amount(others, 'other')}" if others else "")


def _iommu(found: SystemFacts) -> str:
    if found.iommu is None:
        return words.UNKNOWN
    if not found.iommu.on:
        return "off"
    modes = f" ({', '.join(found.iommu.modes)})" if found.iommu.modes else ""
    return f"on, {amount(len(set(found.iommu.groups.values())), 'group')}{modes}"


def _clock(node: NodeFacts, found: SystemFacts) -> str:
    wrong = words.wrong_clock(node)
    return f"{words.clock(found.clock)}{'; ' if wrong else ''}{wrong}"


def _some(rows: list[str]) -> list[str]:
    left = len(rows) - MOST
    return [*rows[:MOST], *([f"… and {left:,} more; --format json has them all"] if left > 0 else [])]
