"""A machine in small for one test: mount, network and host-name namespaces of its own on this machine, as root.

Folders that baselines write to are the test's own: copies of nothing, or overlays. So scripts run with real users,
mounts, sysctl keys of the network namespace and apt settings, and this machine is not touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import CommandFailed, Completed, ServiceStatus
from swarmctl.hosts.readings import Reading

LAID = ("etc", "home", "var/lib", "usr/sbin", "boot", "mnt")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_HOLD = """
set -eu
mount --make-rprivate /
for name in {laid}; do
  flat=$(printf %s "$name" | tr / -)
  mkdir -p "$1/$flat/upper" "$1/$flat/work"
  options=lowerdir=/$name,upperdir=$1/$flat/upper,workdir=$1/$flat/work
  [ ! -d "/$name" ] || mount -t overlay overlay -o "$options" "/$name"
done
mount -t tmpfs tmpfs /run
mount -t proc proc /proc
echo ready
exec sleep 600
"""


def missing() -> str:
    """Why there can be no such machine here; empty when there can."""
    if os.geteuid() != 0:
        return "needs root"
    tools = [tool for tool in ("unshare", "nsenter", "useradd", "findmnt", "setpriv") if shutil.which(tool) is None]
    if tools:
        return f"needs {', '.join(tools)}"
    tried = subprocess.run(["unshare", "-mn", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "needs namespaces"


@dataclass
class Machine:
    """The host protocol, as far as baselines use it, and what was called."""

    folder: Path
    name: str = "n1"
    calls: list[tuple[str, ...]] = field(default_factory=list)
    running: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _holder: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Machine:
        # On a file system of its own: an overlay can't have another one as its upper layer.
        script = f"mount -t tmpfs tmpfs {self.folder}\n" + _HOLD.replace("{laid}", " ".join(LAID))
        self._holder = subprocess.Popen(
            ["unshare", "--mount", "--net", "--uts", "--ipc", "--pid", "--fork", "--kill-child",
             "sh", "-c", script, "sh", str(self.folder)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        assert self._holder.stdout is not None
        if self._holder.stdout.readline() != b"ready\n":
            _, error = self._holder.communicate()
            raise AssertionError(error.decode())
        return self

    def __exit__(self, *_: object) -> None:
        assert self._holder is not None
        self._holder.kill()
        self._holder.communicate()

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """See `Host.run`."""
        assert self._holder is not None
        self.calls.append(tuple(argv))
        children = Path(f"/proc/{self._holder.pid}/task/{self._holder.pid}/children").read_text().split()
        environment = {"PATH": PATH, "LC_ALL": "C", "HOME": "/root", "USER": "root", "SHELL": "/bin/sh"}
        done = subprocess.run(
            ["nsenter", "-t", children[0], "-m", "-n", "-u", "-i", "-p", "--", *argv],
            input=stdin, capture_output=True, timeout=timeout, env=environment, check=False,
        )  # fmt: skip
        if check and done.returncode:
            raise CommandFailed(f"{self.name}: {argv[0]} ended with {done.returncode}: {done.stderr.decode()}")
        return Completed(tuple(argv), done.returncode, done.stdout, done.stderr)

    def sh(self, script: str) -> str:
        """What a shell script prints; it must end well."""
        return self.run(("sh", "-euc", script)).text

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        """Noted, not run."""
        self.running[name] = tuple(argv)

    def stop_service(self, name: str) -> None:
        """Noted."""
        self.running.pop(name, None)

    def services(self) -> list[ServiceStatus]:
        """Those noted."""
        return [ServiceStatus(name, running=True) for name in self.running]

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Baselines change a machine by scripts only."""
        raise AssertionError(path)

    def get(self, path: str) -> bytes | None:
        """Baselines read a machine by their one script only."""
        raise AssertionError(path)

    def remove(self, path: str) -> None:
        """Baselines change a machine by scripts only."""
        raise AssertionError(path)

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        """None."""
        return ()

    def exec(self, argv: Sequence[str]) -> int:
        """Not for tests."""
        raise AssertionError(argv)


@dataclass
class OneHost:
    """`kinds.base.Hosts` with one machine; what was read is kept until something is changed."""

    host: Machine
    fence: None = None
    found: dict[str, Any] = field(default_factory=dict)

    def open(self, host: Mapping[str, Any]) -> Machine:
        """The machine."""
        return self.host

    def facts(self, host: Mapping[str, Any]) -> Any:
        """Not for baselines."""
        raise AssertionError(host)

    def look(self, host: Mapping[str, Any], reading: Reading[Any]) -> Any:
        """As `provider.hosts` does."""
        if reading.name not in self.found:
            answer = self.host.run(reading.argv, check=False)
            self.found[reading.name] = reading.parse(answer.stdout, self.host.name)
        return self.found[reading.name]

    def changed(self, host: Mapping[str, Any]) -> None:
        """Forget what was read."""
        self.found.clear()

    def guarded(self, host: Mapping[str, Any], change: Any) -> str:
        """Not for baselines."""
        raise AssertionError(change)


def attached(machine: Machine, image: str) -> str:
    """The loop device that an image of a disk is made. Skips where there are none."""
    made = machine.run(("losetup", "-f", "--show", image), check=False)
    if made.returncode:
        pytest.skip("needs loop devices")
    return made.text.strip()
