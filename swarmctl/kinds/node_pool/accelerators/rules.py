"""What must hold for `accelerators:` beyond the schema: what is impossible on whatever machine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Diagnostic, Range
from swarmctl.gpu.declared import impossible
from swarmctl.gpu.model import Refusal, Source, Wanted
from swarmctl.kinds.node_pool.accelerators.codes import PLACES
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator

POOL = "NodePool"


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every impossible pair in the pools of the stack."""
    for pool in inventory.of(POOL):
        for index, declared in enumerate(pool.spec.accelerators):
            if is_known(declared):
                for refusal in (*impossible(wanted(declared)), *_mirror(declared)):
                    yield diagnostic(pool, index, refusal)


def _mirror(declared: Accelerator) -> Iterator[Refusal]:
    if declared.source == "mirror" and declared.mirror is None:
        mend = "add `mirror: {url: …, fingerprint: …}`"
        yield Refusal("mirror-missing", "`source: mirror` says not which", mend, "declaration")
    if declared.source != "mirror" and declared.mirror is not None:
        mend = "write `source: mirror`, or leave `mirror` out"
        yield Refusal("mirror-unused", f"`source: {declared.source}` uses no mirror", mend, "declaration")


def is_known(declared: Accelerator) -> bool:
    """Whether everything in it could be read."""
    mirror = (declared.mirror.url, declared.mirror.fingerprint, declared.mirror.key) if declared.mirror else ()
    values = (*mirror, declared.vendor, declared.model, declared.kernel_module, declared.mig, declared.source)
    layout = declared.mig if isinstance(declared.mig, dict) else {}
    counts = (declared.count, *layout.values())
    return not any(
        isinstance(value, Unknown) for value in (*values, declared.driver.branch, declared.driver.version, *layout)
    ) and not any(isinstance(count, float) for count in counts)


def wanted(declared: Accelerator) -> Wanted:
    """As `gpu` takes it."""
    return Wanted(
        vendor=declared.vendor,
        model=declared.model or "",
        count=declared.count,
        driver=declared.driver.branch,
        version=declared.driver.version or "",
        kernel_module=declared.kernel_module,
        mig="" if declared.mig == "none" else declared.mig,
        persistence=declared.persistence,
        source=Source.DISTRIBUTION if declared.source == "distribution" else Source.VENDOR,
    )


def diagnostic(pool: Declaration, index: int, refusal: Refusal, nodes: tuple[str, ...] = ()) -> Diagnostic:
    """A refusal, told of the field that it is about; `nodes` are the machines that it is true of, none: of all."""
    code, path = PLACES[refusal.code]
    where = f"{_some(nodes)}: " if nodes else ""
    return Diagnostic(
        code,
        f"{where}{refusal.reason}",
        _place(pool, index, path),
        label=code.title,
        help=f"{refusal.mend} (source: {refusal.source})",
    )


def _place(pool: Declaration, index: int, path: tuple[str, ...]) -> Range:
    """Where the field stands, or else the innermost written thing around it."""
    around = ("spec", "accelerators", index)
    document: Any = pool.document.data
    written = document["spec"]["accelerators"][index]
    for depth in range(len(path), 0, -1):
        if _there(written, path[:depth]):
            return pool.value(*around, *path[:depth])
    return pool.value(*around, "model" if "model" in written else "vendor")


def _there(data: Any, path: tuple[str, ...]) -> bool:
    for step in path:
        if not isinstance(data, dict) or step not in data:
            return False
        data = data[step]
    return True


def _some(nodes: tuple[str, ...]) -> str:
    return ", ".join(nodes[:3]) + (f" and {len(nodes) - 3} more" if len(nodes) > 3 else "")
