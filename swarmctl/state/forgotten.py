"""Stores of stacks that were destroyed: renamed in one step, so that no crash leaves half of one, and then removed.

What a crash leaves of the removal, keys of nothing among it, goes with the stack's next run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

SUFFIX = ".over"


def remove(folder: Path) -> None:
    """Remove what is left of stores that `folder` was before; another run may do the same at the same time.

    Raises OSError.
    """
    for over in folder.parent.glob(f"{folder.name}.*{SUFFIX}"):
        if over.name.removeprefix(f"{folder.name}.").removesuffix(SUFFIX).isdecimal():
            shutil.rmtree(over, onerror=_unless_gone)


def _unless_gone(function: Callable[..., object], path: str, raised: tuple[type, BaseException, object]) -> None:
    if not isinstance(raised[1], FileNotFoundError):
        raise raised[1]
