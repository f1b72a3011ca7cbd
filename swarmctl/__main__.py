"""`swarmctl`, and `python -m swarmctl`. This module imports next to nothing: before anything else is loaded, Ctrl-C
must end a run in one line, and not in a traceback out of the middle of an import."""

from __future__ import annotations

import os
import signal


def main() -> None:
    """Entry point: load the command line, run it, exit with the published code."""
    # Ignored it stays ignored, as in a shell's background. No exception: an import that is cut off by one may end in
    # any other, and there is nothing yet to take back.
    quick = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if quick:
        signal.signal(signal.SIGINT, _end)
    from swarmctl.cli import main as run
    from swarmctl.cli.interrupts import interrupt

    try:
        if quick:
            signal.signal(signal.SIGINT, interrupt)
        run()
    except KeyboardInterrupt:
        _end(signal.SIGINT, None)
    finally:
        # It is over and told: what Python tidies up now can't change its exit code any more.
        signal.signal(signal.SIGALRM, signal.SIG_IGN)
        signal.signal(signal.SIGINT, signal.SIG_IGN)


def _end(number: int, frame: object) -> None:
    try:
        os.write(2, b"Interrupted.\n")
    finally:
        os._exit(130)


if __name__ == "__main__":
    main()
