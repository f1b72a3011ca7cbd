"""Mounts over what the system is made of, of what can't be mounted so, and those without which a machine hangs."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.declarations.words import listing
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.host_baseline.nesting import outer_first
from swarmctl.kinds.host_baseline.options import vague
from swarmctl.kinds.host_baseline.rules.nodes import selected

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
EACH_OTHER = Code(
    "SW3724",
    "baselines with mounts within each other's",
    """What lies within a mount is mounted after it and unmounted before it, and all mounts of a baseline are mounted in
one go. Two baselines of one machine that each have a mount within one of the other's can't be brought into an order.

Wrong: `/a` and `/b/x` in one baseline, `/b` and `/a/x` in another one

Right: `/a` and `/b` in one baseline, `/a/x` and `/b/x` in the other one
""",
)
VAGUE = Code(
    "SW3725",
    "mount option that cannot be compared, or is not a baseline's",
    """What is declared is compared with what is mounted, and what differs is mounted anew. That goes wrong where an
option leaves open what is mounted, or where the kernel tells it otherwise: a part of a btrfs that is not named, or not
as the kernel writes it; `x-systemd.automount`, which mounts on first use; a size that begins with 0, or is in
`nr_blocks`; `bind`, `rbind`, `move` and `remount`, which mount no file system of their own.

Others are not a baseline's: `x-swarmctl.…` says whose a mount is, `x-systemd.makefs` formats the device with the next
start, and `x-mount.mkdir` makes folders that nobody takes away again.

Wrong: `{type: btrfs}`, `subvol=/data/`, `subvolid=0x100`, `size=010m`, `bind`, `x-systemd.automount`

Right: `{type: btrfs, options: [subvol=/data, noatime]}`, `subvolid=256`, `size=10m`
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
        for place, why, mend in vague(mount.type, mount.options):
            yield Diagnostic(
                VAGUE,
                f"`{mount.options[place]}` cannot be an option of `{mount.path}`"
                if place >= 0
                else f"nothing says which part of a btrfs is mounted at `{mount.path}`",
                baseline.value(*at, *(("options", place) if place >= 0 else ("type",))),
                label=why,
                help=mend,
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


def between(inventory: Inventory) -> Iterator[Diagnostic]:
    """Between baselines that select one machine; they are told of once, with the first machine."""
    mounted: dict[str, dict[str, list[str]]] = {}
    baselines = {it.name: it for it in inventory.of("HostBaseline")}
    for name, baseline in baselines.items():
        paths = [it.path for it in baseline.spec.mounts if not isinstance(it.path, Unknown)]
        for node in selected(inventory, baseline) if paths else ():
            mounted.setdefault(node.name, {})[name] = paths
    told: set[tuple[str, ...]] = set()
    for node_name, found in mounted.items():
        _, stuck = outer_first(found)
        if stuck and tuple(stuck) not in told:
            told.add(tuple(stuck))
            first, *others = [baselines[name] for name in stuck]
            yield Diagnostic(
                EACH_OTHER,
                f"{listing(stuck)} have mounts of {node_name} within each other's",
                first.key("spec", "mounts"),
                label="nothing says what comes first",
                help="let one of them have the outer mounts and another one what is within",
                related=tuple(Related(it.key("spec", "mounts"), f"in `{it.name}`") for it in others),
            )


def of_system(path: str) -> bool:
    """Whether nothing may be mounted there."""
    first = path.split("/")[1]
    return first in _ROOTS or path in _EXACT or any(path == own or path.startswith(f"{own}/") for own in _OWN)


def _mend(kind: str) -> str:
    if kind == "tmpfs":
        return "write `device: tmpfs`"
    return "write `host:/path`" if kind in _SERVED else "write a device, such as `LABEL=scratch`"
