"""What was installed before a change of the driver, as `Places.manifest` keeps it on the machine. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping

from swarmctl.kinds.node_pool.accelerators.reading import VERSION

HELD = " held"
"""Behind a line of the manifest."""
NAMED = r"[A-Za-z0-9](?:[A-Za-z0-9+._:-]{0,160}(?:[A-Za-z0-9]|\+\+))?"
LINE = re.compile(rf"({NAMED})=([A-Za-z0-9.+~^:_-]{{0,220}})({HELD})?")
"""Of the manifest: a package, its version, and whether it was held."""


def parse(manifest: bytes) -> tuple[str, dict[str, str], list[str]] | None:
    """The driver's version, all packages with theirs, and those that were held, as a manifest has them; None for what
    is none: root of the machine may have written anything there."""
    version, *lines = manifest.decode("utf-8", "replace").splitlines() or [""]
    found = [LINE.fullmatch(line) for line in lines]
    rows = [match for match in found if match is not None]
    if not VERSION.fullmatch(version) or len(rows) < len(found):
        return None
    return version, {row[1]: row[2] for row in rows}, [row[1] for row in rows if row[3]]


def flavour(before: Mapping[str, str]) -> str:
    """Which module the old packages have: the name of the one with DKMS tells; empty without one."""
    modules = [name for name, was in before.items() if was and "dkms" in name and name != "dkms"]
    if not modules:
        return ""
    return "open" if any("open" in name for name in modules) else "proprietary"
