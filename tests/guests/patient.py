"""swarmctl for a guest whose processor may be emulated: each command on a machine has four times its time.

Run as a program it is the command line; `patient.py provider`, which that starts beside the engine, is the provider.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from swarmctl.backends.base import Completed
from swarmctl.backends.ssh.host import SshHost

TIMES = 4
"""A processor that is emulated is not the machine that limits are for."""
PROVIDER = "provider"
_converse = SshHost._converse


def patiently(self: SshHost, argv: Sequence[str], stdin: bytes, timeout: float, *, counted: bool = False) -> Completed:
    """In the place of `SshHost._converse`."""
    return _converse(self, argv, stdin, TIMES * timeout, counted=counted)


def main() -> None:
    """The same programs but for that."""
    SshHost._converse = patiently  # type: ignore[method-assign]
    if sys.argv[1:] == [PROVIDER]:
        from swarmctl.provider.__main__ import main as run
    else:
        from swarmctl import engine
        from swarmctl.__main__ import main as run

        engine.provider_command = (sys.executable, "-I", __file__, PROVIDER)
    run()


if __name__ == "__main__":
    main()
