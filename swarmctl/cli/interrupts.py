"""Ctrl-C as KeyboardInterrupt, where Python can bear one."""

from __future__ import annotations

import signal
from types import FrameType

AGAIN = 0.01
"""Seconds until it is looked again whether an import is over."""


def interrupt(number: int, frame: FrameType | None) -> None:
    """Signal handler: raise KeyboardInterrupt, as soon as nothing is being imported.

    Out of the middle of an import it may come as any other exception, crash an extension module, or make Python kill
    itself in the end although it was handled (`unhandled_keyboard_interrupt` of CPython, set by `exec`, which makes
    dataclasses).
    """
    if _importing(frame):
        signal.signal(signal.SIGALRM, interrupt)
        signal.setitimer(signal.ITIMER_REAL, AGAIN)
        return
    raise KeyboardInterrupt


def _importing(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename == "<frozen importlib._bootstrap>":
            return True
        frame = frame.f_back
    return False
