"""Building a node's file system below one folder that the node itself may have filled with traps."""

from __future__ import annotations

import os

from . import kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_QUIET = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
MASKED_FILES = (
    *("kcore", "keys", "key-users", "kmsg", "kallsyms", "kpagecount", "kpageflags", "kpagecgroup", "latency_stats"),
    *("mtrr", "sched_debug", "slabinfo", "sysrq-trigger", "timer_list", "timer_stats", "vmallocinfo", "modules"),
)
MASKED_FOLDERS = ("acpi", "asound", "bus", "driver", "dynamic_debug", "fs", "irq", "scsi", "tty")
MASKED_SYS = ("firmware", "devices/virtual/dmi", "devices/virtual/powercap", "fs/cgroup", "kernel/debug")


class Tree:
    """The node's root folder. Every name is opened step by step and never through a link."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, os.O_PATH | os.O_DIRECTORY)

    def folder(self, path: str, mode: int = 0o755) -> str:
        """Open a folder, made where it is missing or something else; returns a path that leads to it and only there."""
        current = os.dup(self._root)
        for part in path.split("/"):
            if part in ("", ".", ".."):
                raise ValueError(f"not a plain path: {path!r}")
            flags = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW
            try:
                following = os.open(part, flags, dir_fd=current)
            except FileNotFoundError:
                os.mkdir(part, mode, dir_fd=current)
                os.chmod(part, mode, dir_fd=current)
                following = os.open(part, flags, dir_fd=current)
            except NotADirectoryError:
                os.unlink(part, dir_fd=current)
                os.mkdir(part, mode, dir_fd=current)
                following = os.open(part, flags, dir_fd=current)
            os.close(current)
            current = following
        return f"/proc/self/fd/{current}"

    def file(self, path: str, content: bytes = b"", mode: int = 0o644) -> str:
        """Make a file anew; returns a path that leads to it and only there."""
        above, _, name = path.rpartition("/")
        folder = os.open(self.folder(above), os.O_PATH | os.O_DIRECTORY)
        try:
            os.unlink(name, dir_fd=folder)
        except FileNotFoundError:
            pass
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        descriptor = os.open(name, flags, mode, dir_fd=folder)
        os.write(descriptor, content)
        os.fchmod(descriptor, mode)
        return f"/proc/self/fd/{descriptor}"

    def link(self, path: str, target: str) -> None:
        """Make a symbolic link where nothing stands."""
        above, _, name = path.rpartition("/")
        folder = os.open(self.folder(above), os.O_PATH | os.O_DIRECTORY) if above else os.dup(self._root)
        try:
            os.symlink(target, name, dir_fd=folder)
        except FileExistsError:
            pass
        os.close(folder)

    def relink(self, path: str, target: str) -> None:
        """Make a symbolic link in the place of the file that stands there."""
        os.close(int(self.file(path).rpartition("/")[2]))
        above, _, name = path.rpartition("/")
        folder = os.open(self.folder(above), os.O_PATH | os.O_DIRECTORY)
        os.unlink(name, dir_fd=folder)
        os.symlink(target, name, dir_fd=folder)
        os.close(folder)

    def exists(self, path: str) -> bool:
        """Whether something stands there, looked up from the root without following the last link."""
        try:
            os.stat(path, dir_fd=self._root, follow_symlinks=False)
        except OSError:
            return False
        return True

    def mount(self, action: dict[str, Any]) -> None:
        """One mount of the layout."""
        kind = action["kind"]
        if kind == "file":
            self.file(action["target"])
            self._fixed(action["source"], action["target"])
            return
        target = self.folder(action["target"], action.get("mode", 0o755))
        if kind == "overlay":
            data = f"lowerdir={action['source']},upperdir={action['upper']},workdir={action['work']}"
            kernel.mount("overlay", target, "overlay", kernel.MS_NODEV, data)
        elif kind == "bind":
            kernel.bind(action["source"], target, recursive=True)
            kernel.remount_read_only(self.folder(action["target"]))
            self._cover(action["target"])
        elif kind == "tmpfs":
            kernel.mount("tmpfs", target, "tmpfs", kernel.MS_NOSUID | kernel.MS_NODEV, action["data"])
        elif kind == "folder":
            os.chmod(target, action["mode"])
        elif kind == "hide":
            self.hide(action["target"])

    def hide(self, path: str) -> None:
        """Put an empty, read-only folder in front of one."""
        kernel.mount("tmpfs", self.folder(path), "tmpfs", _QUIET | kernel.MS_RDONLY, "size=4k,mode=555")

    def _cover(self, top: str) -> None:
        """Hide what else is mounted below a folder of this machine's that was bound: only its top is read-only.

        A mount of the same file in front of itself (the interpreter's is one) is made read-only and stays.
        """
        base = f"{os.readlink(f'/proc/self/fd/{self._root}')}/{top}"
        device, root = next((device, root) for device, root, point in reversed(_mounts()) if point == base)
        hidden: list[str] = []
        for found, origin, point in sorted(_mounts(), key=lambda each: each[2].count("/")):
            path = point[len(base) + 1 :]
            if not point.startswith(f"{base}/") or any(f"{path}/".startswith(f"{above}/") for above in hidden):
                continue
            whole = f"{top}/{path}"
            if not self.exists(whole):
                continue  # below something that covers it already
            if found == device and origin == f"{root.rstrip('/')}/{path}":
                kernel.remount_read_only(self._existing(whole))
                continue
            hidden.append(path)
            if os.path.isdir(self._existing(whole)):
                self.hide(whole)
            else:
                self._fixed("/dev/null", whole)

    def devices(self, *, tty_group: bool) -> None:
        """A `/dev` of the node's own: no disk, no memory, no kernel log."""
        kernel.mount("tmpfs", self.folder("dev"), "tmpfs", kernel.MS_NOSUID | kernel.MS_NOEXEC, "size=64k,mode=755")
        for name in DEVICES:
            self._device(name)
        if os.path.exists("/dev/net/tun"):
            self._device("net/tun")
        group = ",gid=5" if tty_group else ""
        kernel.mount(
            "devpts",
            self.folder("dev/pts"),
            "devpts",
            kernel.MS_NOSUID | kernel.MS_NOEXEC,
            f"newinstance,ptmxmode=0666,mode=620{group}",
        )
        kernel.mount("tmpfs", self.folder("dev/shm"), "tmpfs", _QUIET, "size=64m,mode=1777")
        self.link("dev/ptmx", "pts/ptmx")
        for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
            self.link(f"dev/{name}", f"/proc/self/fd{target}")

    def processes(self) -> None:
        """`/proc` of the node's own process tree; settings read-only but for the network's."""
        try:
            kernel.mount("proc", self.folder("proc", 0o555), "proc", _QUIET)
        except PermissionError as error:
            raise PermissionError(
                f"{error}; the kernel refuses a new /proc where this machine's own is covered"
            ) from None
        kernel.bind(self.folder("proc/sys"), self.folder("proc/sys"))
        kernel.bind(self.folder("proc/sys/net"), self.folder("proc/sys/net"))
        kernel.remount_read_only(self.folder("proc/sys"))
        # Some of these hold for the whole machine (nf_hooks_lwtunnel), and modules that come later bring more.
        if self.exists("proc/sys/net/netfilter"):
            kernel.bind(self.folder("proc/sys/net/netfilter"), self.folder("proc/sys/net/netfilter"))
            kernel.remount_read_only(self.folder("proc/sys/net/netfilter"))
        for name in MASKED_FILES:
            if self.exists(f"proc/{name}"):
                self._fixed("/dev/null", f"proc/{name}")
        for name in MASKED_FOLDERS:
            if self.exists(f"proc/{name}"):
                self.hide(f"proc/{name}")

    def system(self) -> None:
        """`/sys` of the node's own network namespace, read-only."""
        kernel.mount("sysfs", self.folder("sys", 0o555), "sysfs", _QUIET | kernel.MS_RDONLY)
        for name in MASKED_SYS:
            if self.exists(f"sys/{name}"):
                self.hide(f"sys/{name}")

    def _device(self, name: str) -> None:
        os.close(int(self.file(f"dev/{name}").rpartition("/")[2]))
        self._fixed(f"/dev/{name}", f"dev/{name}")

    def _fixed(self, source: str, path: str) -> None:
        """Put a file of this machine in front of one, so that not even its mode, owner or times can be changed.

        A device is read and written all the same: that a mount is read-only says nothing about what it leads to.
        """
        kernel.bind(source, self._existing(path))
        kernel.remount_read_only(self._existing(path))

    def _existing(self, path: str) -> str:
        descriptor = os.open(path, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._root)
        return f"/proc/self/fd/{descriptor}"


def _mounts() -> list[tuple[str, str, str]]:
    """Device, root within it, and mount point of every mount here, in order (proc_pid_mountinfo(5))."""
    with open("/proc/self/mountinfo", "rb") as stream:
        lines = [line.split() for line in stream]
    return [(fields[2].decode(), _unescaped(fields[3]), _unescaped(fields[4])) for fields in lines]


def _unescaped(field: bytes) -> str:
    for code in (b"040", b"011", b"012", b"134"):
        field = field.replace(b"\\" + code, bytes([int(code, 8)]))
    return os.fsdecode(field)
