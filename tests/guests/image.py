"""The disk of a guest, built once from Debian's packages, and the state of one that has booted from it.

A folder in the user's cache, named after all that went into it: `disk.raw`, `kernel`, `initrd`, the keys, `grub.img`,
and then `booted.qcow2` (a layer over the disk) with `state`, the memory of a guest whose sshd answers. Guests begin
there. `grub.img` is a disk with GRUB alone, which starts the kernel that the guest's own /boot/grub/grub.cfg names.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    # What a machine has, without what nobody here uses.
    *("apt", "base-files", "base-passwd", "bash", "bsdutils", "ca-certificates", "coreutils", "dash", "dbus"),
    *("debian-archive-keyring", "debianutils", "diffutils", "dpkg", "e2fsprogs", "findutils", "grep", "gzip"),
    *("hostname", "init-system-helpers", "kmod", "libc-bin", "login", "mount", "passwd", "perl-base", "procps"),
    *("sed", "systemd", "systemd-sysv", "systemd-timesyncd", "tar", "udev", "util-linux", "initramfs-tools"),
    "linux-image-cloud-amd64",
    # What swarmctl asks of one.
    *("openssh-server", "sudo", "nftables", "wireguard-tools", "wireguard-go", "iproute2", "iputils-ping", "age"),
    *("pciutils",),
    # Its own starting: `update-grub`, and what `grub.img` is made of.
    *("grub-common", "grub2-common", "grub-pc-bin"),
)
LEAVE_OUT = ("/usr/share/doc/*", "/usr/share/man/*", "/usr/share/locale/*", "/usr/share/info/*")
MODULES = "virtio_pci\nvirtio_blk\nvirtio_net\next4\n"
SIZE = "3G"
UNUSED = 86400.0
"""Seconds after which an image that nobody has asked for goes."""
USER = "ops"
"""Besides root: one who may sudo without a password."""
LAN = "198.51.100.1/24"
"""Of the second interface (RFC 5737: never anybody else's)."""
BUILD = 600.0
"""Seconds for the packages."""
APPEND = "rw console=ttyS0 quiet mitigations=off random.trust_cpu=on net.ifnames=1"
"""Of the kernel, beside where its root is."""
GRUB = "usr/lib/grub/i386-pc"

# A link's name follows its slot; the addresses of the hardware are ours.
_FILES = {
    "etc/fstab": "/dev/vda / ext4 defaults 0 1\n",
    "etc/hostname": "guest\n",
    "etc/default/grub": f'GRUB_TIMEOUT=0\nGRUB_DISABLE_OS_PROBER=true\nGRUB_CMDLINE_LINUX="{APPEND}"\n',
    "etc/hosts": "127.0.0.1 localhost guest\n",
    "etc/systemd/network/10-outer.network": (
        "[Match]\nMACAddress=52:54:00:00:00:01\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
        "LinkLocalAddressing=no\n"
    ),
    "etc/systemd/network/20-lan.network": (
        f"[Match]\nMACAddress=52:54:00:00:00:02\n[Link]\nRequiredForOnline=no\n[Network]\nAddress={LAN}\n"
        "LinkLocalAddressing=no\nConfigureWithoutCarrier=yes\n"
    ),
    f"etc/sudoers.d/{USER}": f"{USER} ALL=(root) NOPASSWD: ALL\n",
    "etc/ssh/sshd_config.d/test.conf": "PasswordAuthentication no\nPermitRootLogin prohibit-password\nUseDNS no\n",
}
_WANTED = ("systemd-networkd.service",)
_MASKED = ("apt-daily.timer", "apt-daily-upgrade.timer", "e2scrub_all.timer", "e2scrub_reap.service", "fstrim.timer")


class Unavailable(Exception):
    """Why there is no guest here."""


def folder() -> Path:
    """The folder of the image, built when it is not there. Raises `Unavailable`."""
    _require()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "swarmctl" / "guests"
    wanted = cache / _key()
    with locked(cache):
        if not (wanted / "disk.raw").exists():
            _build(wanted)
        os.utime(wanted)
        for other in cache.iterdir():
            # Of packages or a recipe of before; another checkout may be at work with it.
            if other.is_dir() and other.stat().st_mtime < time.time() - UNUSED:
                shutil.rmtree(other)
    return wanted


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Hold the folder against everybody else's building."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _require() -> None:
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        raise Unavailable("guests are built for x86-64 Linux alone")
    if os.geteuid() != 0:
        raise Unavailable("the tree of a guest can be unpacked only as root")
    programs = ("qemu-system-x86_64", "qemu-img", "mmdebstrap", "mke2fs", "ssh-keygen")
    if missing := [name for name in programs if shutil.which(name) is None]:
        raise Unavailable(f"not installed: {', '.join(missing)} (`make setup` as root installs what it can)")


def _key() -> str:
    version = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, check=True).stdout
    return hashlib.sha256(version + Path(__file__).read_bytes()).hexdigest()[:16]


