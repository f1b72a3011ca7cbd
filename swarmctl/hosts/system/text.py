"""What all parsers here share: untrusted text in small pieces. Pure; nothing here raises anything but `TooMany`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

from swarmctl.gpu.pci import ADDRESS
from swarmctl.hosts.fence import one_line

T = TypeVar("T")
MOST = 4096
"""Things of one kind (disks, modules, groups) that are taken of one machine; the script tells one more, if there is."""
MUCH = 1 << 20
"""Bytes that the script takes of what a program prints."""
LARGEST = 2**53
"""Of numbers: whoever reads JSON has them whole; 8 PiB in bytes, and times 1024 it has 64 bits still."""
WORDS = 200
"""Characters of a text for people."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:@+-]{0,63}")
_FLAGS = {"Y": True, "1": True, "N": False, "0": False}
_NUMBER = re.compile(r"[0-9]{1,16}")


class TooMany(Exception):
    """A machine told of more than is taken; half of that would look like the whole."""


def whole(things: Sequence[T], what: str) -> Sequence[T]:
    """The same. Raises TooMany when they are more than `MOST`."""
    if len(things) > MOST:
        raise TooMany(f"more than {MOST:,} {what}")
    return things


def bounded(part: str, what: str, *, heading: int = 0) -> None:
    """Raises TooMany when there are more lines than that, blank ones and `heading` of them left out."""
    whole([line for line in part.splitlines() if line.strip()][heading:], what)


def words(value: object) -> str:
    """A text for people: one line, printable, bounded; empty for what is none."""
    return " ".join(one_line(value, WORDS).split()) if isinstance(value, str) else ""


def name(value: object) -> str:
    """A name that needs no quoting; empty for anything else."""
    return value if isinstance(value, str) and _NAME.fullmatch(value) else ""


def number(value: object) -> int | None:
    """A whole number from 0 to `LARGEST`, also written out; None for anything else."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        value = int(value)
    sound = isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST
    return value if sound and isinstance(value, int) else None


def flag(value: object) -> bool | None:
    """Yes or no, as JSON, sysfs and util-linux before 2.33 write it."""
    if isinstance(value, bool):
        return value
    return _FLAGS.get(value.strip()) if isinstance(value, str) else None


def rows(part: str, columns: int) -> Iterator[list[str]]:
    """Lines with that many columns between tabs, the first `MOST` of them below a heading."""
    for line in part.splitlines()[: MOST + 1]:
        cells = line.split("\t")
        if len(cells) == columns:
            yield cells


def pairs(part: str, separator: str) -> dict[str, str]:
    """`name SEPARATOR value` by name; of a name that is there twice the first."""
    found: dict[str, str] = {}
    for line in part.splitlines()[:MOST]:
        key, there, value = line.partition(separator)
        if there:
            found.setdefault(key.strip(), value.strip())
    return found


def items(part: str) -> list[Mapping[str, Any]] | None:
    """The objects of a JSON list; None for what is no list."""
    try:
        found = json.loads(part)
    except (ValueError, RecursionError):
        return None
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else None


def pci_address(value: str) -> str:
    """A PCI address; empty for anything else."""
    return value if ADDRESS.fullmatch(value) else ""
