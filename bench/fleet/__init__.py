"""Many SSH hosts on one computer: each has an address, a network, a real sshd with a host key, and a tree of its own.

Everything is in namespaces of its own and is gone with the process that made them. Each tree is an overlay over this
computer's, so that whatever is written by way of an address is found in that host's own layer.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.backends.ssh import unpacked

SSHD = "/usr/sbin/sshd"
INSIDE = "SWARMCTL_BENCH_INSIDE"
NETWORK, OWN = "10.66", "10.66.255.254/16"
MOST = 1000
"""Hosts; a bridge has at most 1,023 ports."""
_PER = 250
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9), "net/tun": (10, 200)}
_ENTER = """#!/bin/sh
# $SSH_CONNECTION: the client's address and port, then those of the server.
set -- $SSH_CONNECTION
exec chroot "@trees@/$3" /bin/sh -c "${SSH_ORIGINAL_COMMAND:-exec /bin/sh}"
"""
_CONFIG = """AuthorizedKeysFile @folder@/authorized
PidFile none
StrictModes no
UsePAM no
UseDNS no
LogLevel QUIET
PermitRootLogin yes
PasswordAuthentication no
ForceCommand @folder@/enter
"""


def enter() -> None:
    """Run the program that calls this again in namespaces of its own; returns in there. Needs root."""
    if os.environ.get(INSIDE):
        subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
        return
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
def serving(count: int) -> Iterator[Fleet]:
    """`count` hosts, at most `MOST`; to be called in the namespaces of `enter`."""
    folder = Path(tempfile.mkdtemp(prefix="fleet-"))
    _mount("tmpfs", folder, "tmpfs", "mode=755")
    try:
        addresses = tuple(f"{NETWORK}.{number // _PER}.{number % _PER + 1}" for number in range(count))
        (folder / "host").mkdir()
        host_keys = tuple(_keygen(folder / "host" / address) for address in addresses)
        public = _keygen(folder / "key")
        (folder / "authorized").write_text(public + "\n")
        (folder / "enter").write_text(_ENTER.replace("@trees@", str(folder / "trees")))
        (folder / "enter").chmod(0o755)
        (folder / "config").write_text(_CONFIG.replace("@folder@", str(folder)))
        _seed(folder / "seed")
        for address in addresses:
            _tree(folder, address)
        _server(folder / "seed")
        _networks(addresses)
        with _listening(folder, addresses):
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
    for name, target in {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}.items():
        (seed / "dev" / name).symlink_to(f"/proc/self/fd{target}")
    passwd = Path("/etc/passwd").read_text()
    if "\nsshd:" not in passwd:  # whom the server gives its rights up for; made by its installation
        passwd += "sshd:x:4999:65534::/run/sshd:/usr/sbin/nologin\n"
    # Whatever this computer's root has set up for its own shell is no part of logging in.
    first, *others = passwd.splitlines()
    (seed / "etc/passwd").write_text("\n".join([first.rpartition(":")[0] + ":/bin/sh", *others, ""]))


def _server(seed: Path) -> None:
    """Lay an SSH server over this namespace's own tree where this computer has none installed."""
    for folder in ("usr", "etc"):
        if (seed / folder).is_dir():
            _mount("overlay", Path("/", folder), "overlay", f"lowerdir={seed / folder}:/{folder}")
    _mount("tmpfs", Path("/run"), "tmpfs", "mode=755")
    for name in ("sshd", "netns"):
        Path("/run", name).mkdir()


def _tree(folder: Path, address: str) -> None:
    up, work, tree = (folder / name / address for name in ("up", "work", "trees"))
    for path in (up, work, tree):
        path.mkdir(parents=True)
    _mount("overlay", tree, "overlay", f"lowerdir={folder / 'seed'}:/,upperdir={up},workdir={work}")
    _mount("proc", tree / "proc", "proc", "")
    _mount("sysfs", tree / "sys", "sysfs", "", flags=1)  # MS_RDONLY


def _networks(addresses: tuple[str, ...]) -> None:
    """A network namespace for each, called like its address, all on one switch."""
    lines = ["link add switch type bridge", f"address add {OWN} dev switch", "link set switch up"]
    for number, address in enumerate(addresses):
        subprocess.run(["ip", "netns", "add", address], check=True)
        lines.append(f"link add v{number} type veth peer name eth0 netns {address}")
        lines.append(f"link set v{number} master switch up")
    _batch(lines)
    for address in addresses:
        _batch([f"address add {address}/16 dev eth0", "link set eth0 up", "link set lo up"], "-n", address)


def _batch(lines: list[str], *where: str) -> None:
    subprocess.run(["ip", *where, "-batch", "-"], input="\n".join(lines).encode(), check=True)


@contextmanager
def _listening(folder: Path, addresses: tuple[str, ...]) -> Iterator[None]:
    """Give every connection to an sshd of its host, as inetd does."""
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector:
        for address in addresses:
            listener = stack.enter_context(_listener(address))
            selector.register(listener, selectors.EVENT_READ, address)
        ending = threading.Event()
        thread = threading.Thread(target=_serve, args=(selector, folder, ending), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ending.set()
            thread.join()


def _listener(address: str) -> socket.socket:
    """A socket of that host's network namespace: it stays there, whoever holds it."""
    made: list[socket.socket] = []

    def make() -> None:  # in a thread of its own, which is gone with the namespace that it has entered
        libc = ctypes.CDLL(None, use_errno=True)
        with open(f"/run/netns/{address}") as namespace:
            if libc.setns(namespace.fileno(), 0):
                raise OSError(ctypes.get_errno(), address)
        made.append(socket.create_server((address, 22), backlog=64))

    thread = threading.Thread(target=make)
    thread.start()
    thread.join()
    return made[0]


def _serve(selector: selectors.BaseSelector, folder: Path, ending: threading.Event) -> None:
    running: list[subprocess.Popen[bytes]] = []
    while not ending.is_set():
        for ready, _ in selector.select(0.5):
            address = ready.data
            connection, _ = ready.fileobj.accept()  # type: ignore[union-attr]
            with connection:
                sshd = [SSHD, "-i", "-f", str(folder / "config"), "-h", str(folder / "host" / address)]
                command = ["nsenter", f"--net=/run/netns/{address}", *sshd]
                running.append(
                    subprocess.Popen(command, stdin=connection, stdout=connection, stderr=subprocess.DEVNULL)
                )
        running = [one for one in running if one.poll() is None]


def _mount(source: str, target: Path, kind: str, options: str, flags: int = 0) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(source.encode(), str(target).encode(), kind.encode(), flags, options.encode()):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _keygen(path: Path) -> str:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], check=True)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])
