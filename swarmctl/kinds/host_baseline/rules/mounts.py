"""Mounts over what the system is made of, of what can't be mounted so, and those without which a machine hangs."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Severity

SYSTEM = Code(
    "SW3713",
    "mount over a folder of the system",
    """What is in a folder can't be seen any more when something is mounted over it. The system's own folders are where
programs, configuration and swarmctl's records are, so the machine would not work any more.

Wrong: `mounts: [{path: /usr, device: LABEL=data, type: ext4}]`

Right: `mounts: [{path: /srv/data, device: LABEL=data, type: ext4}]`
""",
)
MISMATCH = Code(
    "SW3714",
    "device and type of a mount that do not go together",
    """A file system of a disk is on a device; one of a server is an export, `host:/path`; `tmpfs` is in memory, and on
no device at all.

Wrong: `{path: /scratch, device: LABEL=scratch, type: nfs}`, `{path: /fast, device: /dev/sdb1, type: tmpfs}`

Right: `{path: /scratch, device: LABEL=scratch, type: ext4}`, `{path: /fast, device: tmpfs, type: tmpfs}`
""",
)
HANGS = Code(
    "SW3715",
    "mount that a machine waits for when it starts",
    """Without `nofail` a machine whose disk or server is not there stops while it starts, before anyone can log in. A
warning: some machines are of no use without the file system.

Wrong: `options: [noatime]`

Right: `options: [noatime, nofail]`
""",
)
_ROOTS = ("bin", "boot", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "run", "sbin", "sys", "usr")
_EXACT = frozenset({"/root", "/tmp", "/var", "/var/cache", "/var/lib", "/var/log", "/var/spool", "/var/tmp"})
_OWN = ("/var/lib/dpkg", "/var/lib/apt", "/var/lib/swarmctl", "/var/lib/systemd", "/var/log/swarmctl")
_SERVED = ("nfs", "nfs4")


def check(baseline: Declaration) -> Iterator[Diagnostic]:
    """Mount by mount; what is declared twice is told with the other things of that sort."""
    for index, mount in enumerate(baseline.spec.mounts):
        at = ("spec", "mounts", index)
        if isinstance(mount.path, Unknown) or isinstance(mount.device, Unknown):
            continue
        if of_system(mount.path):
            yield Diagnostic(
                SYSTEM,
                f"`{mount.path}` is the system's own",
                baseline.value(*at, "path"),
                label="nothing can be mounted over it",
                help="choose a folder of its own, such as `/srv/data`",
            )
        served, memory = ":/" in mount.device, mount.device == "tmpfs"
        if (served != (mount.type in _SERVED)) or (memory != (mount.type == "tmpfs")):
            yield Diagnostic(
                MISMATCH,
                f"`{mount.device}` is no file system of the type `{mount.type}`",
                baseline.value(*at, "device"),
                label=f"not for `{mount.type}`",
                help=_mend(mount.type),
            )
        elif not memory and "nofail" not in mount.options:
            yield Diagnostic(
                HANGS,
                f"without `{mount.device}` a machine does not start",
                baseline.value(*at, "options"),
                label="no `nofail`",
                help="add `nofail`, unless the machine is of no use without it",
                severity=Severity.WARNING,
            )


def of_system(path: str) -> bool:
    """Whether nothing may be mounted there."""
    first = path.split("/")[1]
    return first in _ROOTS or path in _EXACT or any(path == own or path.startswith(f"{own}/") for own in _OWN)


def _mend(kind: str) -> str:
    if kind == "tmpfs":
        return "write `device: tmpfs`"
    return "write `host:/path`" if kind in _SERVED else "write a device, such as `LABEL=scratch`"
