"""A machine below a folder: the scripts for a driver run there, with stand-ins for everything that asks a kernel, cards
or systemd, and with no other program of this machine but those named here."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from swarmctl.backends.base import CommandFailed, Completed
from swarmctl.hosts.packages import Packages, Work
from swarmctl.kinds.node_pool.accelerators.machine import Machine
from swarmctl.provider.hosts import Connections

COMMON = (
    *("awk", "base64", "cat", "chmod", "cp", "find", "grep", "head", "ln", "mkdir", "mv", "rm", "sed", "sh", "sort"),
    *("sync", "tail", "test", "timeout", "tr"),
)
"""What every machine has; they are called as they are."""
PLACES = re.compile(r"(?<![\w.}/])/(?=(?:etc|proc|run|sys|usr|var)/)")
"""Where a path begins that is the machine's own."""
TOOLS: Mapping[str, str] = {
    # A module that another one uses does not go, and NVIDIA's does not come while the kernel's own is there.
    "modprobe": r"""
modules=$ROOT/proc/modules
last=; for last; do :; done
if [ "$1" = -r ]; then
  for user in $(awk -v name="$last" '$1 == name { gsub(",", " ", $4); sub("-", "", $4); print $4 }' "$modules"); do
    if grep -q "^$user " "$modules"; then echo "modprobe: FATAL: Module $last is in use." >&2; exit 1; fi
  done
  grep -q "^$last " "$modules" || { echo "modprobe: FATAL: Module $last is not loaded." >&2; exit 1; }
  sed -i "/^$last /d" "$modules"
  [ "$last" != nvidia ] || rm -rf "$ROOT/sys/module/nvidia" "$ROOT/proc/driver/nvidia"
  exit 0
fi
! grep -q "^$last " "$modules" || exit 0
if [ "$last" = nvidia ]; then
  if grep -qE '^(nova_core|nouveau) ' "$modules"; then echo 'modprobe: ERROR: No such device' >&2; exit 1; fi
  read -r version flavour <"$ROOT/built"
  mkdir -p "$ROOT/sys/module/nvidia" "$ROOT/proc/driver/nvidia"
  echo "$version" >"$ROOT/sys/module/nvidia/version"
  case $flavour in open) kind='Open Kernel Module for x86_64' ;; *) kind='x86_64 Kernel Module' ;; esac
  echo "NVRM version: NVIDIA UNIX $kind  $version  Release Build" >"$ROOT/proc/driver/nvidia/version"
fi
echo "$last 1 0 - Live 0x0" >>"$modules"
""",
    "systemctl": r"""
state=$ROOT/units
while case $1 in -q | --no-block) ;; *) false ;; esac; do shift; done
now=; what=$1; shift
[ "${1-}" != --now ] || { now=yes; shift; }
unit=${1-}
case $what in
  enable) : >"$state/$unit.enabled" ;;
  disable) rm -f "$state/$unit.enabled" ;;
esac
case $what$now in
  enableyes | start | restart) [ -e "$state/$unit.fails" ] || : >"$state/$unit.runs" ;;
  disableyes | stop) rm -f "$state/$unit.runs" ;;
  is-active) [ -e "$state/$unit.runs" ] ;;
  is-enabled) [ -e "$state/$unit.enabled" ] ;;
esac
""",
    "nvidia-smi": r"""
case "$*" in
  --query-gpu=index,*)
    loaded=$(cat "$ROOT/sys/module/nvidia/version" 2>/dev/null) || { echo 'NVIDIA-SMI has failed'; exit 9; }
    library=$(cat "$ROOT/library")
    [ "$loaded" = "$library" ] || { echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18; }
    index=0
    while read -r card; do echo "$index, 0000$card, $library, Disabled"; index=$((index + 1)); done <"$ROOT/cards" ;;
esac
""",
    # Digests are of files as the machine has them, whose paths are its own.
    "sha256sum": r"""
for file; do
  if [ -e "$file" ]; then printf '%s  %s\n' "$(sed "s|$ROOT||g" "$file" | SHA256SUM | sed 's/ .*//')" "$file"; fi
done
""".replace("SHA256SUM", shutil.which("sha256sum") or "sha256sum"),
    "nv-fabricmanager": """echo "Fabric Manager version is : $(cat "$ROOT/library")" """,
    "nvidia-ctk": r"""
for word; do case $word in --output=*) echo "hostPath: libcuda.so.$(cat "$ROOT/library")" >"${word#--output=}" ;; esac
done
""",
    "dcgmi": "",
    "update-initramfs": "",
    "dracut": "",
}
"""Each notes how it was called."""


