"""How values stand in reports: short, on one line, safe for a terminal; unknown and secret ones never as data."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from swarmctl.plans.values import is_secret
from swarmctl.reports.console import safe

UNKNOWN = "(known after apply)"
SECRET = "(secret)"
LONGEST = 240
"""Characters of one value in a report for people; JSON output always has the whole."""

_PLAIN = re.compile(r"^[A-Za-z0-9_/][A-Za-z0-9_./:@%+=\[\]-]*$")
_WORD = re.compile(r"[^\s,{}\[\]]+")
_LOOKS_OTHERWISE = {"true", "false", "null", "yes", "no"}


def show(value: Any) -> str:
    """One value for people."""
    text = _show(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}… ({len(text):,} characters)"


def delta(before: Any, after: Any) -> str:
    """What was taken out of and put into a text or a list, word by word: `-10.88.0.3 +10.88.0.4`.

    Empty when the two can't be told apart so: other sorts of values, hidden ones, the same words in another order, or
    more words that changed than stayed.
    """
    if not all(isinstance(value, str | list | tuple) for value in (before, after)):
        return ""
    old, new = (Counter(_WORD.findall(_show(value))) for value in (before, after))
    gone, come = list((old - new).elements()), list((new - old).elements())
    if (not gone and not come) or len(gone) + len(come) > (old & new).total():
        return ""
    return " ".join([*(f"-{word}" for word in gone), *(f"+{word}" for word in come)])


def _show(value: Any) -> str:
    if isinstance(value, Mapping):
        if set(value) == {"unknown"}:
            return UNKNOWN
        if set(value) == {"secret"} or is_secret(value):
            return SECRET
        inner = ", ".join(f"{_show(str(key))}: {_show(item)}" for key, item in value.items())
        return "{" + inner + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_show(item) for item in value) + "]"
    if value is None:
        return "none"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return json.dumps(value)


def _text(value: str) -> str:
    if _PLAIN.match(value) and value.lower() not in _LOOKS_OTHERWISE and not value.isdecimal():
        return value
    quoted = value.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{safe(quoted)}"'
