"""What a node sees of this machine's file system: what programs need, and nothing that is anybody's own.

The root folder is the node's; only system folders are laid over it, so that home directories, /tmp, /srv, /opt, other
mounts and folders that appear later are not in it at all. What ordinary users of this machine may not read in /etc is
hidden too.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from swarmctl.backends.lab import names
from swarmctl.backends.lab.marks import Lab

SYSTEM = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32")
PACKAGES = ("var/lib/dpkg", "var/lib/apt", "var/lib/rpm", "var/lib/pacman")
"""Databases of package managers, so that packages can be installed in a node."""
OWN = (
    *(("root", 0o700), ("home", 0o755), ("tmp", 0o1777), ("opt", 0o755), ("srv", 0o755), ("mnt", 0o755)),
    *((f"var/{name}", 0o755) for name in ("cache", "lib", "lib/misc", "local", "log", "opt", "spool")),
    *(("media", 0o755), ("var/tmp", 0o1777), ("var/mail", 0o775), ("var/cache/apt/archives/partial", 0o755)),
)
ETC = (
    *("alternatives", "bash.bashrc", "ca-certificates.conf", "crypto-policies", "debian_version", "environment"),
    *("gai.conf", "group", "host.conf", "inputrc", "iproute2", "ld.so.cache", "ld.so.conf", "ld.so.conf.d"),
    *("ld-musl-x86_64.path", "locale.conf", "localtime", "login.defs", "nsswitch.conf", "os-release", "passwd"),
    *("pki/ca-trust", "pki/tls/certs", "profile", "profile.d", "protocols", "redhat-release", "services", "shells"),
    *("skel", "ssl/certs", "ssl/openssl.cnf", "terminfo", "timezone"),
)
"""What is copied where no overlay can be mounted."""
_REPLACED = ("fstab", "hostname", "hosts", "machine-id", "resolv.conf")
WIREGUARD = "opt/swarmctl/bin/wireguard-go"


def mounts(folder: Path, *, overlay: bool, hidden: Iterable[Path], wireguard: Path | None) -> list[dict[str, Any]]:
    """The mounts of the node whose folder is `folder`, in order; targets are relative to its root."""
    found: list[dict[str, Any]] = []
    laid = [name for name in SYSTEM if _real(name)]
    if overlay:
        laid += ["etc", *(name for name in PACKAGES if _real(name))]
        for name in laid:
            flat = name.replace("/", "-")
            parts = {"upper": _escaped(folder / "upper" / flat), "work": _escaped(folder / "work" / flat)}
            found.append({"kind": "overlay", "source": f"/{name}", "target": name, **parts})
    else:
        found += [{"kind": "bind", "source": f"/{name}", "target": name} for name in laid]
    for path in sorted({os.path.realpath(path) for path in hidden}):
        if os.path.isdir(path) and any(path.startswith(f"/{name}/") for name in laid):
            found.append({"kind": "hide", "target": path[1:]})
    found.append({"kind": "tmpfs", "target": "run", "data": "size=64m,mode=755"})
    found.append({"kind": "folder", "target": "run/lock", "mode": 0o1777})
    if wireguard is not None:
        found.append({"kind": "file", "source": str(wireguard), "target": WIREGUARD})
    return found


def links() -> list[tuple[str, str]]:
    """Links in the root: those that this machine has itself (`bin` → `usr/bin`), and the old names of /run."""
    found = [(name, os.readlink(f"/{name}")) for name in SYSTEM if os.path.islink(f"/{name}")]
    return [*found, ("var/run", "/run"), ("var/lock", "/run/lock")]


def files(tag: str, node: str) -> list[tuple[str, bytes, int]]:
    """Files that are the same at every start: path, content, mode."""
    return [
        ("etc/hostname", f"{node}\n".encode(), 0o644),
        ("etc/machine-id", hashlib.sha256(f"{tag}/{node}".encode()).hexdigest()[:32].encode() + b"\n", 0o444),
        ("etc/resolv.conf", b"# a lab has no name servers\n", 0o644),
    ]


def prepare(folder: Path, *, overlay: bool) -> None:
    """Make the node's own trees. Only for a node that has never run: what is in them can be trusted."""
    tree = folder / "tree"
    for name, mode in OWN:
        path = tree / name
        path.mkdir(parents=True, exist_ok=True)
        path.chmod(mode)
    tree.chmod(0o755)
    if overlay:
        for name in [*(name for name in SYSTEM if _real(name)), "etc", *(name for name in PACKAGES if _real(name))]:
            for kind in ("upper", "work"):
                (folder / kind / name.replace("/", "-")).mkdir(parents=True, exist_ok=True)
        etc = folder / "upper" / "etc"
        for name in sorted(private("/etc")):
            _white_out(etc / name)
    else:
        etc = tree / "etc"
        for name in ETC:
            _copy(Path("/etc", name), etc / name)
    _shadow(etc)