class Below:
    """`backends.base.Host` of such a machine, as far as a driver's turn needs it."""

    name = "n1"

    def __init__(self, root: Path, tools: Sequence[str] = ("modprobe", "systemctl"), *, systemd: bool = True) -> None:
        self.root = root
        for folder in ("proc", "usr/bin", "units", *(["run/systemd/system"] if systemd else [])):
            (root / folder).mkdir(parents=True)
        (root / "proc/modules").touch()
        for name in COMMON:
            found = shutil.which(name)
            assert found, f"{name} is not on this machine"
            (root / "usr/bin" / name).symlink_to(found)
        for name in tools:
            self.tool(name, TOOLS[name])

    def tool(self, name: str, text: str) -> None:
        """A program of that machine's."""
        file = self.root / "usr/bin" / name
        file.write_text(f'#!/bin/sh\necho "{name} $*" >>"$ROOT/calls"\n{text}\n')
        file.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        """How stand-ins were called, in this order."""
        file = self.root / "calls"
        return self._own(file.read_text()).splitlines() if file.exists() else []

    def load(self, *modules: str) -> None:
        """These are loaded: `nvidia:nvidia_uvm,nvidia_drm` is one that the two others use."""
        lines = [line.partition(":") for line in modules]
        text = "".join(f"{name} 1 {len(users.split(','))} {users or '-'}, Live 0x0\n" for name, _, users in lines)
        (self.root / "proc/modules").write_text(text)

    @property
    def loaded(self) -> set[str]:
        """Modules."""
        return {line.split()[0] for line in (self.root / "proc/modules").read_text().splitlines()}

    def units(self, state: str) -> set[str]:
        """Those that are `enabled`, or `runs`."""
        return {file.name.removesuffix(f".{state}") for file in (self.root / "units").glob(f"*.{state}")}

    def sh(self, script: str) -> str:
        """Run a script as `Machine.script` does."""
        return self.run(["sh", "-eu", "-s"], stdin=f"{{\n{script}\n}} </dev/null\n".encode()).text

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """See `backends.base.Host.run`."""
        done = subprocess.run(
            [self._there(word) for word in argv],
            input=self._there(stdin.decode()).encode(),
            env={"PATH": f"{self.root}/usr/bin", "ROOT": str(self.root), "LC_ALL": "C"},
            capture_output=True,
            timeout=min(timeout, 30),
            check=False,
        )
        if check and done.returncode:
            raise CommandFailed(f"{self.name}: {argv[0]} ended with status {done.returncode}: {done.stderr!r}", "")
        return Completed(tuple(argv), done.returncode, self._own(done.stdout.decode()).encode(), done.stderr)

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """See `backends.base.Host.put`."""
        file = Path(self._there(path))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def get(self, path: str) -> bytes | None:
        """See `backends.base.Host.get`."""
        file = Path(self._there(path))
        return self._own(file.read_text()).encode() if file.exists() else None

    def remove(self, path: str) -> None:
        """See `backends.base.Host.remove`."""
        Path(self._there(path)).unlink(missing_ok=True)

    def _there(self, text: str) -> str:
        return PLACES.sub(f"{self.root}/", text)

    def _own(self, text: str) -> str:
        return text.replace(str(self.root), "")


class Driven(Machine):
    """The real machine over such a host; of packages it is told what there is, and notes what would be done."""

    def __init__(self, host: Below) -> None:
        hosts = Connections(open_host=lambda about, fence: host)  # type: ignore[arg-type,return-value]
        about: dict[str, Any] = {"backend": "lab", "stack": "trial", "node": host.name}
        super().__init__(hosts, {"host": about, "node": host.name, "vendor": "nvidia"})
        self.there = Packages("apt")
        self.worked: list[Work] = []

    def installed(self) -> Packages:
        """What is installed."""
        return self.there

    def work(self, work: Work) -> str:
        """Note it."""
        self.worked.append(work)
        self.changed()
        return ""
