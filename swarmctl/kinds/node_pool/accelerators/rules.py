"""What must hold for `accelerators:` beyond the schema: what is impossible on whatever machine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Diagnostic, Range, Related, Severity
from swarmctl.gpu.catalogue import Vendor
from swarmctl.gpu.declared import impossible, together, unwise
from swarmctl.gpu.model import Cards, Refusal, Source, Wanted
from swarmctl.kinds.node_pool.accelerators.codes import CONTRARY, ENDED, PLACES
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator

POOL = "NodePool"
SHARED = ("driver", "kernelModule", "persistence", "source", "mirror")
"""Fields that are about the driver, which all cards of one vendor share."""


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every impossible pair in the pools of the stack."""
    for pool in inventory.of(POOL):
        for items in by_vendor(pool.spec.accelerators).values():
            wrong = False
            for index, declared in items.items():
                for refusal in (*impossible(wanted([declared])), *_mirror(declared)):
                    wrong = True
                    yield diagnostic(pool, [index], refusal)
                if not wrong:
                    yield from _ended(pool, index, declared)
            found = [*_contrary(pool, items), *([] if wrong else _together(pool, items))]
            yield from found


def _ended(pool: Declaration, index: int, declared: Accelerator) -> Iterator[Diagnostic]:
    for reason in unwise(wanted([declared])):
        yield Diagnostic(
            ENDED,
            reason.clause,
            _place(pool, [index], 0, ("driver", "version" if declared.driver.version else "branch")),
            label=ENDED.title,
            help="write `branch: auto`, or a branch that is supported",
            severity=Severity.WARNING,
        )


def by_vendor(items: Sequence[Accelerator]) -> Mapping[Vendor, dict[int, Accelerator]]:
    """Those of each vendor by their index, without what could not be read."""
    found: dict[Vendor, dict[int, Accelerator]] = {}
    for index, declared in enumerate(items):
        if is_known(declared):
            found.setdefault(declared.vendor, {})[index] = declared
    return found


def _mirror(declared: Accelerator) -> Iterator[Refusal]:
    if declared.source == "mirror" and declared.mirror is None:
        mend = "add `mirror: {url: …, fingerprint: …}`"
        yield Refusal("mirror-missing", "`source: mirror` says not which", mend, "declaration")
    if declared.source != "mirror" and declared.mirror is not None:
        mend = "write `source: mirror`, or leave `mirror` out"
        yield Refusal("mirror-unused", f"`source: {declared.source}` uses no mirror", mend, "declaration")


def _contrary(pool: Declaration, items: Mapping[int, Accelerator]) -> Iterator[Diagnostic]:
    """Items of one vendor that ask for different drivers."""
    (first, *others) = items
    for path, of in _ABOUT:
        told: int | None = None
        for index in (first, *others):
            value = of(items[index])
            if value is None:
                continue
            if told is None:
                told = index
            elif value != of(items[told]):
                yield _differing(pool, items, told, index, path)


def _differing(
    pool: Declaration, items: Mapping[int, Accelerator], told: int, index: int, path: tuple[str, ...]
) -> Diagnostic:
    of = dict(_ABOUT)[path]
    here, there, field = of(items[index]), of(items[told]), ".".join(path)
    vendor = items[index].vendor
    return Diagnostic(
        CONTRARY,
        f"`{field}` is {_word(here)} here and {_word(there)} for other cards of {vendor} in the same machines",
        _place(pool, [index], 0, path),
        label=CONTRARY.title,
        help=f"one driver runs all cards of {vendor} in a machine: write the same `{field}` for all of them, or put "
        "the cards into pools of their own",
        related=(Related(_place(pool, [told], 0, path), f"`{field}` is {_word(there)} here"),),
    )


