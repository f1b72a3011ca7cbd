"""Machines whose clocks are far off, as they were seen when they were read anyway; told once for each reading."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

OFF = 3600.0
"""Seconds that a machine's clock may be off. Grants end and keys age by it, and signatures of packages are judged."""
MEND = "set it, and have it kept: `timedatectl set-ntp true` where systemd keeps the time"

NAMED = 5
"""Of many machines; where all are wrong, it is this computer's own clock."""
_wrong: dict[str, str] = {}
_guard = threading.Lock()


def wrong(node: str, clock: float | None) -> str:
    """What is wrong with a clock that said `clock` just now, Unix time in seconds, as a sentence; empty for nothing, or
    when it is not known."""
    off = 0.0 if clock is None else clock - time.time()
    return f"{node}: its clock is {_span(off)}" if abs(off) > OFF else ""


def some(said: Sequence[str]) -> list[str]:
    """Of these sentences, one a machine, the first and how many more there are, each with what to do."""
    return [*(f"{one}; {MEND}" for one in said[:NAMED]), *_more(len(said))]


def _more(many: int) -> list[str]:
    last = f"the clocks of {many - NAMED:,} more machines are far off: see whether this computer's own is right"
    return [last] if many > NAMED else []


class Few:
    """Passes sentences on; of those about clocks, which come one machine at a time, the first, and at the `end` how
    many more there were."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell
        self._many = 0

    def __call__(self, text: str) -> None:
        """Pass it on, or count it."""
        about = text.endswith(f"; {MEND}")
        self._many += about
        if not about or self._many <= NAMED:
            self._tell(text)

    def end(self) -> None:
        """No more come."""
        for text in _more(self._many):
            self._tell(text)


def see(node: str, clock: float | None) -> None:
    """Keep in mind what the clock of `node` said just now."""
    said = wrong(node, clock)
    with _guard:
        _wrong.pop(node, None)
        if said:
            _wrong[node] = said


def take(node: str | None = None) -> list[str]:
    """What was seen to be wrong since it was asked for last: of all machines, or of one."""
    with _guard:
        found = [said for name, said in sorted(_wrong.items()) if node in (None, name)]
        for name in list(_wrong):
            if node in (None, name):
                del _wrong[name]
    return some(found)


def _span(seconds: float) -> str:
    amount, where = abs(seconds), "ahead" if seconds > 0 else "behind"
    if amount >= 2 * 86400:
        return f"{amount / 86400:,.0f} days {where}"
    return f"{amount / 3600:.1f} hours {where}"