def private(folder: str) -> Iterator[str]:
    """What ordinary users may not read below `folder`, relative to it, and what a node has of its own."""
    yield from _REPLACED
    pending = [""]
    while pending:
        above = pending.pop()
        for entry in os.scandir(os.path.join(folder, above)):
            path, mode = os.path.join(above, entry.name), entry.stat(follow_symlinks=False).st_mode
            if path in _REPLACED or stat.S_ISLNK(mode):
                continue
            if stat.S_ISDIR(mode):
                if mode & 0o005 == 0o005:
                    pending.append(path)
                else:
                    yield path
            elif not mode & 0o004 or not stat.S_ISREG(mode):
                yield path


def _white_out(path: Path) -> None:
    """Hide a file or folder of the lower layer (overlayfs: a character device 0/0)."""
    for above in reversed(path.relative_to(path.anchor).parents):
        (Path(path.anchor) / above).mkdir(exist_ok=True)
    try:
        os.mknod(path, stat.S_IFCHR, 0)
    except FileExistsError:
        return


def _shadow(etc: Path) -> None:
    """Accounts without passwords."""
    try:
        names = [line.split(":")[0] for line in Path("/etc/passwd").read_text(errors="replace").splitlines() if line]
    except OSError:
        names = ["root"]
    for name, rest in (("shadow", ":*:19000:0:99999:7:::"), ("gshadow", "")):
        path = etc / name
        path.unlink(missing_ok=True)
        path.write_text("".join(f"{account}{rest}\n" for account in names) if rest else "root:*::\n")
        path.chmod(0o640)


def _copy(source: Path, target: Path) -> None:
    """Copy what is readable, links as links."""
    try:
        mode = source.lstat().st_mode
        target.parent.mkdir(parents=True, exist_ok=True)
        if stat.S_ISLNK(mode):
            target.unlink(missing_ok=True)
            target.symlink_to(os.readlink(source))
        elif stat.S_ISDIR(mode):
            target.mkdir(exist_ok=True)
            for entry in os.scandir(source):
                _copy(Path(entry.path), target / entry.name)
        elif stat.S_ISREG(mode):
            shutil.copyfile(source, target)
            target.chmod(stat.S_IMODE(mode) | 0o200)
    except (FileNotFoundError, PermissionError):
        return  # not there on every system, or not for this user


def _real(name: str) -> bool:
    return os.path.isdir(f"/{name}") and not os.path.islink(f"/{name}")


def _escaped(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace(",", "\\,")


def request(lab: Lab, mark: Mapping[str, Any], *, hidden: Iterable[Path], wireguard: Path | None) -> dict[str, Any]:
    """Everything that building the node's file system takes, as `inside.node` wants it."""
    overlay, node = mark["filesystem"] == "overlay", mark["inputs"]["node"]
    folder = lab.node(node)
    laid = mounts(folder, overlay=overlay, hidden=hidden, wireguard=wireguard)
    return {
        "root": str(folder / "tree"),
        "hostname": node,
        "mounts": [*laid, {"kind": "bind", "source": str(names.folder(lab)), "target": names.FOLDER}],
        "links": links(),
        "files": files(lab.tag, node),
        "relinks": [("etc/hosts", f"/{names.FOLDER}/hosts")],
    }
