"""Ends a process at a chosen step of what it does to files."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def killed_after(steps: int, act: Callable[[], object]) -> bool:
    """Do it in a process that ends like by kill -9 when it has changed `steps` names of files and is about to change
    one more; whether that came."""
    pid = os.fork()
    if pid == 0:
        left = steps

        def counted(function: Callable[..., Any]) -> Callable[..., Any]:
            def call(*arguments: Any, **options: Any) -> Any:
                nonlocal left
                if left == 0:
                    os._exit(9)
                left -= 1
                return function(*arguments, **options)

            return call

        try:
            for name in ("replace", "rename", "link", "unlink", "rmdir"):
                setattr(os, name, counted(getattr(os, name)))
            Path.unlink = counted(Path.unlink)  # type: ignore[method-assign]
            act()
            os._exit(0)
        finally:
            os._exit(1)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 9)
    return status == 9
