"""Trying again what failed for a reason that may pass. Imported when that first happens."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

import tenacity

from swarmctl.errors import SwarmError
from swarmctl.provider.errors import describe

T = TypeVar("T")

FIRST_WAIT = 0.5
"""Seconds before the second try, and a little more; each further one waits twice as long."""
LONGEST_WAIT = 8.0


def trying(
    work: Callable[[], T],
    failed: SwarmError,
    *,
    tries: int,
    seconds: float,
    stopped: threading.Event,
    tell: Callable[[str, str], None],
) -> T:
    """Do `work`, which has `failed` once, again and again: `tries` times in all, none of them begun after `seconds`
    from now, until something else than a transient error comes of it, or `stopped` is set.

    Each try is told beforehand: the sentence that made it necessary, and the number of the try with what that waits
    for. Raises the last error.
    """

    def announce(state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome is not None else None
        sentence = describe(error if isinstance(error, SwarmError) else failed).partition("\n")[0]
        tell(sentence, f"trying again in {state.upcoming_sleep:.1f} s ({state.attempt_number + 1}/{tries})")

    for attempt in tenacity.Retrying(
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, SwarmError) and error.transient),
        stop=tenacity.stop_any(
            tenacity.stop_after_attempt(tries),
            tenacity.stop_before_delay(seconds),
            tenacity.stop_when_event_set(stopped),
        ),
        wait=tenacity.wait_exponential(FIRST_WAIT, LONGEST_WAIT) + tenacity.wait_random(0, FIRST_WAIT / 2),
        sleep=tenacity.sleep_using_event(stopped),
        before_sleep=announce,
        reraise=True,
    ):
        with attempt:
            if attempt.retry_state.attempt_number == 1 or stopped.is_set():
                raise failed
            return work()
    raise AssertionError  # the last try has returned or raised
