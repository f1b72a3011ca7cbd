"""Whether a machine is in service, as it says itself: one call, and the parser of what it prints. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarmctl.hosts import readings
from swarmctl.hosts.readings import Reading
from swarmctl.hosts.states import CORDONED, DRAINED

ACTIVE = "active"
"""It is in service: what is declared when no word says otherwise."""
UNSETTLED = "unsettled"
"""A command was begun, and nobody knows how far it came."""
FOLDER = "/var/lib/swarmctl/drain"
MARK = f"{FOLDER}/state"
"""What was done last: `cordoned`, `drained` or `unsettled`; not there: nothing, or it is back."""
TURNS = f"{FOLDER}/turns"
"""A file for every change that has the machine out of service until it is done: how far it is."""
LEAVING = "leaving"
"""The change itself has not begun."""
CHANGING = "changing"
CHECK_SECONDS = 20
SHOWN = 60
LONGEST = 4096
"""Bytes that are taken of what `check` prints; whoever prints more is told so."""
SCRIPT = f"""
part() {{ printf '\\n@@ %s\\n' "$1"; }}
part mark; head -c 64 {MARK} 2>/dev/null
part turns
for file in {TURNS}/*; do
  [ ! -f "$file" ] || printf '%s %s\n' "${{file##*/}}" "$(head -c 16 "$file")"
done | head -n 16
part said
status=0
if [ "$#" -gt 0 ]; then
  # What it says passes by the status, which is all that is kept here; no more is taken than can make sense.
  exec 4>&1
  status=$({{
    {{ timeout -k 2 {CHECK_SECONDS} "$@" </dev/null 2>/dev/null 3>&- 4>&-; echo "$?" >&3; }} | head -c {LONGEST} >&4
  }} 3>&1)
fi
part status; echo "$status"
"""
_WORDS = (ACTIVE, CORDONED, DRAINED)
_TURN = re.compile(r"([a-z0-9-]{1,40}) (leaving|changing)")


@dataclass(frozen=True, slots=True)
class Seen:
    """What the machine tells."""

    state: str
    """`active`, `cordoned` or `drained`, else why that is not known, as words after "it is"."""
    turns: Mapping[str, str] = field(default_factory=dict)
    """Changes that have it out of service, and how far they are: `leaving`, `changing`."""
    mark: str = ""
    """What was done last, whatever `check` says."""


def reading(check: Sequence[str]) -> Reading[Seen]:
    """How to ask it. Without a `check` its note counts."""
    name = hashlib.sha256("\0".join(check).encode()).hexdigest()[:16]
    return Reading(f"drain {name}", ("sh", "-c", SCRIPT, "sh", *check), lambda output, host: parse(output, bool(check)))


def parse(output: bytes, checked: bool) -> Seen:
    """What `SCRIPT` printed; nonsense is a state that is not known."""
    parts = readings.parts(output[: 1 << 16].decode("utf-8", "replace"))
    mark = parts.get("mark", "").strip()
    mark = mark if mark in (CORDONED, DRAINED, UNSETTLED) else UNSETTLED if mark else ""
    turns = {found[1]: found[2] for line in parts.get("turns", "").split("\n") if (found := _TURN.fullmatch(line))}
    said = _said(parts.get("said", ""), parts.get("status", "").strip()) if checked else mark or ACTIVE
    return Seen(said, turns, mark)


def _said(text: str, status: str) -> str:
    if len(text.encode()) >= LONGEST:
        return "unknown: `check` prints too much"
    if status != "0":
        ended = f"ended with status {status[:3]}" if status.isdecimal() else "prints too much"
        return f"unknown: `check` {f'did not end within {CHECK_SECONDS} s' if status in ('124', '137') else ended}"
    word = text.strip()
    if word in _WORDS:
        return word
    shown = "".join(char if char.isprintable() else "?" for char in word[:SHOWN])
    return f"unknown: `check` prints {shown!r}" if word else "unknown: `check` prints nothing"


def is_known(state: str) -> bool:
    """Whether it is one of the three words."""
    return state in _WORDS


def suffices(state: str, wanted: str) -> bool:
    """Whether a machine in `state` is as it is `wanted`; what is drained is cordoned, too."""
    return state == wanted or (wanted == CORDONED and state == DRAINED)