def _build(wanted: Path) -> None:
    work = wanted.with_name(f"{wanted.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(mode=0o700)
    tree = work / "tree"
    tree.mkdir()
    _unpack(work, tree)
    _settle(work, tree)
    for name, found in (("kernel", "vmlinuz-*"), ("initrd", "initrd.img-*")):
        shutil.copy(next(iter(tree.glob(f"boot/{found}"))), work / name)
    _grub(work, tree)
    # GRUB 2.06 reads nothing with a seed for checksums.
    words = ["-q", "-t", "ext4", "-O", "^metadata_csum_seed", "-E", "lazy_itable_init=1", "-d", str(tree)]
    _run(["mke2fs", *words, str(work / "disk.raw"), SIZE], 120)
    shutil.rmtree(tree)
    work.rename(wanted)


def _grub(work: Path, tree: Path) -> None:
    """Its disk: the sector that firmware starts, and behind it the core, as the core expects itself to lie."""
    shutil.copytree(tree / GRUB, tree / "boot/grub/i386-pc", ignore=shutil.ignore_patterns("*.image", "*.img"))
    words = ["grub-mkimage", "-O", "i386-pc", "-p", "(hd1)/boot/grub", "-o", "/grub.core"]
    _run(["chroot", str(tree), *words, "biosdisk", "ext2", "normal", "linux", "configfile", "search"], 30)
    core = tree / "grub.core"
    image = (tree / GRUB / "boot.img").read_bytes() + core.read_bytes()
    (work / "grub.img").write_bytes(image + bytes(-len(image) % 512))
    core.unlink()


def _unpack(work: Path, tree: Path) -> None:
    """Debian's packages. What it mounts meanwhile is in a namespace that goes with it."""
    hook = (
        'mkdir -p "$1/etc/initramfs-tools/conf.d"; echo MODULES=list >"$1/etc/initramfs-tools/conf.d/guest"; '
        f"printf '{MODULES.encode('unicode_escape').decode()}' >\"$1/etc/initramfs-tools/modules\""
    )
    archive = work / "tree.tar"
    command = ["unshare", "-m", "mmdebstrap", "--quiet", "--mode=root", "--variant=custom", "--skip=check/qemu"]
    command += [f"--include={','.join(PACKAGES)}", f"--extract-hook={hook}", "--dpkgopt=force-unsafe-io"]
    command += [f"--dpkgopt=path-exclude={path}" for path in LEAVE_OUT]
    _run([*command, SUITE, str(archive)], BUILD)
    _run(["tar", "-xf", str(archive), "-C", str(tree), "--exclude=./dev/*"], 120)
    archive.unlink()


def _settle(work: Path, tree: Path) -> None:
    """What makes the tree this very machine's: names, networks, keys, users."""
    for name, text in _FILES.items():
        path = tree / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tree / "etc/sudoers.d" / USER).chmod(0o440)
    units = tree / "etc/systemd/system"
    for unit in _MASKED:
        (units / unit).unlink(missing_ok=True)
        (units / unit).symlink_to("/dev/null")
    for unit in _WANTED:
        (units / "multi-user.target.wants" / unit).symlink_to(f"/usr/lib/systemd/system/{unit}")
    for path in tree.glob("etc/ssh/ssh_host_*"):
        path.unlink()
    for path in (work / "key", tree / "etc/ssh/ssh_host_ed25519_key"):
        _run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", str(path)], 10)
    shutil.copy(tree / "etc/ssh/ssh_host_ed25519_key.pub", work / "host_key.pub")
    _run(["chroot", str(tree), "useradd", "-m", "-s", "/bin/bash", USER], 10)
    for home in (tree / "root", tree / "home" / USER):
        (home / ".ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(work / "key.pub", home / ".ssh/authorized_keys")
    _run(["chroot", str(tree), "chown", "-R", f"{USER}:{USER}", f"/home/{USER}/.ssh"], 10)


def _run(command: list[str], timeout: float) -> None:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
    except subprocess.TimeoutExpired:
        raise Unavailable(f"{command[0]} did not end within {timeout:g} s") from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-3:]
        raise Unavailable(f"{' '.join(command[:3])} failed: {' / '.join(said)}")