def _word(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else f"`{value}`"


_ABOUT: tuple[tuple[tuple[str, ...], Any], ...] = (
    (("driver", "branch"), lambda item: item.driver.branch if item.driver.branch != "auto" else None),
    (("driver", "version"), lambda item: item.driver.version),
    (("kernelModule",), lambda item: item.kernel_module if item.kernel_module != "auto" else None),
    (("persistence",), lambda item: item.persistence),
    (("source",), lambda item: item.source),
    (("mirror", "url"), lambda item: item.mirror.url if item.mirror else None),
    (("mirror", "fingerprint"), lambda item: item.mirror.fingerprint if item.mirror else None),
    (("mirror", "key"), lambda item: (item.mirror.key or "the vendor's") if item.mirror else None),
)
"""Field → what an item says of it; None for nothing, so that any other's word holds for it, too."""


def _together(pool: Declaration, items: Mapping[int, Accelerator]) -> Iterator[Diagnostic]:
    """What no machine can have at once, told at the later of two items, or at the field that asks for it."""
    if len(items) < 2:
        return
    indices = list(items)
    for number, (index, declared) in enumerate(items.items()):
        if declared.model is None:
            other = indices[1 if number == 0 else 0]
            reason = f"this item means all cards of {declared.vendor}, and another one names some of them"
            refusal = Refusal("model-twice", reason, "name the model in each item of one vendor", "declaration")
            yield diagnostic(pool, [index], refusal, beside=[other])
            return
    for refusal in together(wanted(list(items.values()))):
        others = [index for number, index in enumerate(indices) if number != refusal.item]
        yield diagnostic(pool, indices, refusal, beside=others)


def is_known(declared: Accelerator) -> bool:
    """Whether everything in it could be read."""
    mirror = (declared.mirror.url, declared.mirror.fingerprint, declared.mirror.key) if declared.mirror else ()
    values = (*mirror, declared.vendor, declared.model, declared.kernel_module, declared.mig, declared.source)
    layout = declared.mig if isinstance(declared.mig, dict) else {}
    counts = (declared.count, *layout.values())
    return not any(
        isinstance(value, Unknown)
        for value in (*values, declared.driver.branch, declared.driver.version, declared.persistence, *layout)
    ) and not any(isinstance(count, float) for count in counts)


def wanted(items: Sequence[Accelerator]) -> Wanted:
    """As `gpu` takes it: all items of one vendor, which don't contradict each other."""
    first = items[0]
    persistence = all(item.persistence for item in items)
    return Wanted(
        vendor=first.vendor,
        model=first.model or "",
        count=first.count,
        driver=next((item.driver.branch for item in items if item.driver.branch != "auto"), "auto"),
        version=next((item.driver.version for item in items if item.driver.version), ""),
        kernel_module=next((item.kernel_module for item in items if item.kernel_module != "auto"), "auto"),
        mig=_layout(first),
        persistence=None if persistence and first.vendor == "amd" else persistence,
        source=Source.DISTRIBUTION if first.source == "distribution" else Source.VENDOR,
        beside=tuple(Cards(item.model or "", item.count, _layout(item)) for item in items[1:]),
    )


def _layout(declared: Accelerator) -> str | Mapping[str, int]:
    return "" if declared.mig == "none" else declared.mig


def diagnostic(
    pool: Declaration,
    indices: Sequence[int],
    refusal: Refusal,
    nodes: tuple[str, ...] = (),
    beside: Sequence[int] = (),
) -> Diagnostic:
    """A refusal, told of the field that it is about. `indices` are those of the items that were asked for, `nodes` the
    machines that it is true of, none: of all; `beside` are other items that have to do with it."""
    code, path = PLACES[refusal.code]
    where = f"{_some(nodes)}: " if nodes else ""
    return Diagnostic(
        code,
        f"{where}{refusal.reason}",
        _place(pool, indices, refusal.item, path),
        label=code.title,
        help=f"{refusal.mend} (source: {refusal.source})",
        related=tuple(Related(_place(pool, [index], 0, ("model",)), "in the same machines") for index in beside),
    )


def _place(pool: Declaration, indices: Sequence[int], item: int, path: tuple[str, ...]) -> Range:
    """Where the field stands, or else the innermost written thing around it.

    What is about the driver stands at the first of the items that says it.
    """
    document: Any = pool.document.data
    items = document["spec"]["accelerators"]
    index = indices[item]
    if path[0] in SHARED:
        index = next((one for one in indices if path[0] in items[one]), index)
    around = ("spec", "accelerators", index)
    for depth in range(len(path), 0, -1):
        if _there(items[index], path[:depth]):
            return pool.value(*around, *path[:depth])
    return pool.value(*around, "model" if "model" in items[index] else "vendor")


def _there(data: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(data, dict) or step not in data:
            return False
        data = data[step]
    return True


def _some(nodes: tuple[str, ...]) -> str:
    return ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
