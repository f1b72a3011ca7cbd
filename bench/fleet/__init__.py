"""Many SSH hosts on one computer: each has an address, a network, a real sshd with a host key, and a tree of its own.

Everything is in namespaces of its own and is gone with the process that made them. Each tree is an overlay over this
computer's, so that whatever is written by way of an address is found in that host's own layer.
"""

from __future__ import annotations

import ctypes
import itertools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.backends.ssh import unpacked

SSHD = "/usr/sbin/sshd"
INSIDE = "SWARMCTL_BENCH_INSIDE"
NETWORK, OWN = "10.66", "10.66.255.254"
_ROUTER, _HOST = "02:00:00:00:00:01", "02:00:00:00:00:02"
MOST = 1000
"""Hosts."""
_INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
_PER = 250
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "net/tun": (10, 200)}
_FIRST = """set -e
folder=$1 address=$2
tree=$folder/trees/$address
shift 2
mount -t overlay overlay -o "lowerdir=$folder/seed:/,upperdir=$folder/up/$address,workdir=$folder/work/$address" "$tree"
mount -t proc proc "$tree/proc"
mount -t sysfs -o ro sysfs "$tree/sys"
cd "$tree"
pivot_root . .
umount --lazy .
exec chroot . "$@"
"""
"""Where a host's first process begins: it sees no mounts, processes and interfaces but those of its host."""
_CONFIG = """AuthorizedKeysFile /etc/fleet/authorized
PidFile none
StrictModes no
UsePAM no
UseDNS no
LogLevel QUIET
PermitRootLogin yes
PasswordAuthentication no
"""


def enter() -> None:
    """Run the program that calls this again in namespaces of its own; returns in there. Needs root."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
    unpacked.tree()  # fetched once, which can't be done in there
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    command = [*unshare, sys.executable, *sys.argv]
    sys.exit(subprocess.run(command, env={**os.environ, INSIDE: "yes"}, check=False).returncode)


@dataclass(frozen=True)
class Fleet:
    """The hosts, by their addresses."""

    folder: Path
    addresses: tuple[str, ...]
    host_keys: tuple[str, ...]
    """Public, one each, as `ssh-ed25519 AAAA…`."""
    key: Path
    """Private key that root is let in with on all of them."""
    public: str
    """Its public half."""

    def written(self, address: str) -> dict[str, tuple[int, int]]:
        """What was ever written on a host: path → size and time of the last change in nanoseconds."""
        top = self.folder / "up" / address
        found = {}
        for path in top.rglob("*"):
            about = path.lstat()
            found[str(path.relative_to(top))] = (about.st_size, about.st_mtime_ns)
        return found


@contextmanager
def _watched() -> Iterator[None]:
    """Room for as many watchers of files as there are hosts: wireguard-go has one each, and the kernel allows 128 to
    all of a user's processes together (inotify(7)). Everywhere on this computer, and until the end."""
    before = _INOTIFY.read_text()
    _INOTIFY.write_text(str(max(int(before), 2 * MOST)))
    try:
        yield
    finally:
        _INOTIFY.write_text(before)


