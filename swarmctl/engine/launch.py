"""Becomes the engine: `python -I -S launch.py PARENT ENGINE ARGUMENT…`. Run as a script, it imports nothing of ours.

A process of its own sets what the engine shall have from its first moment on, as code between fork and exec in a
process with threads cannot: when the parent dies, even by kill -9, the engine gets the signal of Ctrl-C, on which it
finishes what it has begun, writes its state and ends.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1
"""prctl(2)"""


def main(parent: int, argv: list[str]) -> None:
    """Ask for the signal, forbid core dumps, exec."""
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGINT) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != parent:
        sys.exit(1)  # it died before we could ask to be told
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Python ignores it, and what is ignored stays so after exec.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    os.execv(argv[0], argv)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
