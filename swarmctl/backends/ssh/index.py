"""Which machines belong to a stack, and how they were reached last, noted on this computer.

The marks on the machines are the truth; this says where to look for them when no declaration and no state does. It
also knows with which key file this computer has logged in, which no state records.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from swarmctl import durable, paths


def folder(stack: str) -> Path:
    """Where the notes of a stack are."""
    return paths.ssh_dir(stack)


def names(stack: str) -> list[str]:
    """The noted nodes."""
    try:
        return sorted(entry.name.removesuffix(".json") for entry in os.scandir(folder(stack)) if _is_note(entry.name))
    except (FileNotFoundError, NotADirectoryError):
        return []


def read(stack: str, node: str) -> dict[str, Any] | None:
    """The way to a node as it was last; None when there is no note that makes sense."""
    path = _file(stack, node)
    try:
        data = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return None
    whole = isinstance(data, dict) and isinstance(data.get("hostKeys"), list) and {"address", "user"} <= data.keys()
    return {**data, "backend": "ssh", "stack": stack, "node": node} if whole else None


def note(way: Mapping[str, Any]) -> None:
    """Write down, or again, how a node is reached. Raises OSError."""
    path = _file(way["stack"], way["node"])
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    content = (json.dumps(dict(way), indent=1, sort_keys=True) + "\n").encode()
    if not path.exists() or path.read_bytes() != content:
        durable.write(path, content, mode=0o600)


def drop(stack: str, node: str) -> None:
    """Forget a node; the folder goes with the last one."""
    _file(stack, node).unlink(missing_ok=True)
    if folder(stack).is_dir() and not names(stack):
        shutil.rmtree(folder(stack), ignore_errors=True)


def _file(stack: str, node: str) -> Path:
    if not node or node.startswith(".") or "/" in node or "\0" in node:
        raise ValueError(f"not a node name: {node!r}")
    return folder(stack) / f"{node}.json"


def _is_note(name: str) -> bool:
    return name.endswith(".json") and not name.startswith(".")
