"""One way to look at a host: its command, and what the answer means. Pure: who runs it is another room."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

TIMEOUT = 30.0
"""Seconds that one reading of a host may take; it is well below one on a machine that answers."""


@dataclass(frozen=True, slots=True)
class Reading(Generic[T]):
    """A command that changes nothing, and its parser. Equal names mean the same answer from the same host."""

    name: str
    argv: tuple[str, ...]
    """Its exit status is not looked at: the parser judges what it printed."""
    parse: Callable[[bytes, str], T]
    """Called with standard output and the name of the host. Raises `WorldUnreadable` when that makes no sense."""
    timeout: float = TIMEOUT


def parts(text: str) -> dict[str, str]:
    """What a script printed after each line `@@ NAME`, by name; of a name that is there twice the first."""
    found: dict[str, str] = {}
    for chunk in f"\n{text}".split("\n@@ ")[1:]:
        name, _, body = chunk.partition("\n")
        found.setdefault(name, body)
    return found
