"""Packages of the distribution, such as its SSH server and sudo, unpacked beside this machine's tree where it lacks
them.

They are not installed: Debian would start the server on this machine, and again whenever that starts.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from swarmctl.paths import cache_home

PACKAGES = {
    "/usr/sbin/sshd": "openssh-server",
    "/usr/bin/sudo": "sudo",
    # Where labs build it, machines do not look: for them it is what their distribution installs.
    "/usr/bin/wireguard-go": "wireguard-go",
}
_INSTALLED = re.compile(r"^Inst (\S+) \(([^\s)]+)", re.MULTILINE)


class Unavailable(Exception):
    """Why they can't be had, in words."""


def tree(packages: Mapping[str, str] = PACKAGES) -> Path | None:
    """A folder with what this machine's tree lacks, kept for the next time; None where it lacks nothing.

    `packages`: program → package that has it. Raises Unavailable.
    """
    lacking = [package for program, package in packages.items() if not Path(program).exists()]
    if not lacking:
        return None
    if shutil.which("apt-get") is None:
        raise Unavailable(f"{' and '.join(lacking)} not installed, and no apt-get to fetch them")
    cache = cache_home() / "test-packages"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        wanted = _wanted(lacking)
        folder = cache / hashlib.sha256(" ".join(wanted).encode()).hexdigest()[:16]
        if not folder.exists():
            _unpack(wanted, folder)
        return folder


def _wanted(packages: list[str]) -> list[str]:
    """These and what they need beyond what is installed, each as NAME=VERSION."""
    simulation = ["apt-get", "-s", "-q", "--no-install-recommends", "install", *packages]
    for _ in range(2):
        done = _run(simulation)
        if done.returncode == 0:
            return sorted(f"{name}={version}" for name, version in _INSTALLED.findall(done.stdout))
        _run(["apt-get", "update", "-q"])
    raise Unavailable(f"apt-get knows no {' and '.join(packages)}: {done.stderr.strip()[-300:]}")


def _unpack(wanted: list[str], folder: Path) -> None:
    fresh = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    (fresh / "debs").mkdir(parents=True)
    os.chmod(fresh / "debs", 0o777)  # apt fetches as a user of its own
    if (done := _run(["apt-get", "download", "-q", *wanted], fresh / "debs")).returncode:
        raise Unavailable(f"the packages can't be fetched: {done.stderr.strip()[-300:]}")
    for deb in sorted((fresh / "debs").glob("*.deb")):
        subprocess.run(["dpkg", "-x", str(deb), str(fresh)], check=True)
    shutil.rmtree(fresh / "debs")
    fresh.chmod(0o755)
    # Laid over a tree where these are links into usr, folders would hide all that is there.
    for name in ("bin", "sbin", "lib", "lib64"):
        if (fresh / name).is_dir() and Path("/", name).is_symlink():
            shutil.copytree(fresh / name, fresh / "usr" / name, symlinks=True, dirs_exist_ok=True)
            shutil.rmtree(fresh / name)
    fresh.rename(folder)


def _run(command: list[str], folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "LC_ALL": "C"}
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
