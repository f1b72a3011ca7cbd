"""Durations as they are declared: a whole number and a unit, read exactly."""

from __future__ import annotations

from typing import Annotated

import msgspec

Duration = Annotated[
    str,
    msgspec.Meta(
        pattern="^[1-9][0-9]{0,5}[smhd]$",
        extra_json_schema={
            "patternErrorMessage": "a whole number and `s`, `m`, `h` or `d`, such as `90s`, `10m` or `12h`"
        },
    ),
]
"""`90s`, `10m`, `12h`, `30d`; never nothing."""

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def seconds(duration: str) -> int:
    """The length of a `Duration` in seconds."""
    return int(duration[:-1]) * _UNITS[duration[-1]]


def exactly(length: int) -> str:
    """Seconds as one declares them, in the largest unit without a remainder: `90s`, `10m`, `30d`."""
    return next(
        (f"{length // _UNITS[unit]}{unit}" for unit in "dhm" if length and length % _UNITS[unit] == 0), f"{length}s"
    )


def roughly(length: int) -> str:
    """Seconds in the largest unit that there are at least two of, rounded down."""
    return next((f"{length // _UNITS[unit]}{unit}" for unit in "dhm" if length >= 2 * _UNITS[unit]), f"{length}s")
