"""Makes this machine ready for labs: system packages, the Pulumi engine, a userspace WireGuard. Again takes no time.

System packages are installed only as root; an ordinary user is told the one command that does it.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys

from swarmctl import toolchain
from swarmctl.engine.install import install
from swarmctl.errors import SwarmError
from swarmctl.operations.doctor import TOOLS, install_command, missing_tools, user_command
from swarmctl.plans.events import Downloaded
from swarmctl.reports.failure import show_error
from swarmctl.reports.fetching import fetching


def main() -> int:
    """Prepare everything; the exit status."""
    try:
        install_packages()
        with fetching(sys.stderr) as emit:
            install(emit)
            make_wireguard(lambda title, done, total: emit(Downloaded(title, done, total)))
    except SwarmError as error:
        show_error(error)
        return int(error.exit_code)
    except KeyboardInterrupt:
        return 130
    return 0


def install_packages() -> None:
    """Install the packages of missing tools. Raises SwarmError where that is the user's to do."""
    missing = missing_tools()
    if not missing:
        return
    command = install_command(missing)
    packages = ", ".join(sorted({TOOLS[tool] for tool in missing}))
    if not command or os.geteuid() != 0:
        raise SwarmError(f"these system packages are missing: {packages}", user_command(command) or "install them")
    print(f"Installing {packages}", flush=True)
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    steps = [["apt-get", "update", "-q"]] if command.startswith("apt-get ") else []
    for step in [*steps, shlex.split(command)]:
        if subprocess.run(step, env=environment, stdin=subprocess.DEVNULL, check=False).returncode != 0:
            raise SwarmError(f"{shlex.join(step)} failed", "see its output above")
    if still := missing_tools():
        raise SwarmError(f"still missing after {command}: {', '.join(still)}")


def make_wireguard(progress: toolchain.Progress) -> None:
    """Have wireguard-go at hand; a kernel with WireGuard does without, so no Go is no error here."""
    try:
        toolchain.obtain(toolchain.WIREGUARD_GO, progress)
    except toolchain.ToolMissing as missing:
        print(f"note: {missing.message}; labs need a kernel with WireGuard then", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
