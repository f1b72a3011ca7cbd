"""Makes this machine ready for labs: system packages, the Pulumi engine, a userspace WireGuard. Again takes no time.

System packages are installed only as root; an ordinary user is told the one command that does it.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence

from swarmctl import packages, toolchain
from swarmctl.backends.lab import modes
from swarmctl.engine.install import install
from swarmctl.errors import SwarmError
from swarmctl.plans.events import Downloaded
from swarmctl.reports.failure import show_error, show_system_error
from swarmctl.reports.fetching import fetching

TIMEOUT = 1800.0
"""Seconds for one call of the package manager; a slow mirror takes minutes."""
_PASSED = re.compile(r"PATH|HOME|TMPDIR|TERM|LANG|LC_\w+|SSL_CERT_(FILE|DIR)|(?i:(https?|ftp|no|all)_proxy)")
"""The environment that the package manager gets: where its programs are, and how it reaches its mirrors."""


def main() -> int:
    """Prepare everything; the exit status."""
    try:
        wireguard = [packages.WIREGUARD_GO] if needs_wireguard_package() else []
        install_packages([*packages.missing((*packages.TOOLS, *packages.OPTIONAL)), *wireguard])
        with fetching(sys.stderr) as emit:
            install(emit)
            found = has_wireguard(lambda title, done, total: emit(Downloaded(title, done, total)))
        if not found:
            install_packages([packages.WIREGUARD_GO])
        install_for_tests()
    except SwarmError as error:
        show_error(error)
        return int(error.exit_code)
    except OSError as error:
        show_system_error(error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def needs_wireguard_package() -> bool:
    """Whether WireGuard can come only from the distribution: not from the kernel, and there is no Go to build it."""
    if toolchain.wireguard_go() or shutil.which("go"):
        return False
    return not modes.kernel_wireguard()


def install_packages(programs: Sequence[str]) -> None:
    """Install the packages of these programs. Raises SwarmError where that is the user's to do, or doesn't work."""
    if not programs:
        return
    command = packages.install_command(programs)
    names = ", ".join(packages.debian_names(programs))
    if not command or os.geteuid() != 0:
        raise SwarmError(f"these system packages are missing: {names}", packages.how_to_install(programs))
    print(f"Installing {names}", flush=True)
    if command.startswith("apt-get "):
        _run(["apt-get", "update", "-q"])
    _run(shlex.split(command))
    if still := packages.missing(programs):
        raise SwarmError(f"still missing after {command}: {', '.join(still)}", "see its output above")


def install_for_tests() -> None:
    """Install what tests alone need, where that can be done: without it these tests are skipped, no more."""
    programs = packages.missing(packages.TESTING)
    if not programs or os.geteuid() != 0 or not packages.install_command(programs).startswith("apt-get "):
        return
    try:
        install_packages(programs)
    except SwarmError as error:
        print(f"note: tests that need {', '.join(programs)} are skipped: {error.message}", file=sys.stderr)


def _run(step: list[str]) -> None:
    environment = {name: value for name, value in os.environ.items() if _PASSED.fullmatch(name)}
    try:
        done = subprocess.run(
            step,
            env=environment | {"DEBIAN_FRONTEND": "noninteractive"},
            stdin=subprocess.DEVNULL,
            timeout=TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise SwarmError(f"{shlex.join(step)} did not end within {TIMEOUT / 60:.0f} minutes", "try again") from None
    if done.returncode != 0:
        raise SwarmError(f"{shlex.join(step)} failed", "see its output above")


def has_wireguard(progress: toolchain.Progress) -> bool:
    """Have wireguard-go at hand, built with Go where there is none; also true where the kernel has WireGuard."""
    try:
        toolchain.obtain(toolchain.WIREGUARD_GO, progress)
    except toolchain.ToolMissing as error:
        if modes.kernel_wireguard():
            return True
        print(f"note: {error.message}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    sys.exit(main())