@contextmanager
def serving(count: int) -> Iterator[Fleet]:
    """`count` hosts, at most `MOST`; to be called in the namespaces of `enter`."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    _mount("tmpfs", folder, "tmpfs", "mode=755")
    try:
        addresses = tuple(f"{NETWORK}.{number // _PER}.{number % _PER + 1}" for number in range(count))
        _seed(folder / "seed")
        about = folder / "seed/etc/fleet"
        about.mkdir()
        host_keys = tuple(_keygen(about / address) for address in addresses)
        public = _keygen(folder / "key")
        (about / "authorized").write_text(public + "\n")
        (about / "config").write_text(_CONFIG)
        _mount("tmpfs", Path("/run"), "tmpfs", "mode=755")
        Path("/run/netns").mkdir()
        for name, address in itertools.product(("up", "work", "trees"), addresses):
            (folder / name / address).mkdir(parents=True)
        _networks(addresses)
        with _watched(), _listening(folder, addresses):
            yield Fleet(folder, addresses, host_keys, folder / "key", public)
    finally:
        # All that is mounted below goes with it, and nothing is removed through a tree.
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
        folder.rmdir()


def _seed(seed: Path) -> None:
    """What every tree has above this computer's own, an SSH server where that has none among it."""
    if found := unpacked.tree():
        shutil.copytree(found, seed, symlinks=True)
    for name in ("dev/net", "dev/shm", "run/sshd", "tmp", "var/lib/swarmctl", "proc", "sys", "etc"):
        (seed / name).mkdir(parents=True, exist_ok=True)
    (seed / "tmp").chmod(0o1777)
    for name, (major, minor) in _DEVICES.items():
        os.mknod(seed / "dev" / name, 0o20666, os.makedev(major, minor))
        (seed / "dev" / name).chmod(0o666)
    os.mknod(seed / ".dockerenv", 0o20000, 0)  # hides (overlayfs) what says that this computer is a container
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (seed / "dev" / name).symlink_to(f"/proc/self/fd{target}")
    passwd = Path("/etc/passwd").read_text()
    if "\nsshd:" not in passwd:  # whom the server gives its rights up for; made by its installation
        passwd += "sshd:x:4999:65534::/run/sshd:/usr/sbin/nologin\n"
    # Whatever this computer's root has set up for its own shell is no part of logging in.
    first, *others = passwd.splitlines()
    (seed / "etc/passwd").write_text("\n".join([first.rpartition(":")[0] + ":/bin/sh", *others, ""]))


def _networks(addresses: tuple[str, ...]) -> None:
    """A network namespace for each, called like its address, and this one in the middle as their router.

    Nothing asks for hardware addresses: on one switch with a thousand ports each such question would cost a thousand
    deliveries, and the kernel remembers hardly more answers (net.ipv4.neigh.default.gc_thresh3 is 1,024).
    """
    lines = [f"address add {OWN}/32 dev lo"]
    for number, address in enumerate(addresses):
        subprocess.run(["ip", "netns", "add", address], check=True)
        ends = f"address {_ROUTER} type veth peer name eth0 address {_HOST} netns {address}"
        lines += [
            f"link add v{number} {ends}",
            f"link set v{number} addrgenmode none",
            f"link set v{number} up",
        ]
    _batch(lines)
    for address in addresses:
        lines = [
            "link set lo up",
            "link set eth0 addrgenmode none",
            "link set eth0 up",
            f"address add {address}/32 dev eth0",
            f"route add {OWN} dev eth0",
            f"neighbour add {OWN} lladdr {_ROUTER} dev eth0",
            f"route add default via {OWN}",
        ]
        _batch(lines, "-n", address)
    lines = []
    for number, address in enumerate(addresses):
        lines += [f"route add {address} dev v{number}", f"neighbour add {address} lladdr {_HOST} dev v{number}"]
    _batch(lines)
    Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _batch(lines: list[str], *where: str) -> None:
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines).encode(), check=True)


@contextmanager
def _listening(folder: Path, addresses: tuple[str, ...]) -> Iterator[None]:
    """An sshd for each, in its tree and its network. They don't start themselves anew for a connection (`-r`): of what
    the hosts do on this computer, as much as can be had for nothing."""
    running = []
    try:
        for address in addresses:
            sshd = [SSHD, "-D", "-r", "-f", "/etc/fleet/config", "-h", f"/etc/fleet/{address}"]
            apart = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
            first = ["sh", "-c", _FIRST, "sh", str(folder), address, *sshd]
            command = ["nsenter", f"--net=/run/netns/{address}", *apart, *first]
            running.append(subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
        for address in addresses:
            _answering(address)
        yield
    finally:
        for one in running:
            one.kill()
        for one in running:
            one.wait()


def _answering(address: str, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((address, 22), timeout=1).close()
            return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)


def _mount(source: str, target: Path, kind: str, options: str) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), str(target).encode(), kind.encode(), 0, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _keygen(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])
