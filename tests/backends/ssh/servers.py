"""A real sshd on loopback, in namespaces of its own over a copy of this machine's tree that is gone with it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import unpacked

SSHD = "/usr/sbin/sshd"
USERS = {"root": "/bin/bash", "worker": "/bin/bash", "asking": "/bin/bash", "plain": "/bin/sh", "typed": "/bin/sh"}
NOISE = (
    "echo 'Willkommen, %n!'; echo grüße >&2; export LC_ALL=de_DE.UTF-8 LANG=de_DE.UTF-8 POSIXLY_CORRECT=1; umask 077\n"
)

_BOOT = r"""
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 t "$1/fs"
mkdir "$1/fs/up" "$1/fs/work" "$1/fs/root"
mount -t overlay -o "lowerdir=/,upperdir=$1/fs/up,workdir=$1/fs/work" o "$1/fs/root"
[ -z "$4" ] || cp -a "$4/." "$1/fs/root/"
cp -a "$1/seed/." "$1/fs/root/"
cd "$1/fs/root"
mount -t proc p proc
[ -z "$5" ] || { mount -t sysfs s sys; ip link set lo up; hostname "$5"; }
mount --rbind /dev dev; mount -t tmpfs -o mode=755,size=4m t run; mount -t tmpfs -o mode=1777 t tmp
mkdir -p run/sshd small srv var/lib/swarmctl var/log/swarmctl
mount -t tmpfs -o size=64k t small
[ -z "$3" ] || exec sh -c "$3"
exec chroot . "$2" -D -e -f /etc/ssh/test/config
"""

# Its units are few: what the machine under the tree has enabled is not started.
_SYSTEMD = r"""
mount -t sysfs s sys
mount -o remount,size=64m run
mount -t cgroup2 c sys/fs/cgroup
mkdir sys/fs/cgroup/$GROUP
echo $$ >sys/fs/cgroup/$GROUP/cgroup.procs
umount sys/fs/cgroup
units=etc/systemd/system
rm -rf $units run/sshd
mkdir -p $units
printf '[Unit]\nDefaultDependencies=no\nRequires=sshd-test.service\n' >$units/default.target
printf '[Unit]\nDefaultDependencies=no\n[Service]\nRuntimeDirectory=sshd\n' >$units/sshd-test.service
printf 'ExecStart=%s -D -e -f /etc/ssh/test/config\n' \
  "$SSHD" >>$units/sshd-test.service
exec unshare -C sh -c 'mount -t cgroup2 c sys/fs/cgroup
exec env -i container=unshare PATH="$PATH" chroot . /lib/systemd/systemd --system --log-target=null'
"""
_REMOVE = 'mount -t cgroup2 c /mnt && find /mnt/"$1" -depth -type d -exec rmdir {} +'


def keygen(path: Path, *more: str, kind: str = "ed25519", passphrase: str = "") -> str:
    """Make a key pair; returns the public key."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path), *more]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return " ".join(Path(f"{path}.pub").read_text().split()[:2])


@dataclass
class Server:
    """One sshd; the user key `key` may log in as any of `USERS`."""

    folder: Path
    port: int
    host_key: str
    key: Path
    process: subprocess.Popen[bytes]
    address: str = "127.0.0.1"
    name: str = "m1"

    def host(self, user: str = "root", **more: Any) -> dict[str, Any]:
        """A machine's `host` input."""
        about = {"backend": "ssh", "node": self.name, "address": self.address, "port": self.port, "user": user}
        return {**about, "hostKeys": [self.host_key], "key": str(self.key), **more}

    def children(self) -> list[int]:
        """The server's own processes on this machine, below the one that listens."""
        found, left = [], [self.process.pid]
        while left:
            parent = left.pop()
            task = Path(f"/proc/{parent}/task/{parent}/children")
            below = [int(word) for word in task.read_text().split()] if task.exists() else []
            found += below
            left += below
        return found

    def sessions(self) -> list[int]:
        """The processes of connections."""
        return [pid for pid in self.children() if b"sshd: " in _read(pid) and b"listener" not in _read(pid)]

    def cut(self) -> None:
        """End every connection at once, as a power cut does."""
        for pid in self.sessions():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue


def _read(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@dataclass(frozen=True)
class Plug:
    """Where a server with a network of its own is plugged in."""

    switch: int
    """A process in the namespace of the switch `br0`."""
    name: str
    """Host name, and that of the cable."""
    address: str

    def inside(self, *command: str) -> list[str]:
        """The command, run beside the switch."""
        return ["nsenter", "-t", str(self.switch), "-n", "--", *command]

    def connect(self, process: int) -> None:
        """Lay the cable to the namespace of a process."""
        cable = f"v-{self.name}"
        there = ["nsenter", "-t", str(process), "-n", "--", "ip"]
        ours = self.inside("ip", "link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", str(process))
        for command in (
            ours,
            self.inside("ip", "link", "set", cable, "master", "br0", "up"),
            [*there, "addr", "add", f"{self.address}/24", "dev", "eth0"],
            [*there, "link", "set", "eth0", "up"],
        ):
            subprocess.run(command, check=True)


@contextmanager
def switched(address: str) -> Iterator[int]:
    """A namespace with a switch, `br0`, that has an address itself; yields a process in it."""
    script = f"ip link set lo up; ip link add br0 type bridge; ip addr add {address}/24 dev br0; ip link set br0 up"
    command = ["unshare", "-n", "sh", "-c", f"{script}; echo up; exec sleep infinity"]
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"up\n"
            yield process.pid
        finally:
            process.kill()


@contextmanager
def serving(
    folder: Path, *, systemd: bool = False, plug: Plug | None = None, key: Path | None = None
) -> Iterator[Server]:
    """A server, gone afterwards; with `systemd` as one of its units; with `plug` on a switch and not on loopback.

    `key` logs in; one is made when there is none.
    """
    seed, port = folder / "seed", 22 if plug else free_port()
    address = plug.address if plug else "127.0.0.1"
    (folder / "fs").mkdir(parents=True)
    test = seed / "etc/ssh/test"
    test.mkdir(parents=True)
    host_key = keygen(test / "host")
    key = key or folder / "key"
    public = " ".join(Path(f"{key}.pub").read_text().split()[:2]) if key.exists() else keygen(key)
    keygen(folder / "authority")
    (test / "keys").write_text(public + "\n")
    (test / "authority.pub").write_text(Path(f"{folder}/authority.pub").read_text())
    (test / "config").write_text(_config(port, address))
    _users(seed)
    group = f"swarmctl-test-{os.getpid()}-{port}"
    more = [*(["-ui"] if systemd else []), *(["-nu"] if plug else [])]
    command = ["unshare", "-mpf", *more, "--kill-child", "sh", "-c", _BOOT, "boot", str(folder), SSHD]
    command.append(f"SSHD={SSHD} GROUP={group}\n{_SYSTEMD}" if systemd else "")
    command += [str(unpacked.tree() or ""), plug.name if plug else ""]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        if plug:
            _plug_in(plug, process.pid)
        _await(plug, port, folder)
        yield Server(folder, port, host_key, key, process, address, plug.name if plug else "m1")
    finally:
        process.kill()
        process.wait()
        if systemd:
            _remove_group(group)


def _remove_group(group: str) -> None:
    """The control groups that systemd has made below its own; processes take a moment to be gone."""
    for _ in range(100):
        if not subprocess.run(["unshare", "-m", "sh", "-c", _REMOVE, "sh", group], check=False).returncode:
            return
        time.sleep(0.1)
    raise AssertionError(f"{group} is still there")


def _config(port: int, address: str) -> str:
    return f"""Port {port}
ListenAddress {address if address == "127.0.0.1" else "0.0.0.0"}
HostKey /etc/ssh/test/host
AuthorizedKeysFile /etc/ssh/test/keys
TrustedUserCAKeys /etc/ssh/test/authority.pub
StrictModes no
UsePAM no
PidFile none
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
LogLevel VERBOSE
PermitOpen {f"inner.test:{port}" if address == "127.0.0.1" else "any"}
MaxStartups 100
Match User typed
  PubkeyAuthentication no
  PasswordAuthentication yes
"""


def _users(seed: Path) -> None:
    etc = seed / "etc"
    (etc / "sudoers.d").mkdir(mode=0o750)
    known = {line.partition(":")[0] for line in Path("/etc/passwd").read_text().splitlines()}
    added = [(name, 5000 + index, shell) for index, (name, shell) in enumerate(USERS.items()) if name != "root"]
    for file, line in (
        ("passwd", "{0}:x:{1}:{1}::/home/{0}:{2}\n"),
        ("group", "{0}:x:{1}:\n"),
        ("shadow", "{0}:*:19000:0:99999:7:::\n"),
    ):
        before = Path("/etc", file).read_text()
        # The user that the server gives its rights up for is made by its installation.
        own = [] if "sshd" in known else [line.format("sshd", 4999, "/usr/sbin/nologin")]
        (etc / file).write_text(before + "".join([*own, *(line.format(*user) for user in added)]))
    (etc / "shadow").chmod(0o640)
    # With its own name: sudo looks that up, and would ask a name server.
    (etc / "hosts").write_text(f"127.0.0.1 localhost inner.test {socket.gethostname()}\n")
    sudoers = etc / "sudoers.d/test"
    sudoers.write_text("worker ALL=(root) NOPASSWD: ALL\nasking ALL=(root) ALL\n")
    sudoers.chmod(0o440)
    for name, number, _ in [("root", 0, ""), *added]:
        home = seed / ("root" if name == "root" else f"home/{name}")
        home.mkdir(parents=True)
        (home / ".bashrc").write_text(NOISE)
        for path in (home, home / ".bashrc"):
            os.chown(path, number, number)


def _plug_in(plug: Plug, process: int) -> None:
    """Once the process has a namespace of its own."""
    deadline = time.monotonic() + 20
    while os.readlink(f"/proc/{process}/ns/net") == os.readlink("/proc/self/ns/net"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    plug.connect(process)


def _await(plug: Plug | None, port: int, folder: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if plug:
            reach = plug.inside("bash", "-c", f"exec 3<>/dev/tcp/{plug.address}/{port}")
            if not subprocess.run(reach, check=False, stderr=subprocess.DEVNULL).returncode:
                return
        else:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                pass
        time.sleep(0.05)
    raise AssertionError((folder / "log").read_text())
