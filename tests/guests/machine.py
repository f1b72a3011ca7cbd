"""A guest: QEMU with a kernel of its own, which systemd of its own runs; gone for sure when the test is over."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import image

MEMORY = 512
"""MiB."""
SPARE = "1G"
"""Size of the second disk, /dev/vdb, which has nothing on it."""
BOOT = {"kvm": 45.0, "tcg": 300.0}
"""Seconds until sshd answers; a processor that QEMU emulates is some twenty times slower."""


@dataclass
class Guest:
    """One that runs."""

    folder: Path
    image: Path
    port: int
    """Of its sshd, on 127.0.0.1."""
    lan: tuple[int, int]
    """UDP ports on 127.0.0.1: frames of its second interface come from the first and are sent to it by the second."""
    accelerator: str
    """`kvm` or `tcg`."""
    process: subprocess.Popen[bytes]

    @property
    def patience(self) -> float:
        """Seconds within which it has booted."""
        return BOOT[self.accelerator]

    def host(self, user: str = "root", **more: Any) -> dict[str, Any]:
        """Its `host` input."""
        about = {"backend": "ssh", "node": "guest", "address": "127.0.0.1", "port": self.port, "user": user}
        keys = {"hostKeys": [host_key(self.image)], "key": str(self.image / "key")}
        return {**about, **keys, **more}

    def monitor(self, command: str, **arguments: Any) -> Any:
        """One command of QEMU's machine protocol, such as `system_reset`: the reset button."""
        with socket.socket(socket.AF_UNIX) as plug:
            plug.settimeout(60)
            plug.connect(str(self.folder / "monitor"))
            lines = plug.makefile("r", encoding="utf-8")
            lines.readline()
            for name, words in (("qmp_capabilities", {}), (command, arguments)):
                plug.sendall(json.dumps({"execute": name, "arguments": words}).encode() + b"\n")
                while "event" in (answer := json.loads(lines.readline())):
                    continue
                if "error" in answer:
                    raise AssertionError(f"{name}: {answer['error']['desc']}")
            return answer["return"]

    def console(self) -> str:
        """What it has printed since it began."""
        return (self.folder / "console").read_text(errors="replace")


def host_key(folder: Path) -> str:
    """What its sshd shows."""
    return " ".join((folder / "host_key.pub").read_text().split()[:2])


@contextmanager
def running(folder: Path, work: Path) -> Iterator[Guest]:
    """A guest as it was when it had just booted, with disks of its own; ended afterwards, whatever happened.

    Its clock goes on from when the image was made: set it, where that matters. Raises `Unavailable`.
    """
    accelerator = _booted(folder)
    with _started(folder, work, accelerator, folder / "booted.qcow2", folder / "state") as guest:
        _await(guest, 30)
        yield guest


@contextmanager
def booting(folder: Path, work: Path, accelerator: str) -> Iterator[Guest]:
    """A guest that boots. Raises `Unavailable` when it does not come to its end."""
    with _started(folder, work, accelerator, folder / "disk.raw", None) as guest:
        _await(guest, BOOT[accelerator])
        yield guest


def _booted(folder: Path) -> str:
    """By what accelerator the kept guest has booted; boots it where there is none. Raises `Unavailable`."""
    with image.locked(folder.parent):
        # Memory goes only into the same machine again.
        words = _command(Path("image"), Path("work"), "", 0, (0, 0))
        machine = hashlib.sha256(" ".join(words).encode()).hexdigest()
        note = folder / "booted"
        if note.exists() and (found := note.read_text().split())[1:] == [machine]:
            return found[0]
        refused = "no /dev/kvm"
        for accelerator in ("kvm", "tcg") if os.access("/dev/kvm", os.R_OK | os.W_OK) else ("tcg",):
            try:
                _keep(folder, accelerator)
            except image.Unavailable as error:
                refused = str(error)
                continue
            note.write_text(f"{accelerator} {machine}")
            return accelerator
    raise image.Unavailable(refused)


def _keep(folder: Path, accelerator: str) -> None:
    """Boot, and write down what is in memory and on the disk then."""
    work = folder / "booting"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    with booting(folder, work, accelerator) as guest:
        _settled(guest)
        guest.monitor("migrate", uri=f"exec:cat >{folder}/state")
        _until(lambda: guest.monitor("query-migrate").get("status") == "completed", 60, "its memory is not written")
        guest.monitor("quit")
        guest.process.wait(20)
    (work / "disk").rename(folder / "booted.qcow2")


def _settled(guest: Guest) -> None:
    """sshd answers before all else has started."""
    command = ["ssh", "-F", "none", "-i", str(guest.image / "key"), "-p", str(guest.port), "-o", "BatchMode=yes"]
    command += ["-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "root@127.0.0.1"]
    words = "systemctl is-system-running --wait; journalctl --sync; sync"
    try:
        subprocess.run([*command, words], capture_output=True, timeout=guest.patience, check=False)
    except subprocess.TimeoutExpired:
        raise image.Unavailable("the guest does not come to rest") from None


@contextmanager
def _started(folder: Path, work: Path, accelerator: str, below: Path, state: Path | None) -> Iterator[Guest]:
    for name, more in (("disk", ["-b", str(below), "-F", "raw" if below.suffix == ".raw" else "qcow2"]), ("spare", [])):
        size = [SPARE] if name == "spare" else []
        command = ["qemu-img", "create", "-q", "-f", "qcow2", *more, str(work / name), *size]
        subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    port, *lan = free_ports(3)
    guest_command = _command(folder, work, accelerator, port, (lan[0], lan[1]))
    if state is not None:
        guest_command += ["-incoming", f"exec:cat {state}"]
    guest = Guest(work, folder, port, (lan[0], lan[1]), accelerator, _process(work, guest_command))
    try:
        yield guest
    finally:
        with suppress(ProcessLookupError):
            os.killpg(guest.process.pid, signal.SIGKILL)
        guest.process.wait()


def restart_by_grub(guest: Guest) -> None:
    """Have it end by itself, as `systemctl poweroff` does, and start it again: by firmware, GRUB, and its own /boot.

    From then on each restart is such a one. Raises `Unavailable` when it does not boot.
    """
    guest.monitor("system_powerdown")
    guest.process.wait(guest.patience)
    words = _command(guest.image, guest.folder, guest.accelerator, guest.port, guest.lan, grub=True)
    guest.process = _process(guest.folder, words)
    _await(guest, guest.patience)


def _process(work: Path, command: list[str]) -> subprocess.Popen[bytes]:
    with (work / "log").open("wb") as log:
        # A process group of its own, which ends with this process at the latest: see `-chardev` and the finalizer.
        return subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def _command(
    folder: Path, work: Path, accelerator: str, port: int, lan: tuple[int, int], *, grub: bool = False
) -> list[str]:
    words = ["qemu-system-x86_64", "-nodefaults", "-accel", accelerator, "-cpu", "max", "-m", str(MEMORY)]
    words += ["-smp", "1", "-display", "none"]
    if grub:
        # The first disk of the firmware's, `hd0` of GRUB's.
        words += ["-drive", f"file={folder}/grub.img,if=none,id=grub,format=raw,snapshot=on"]
        words += ["-device", "ide-hd,drive=grub,bootindex=0"]
    else:
        words += ["-kernel", str(folder / "kernel"), "-initrd", str(folder / "initrd")]
        words += ["-append", f"root=/dev/vda {image.APPEND}"]
    words += ["-serial", f"file:{work}/console", "-qmp", f"unix:{work}/monitor,server=on,wait=off"]
    for name in ("disk", "spare"):
        words += ["-drive", f"file={work}/{name},if=virtio,cache=unsafe"]
    # `restrict`: it reaches nothing but what is forwarded to it.
    ways = (
        f"user,id=outer,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
        "dgram,id=lan,local.type=inet,local.host=127.0.0.1,remote.type=inet,remote.host=127.0.0.1,"
        f"local.port={lan[0]},remote.port={lan[1]}",
    )
    for number, way in enumerate(ways, start=1):
        device = f"virtio-net-pci,netdev={way.partition('id=')[2].partition(',')[0]},mac=52:54:00:00:00:0{number}"
        words += ["-netdev", way, "-device", device]
    return [*words, "-device", "virtio-rng-pci"]


def _await(guest: Guest, seconds: float) -> None:
    """Until its sshd says who it is."""

    def greeted() -> bool:
        if guest.process.poll() is not None or "internal error" in _log(guest):
            raise image.Unavailable(f"QEMU ({guest.accelerator}) ended: {_log(guest)[-300:]}")
        with suppress(OSError), socket.create_connection(("127.0.0.1", guest.port), 2) as plug:
            plug.settimeout(5)
            return plug.recv(4) == b"SSH-"
        return False

    _until(greeted, seconds, f"the guest ({guest.accelerator}) did not boot within {seconds:g} s")


def _log(guest: Guest) -> str:
    return (guest.folder / "log").read_text(errors="replace")


def _until(so: Callable[[], bool], seconds: float, why: str) -> None:
    deadline = time.monotonic() + seconds
    while not so():
        if time.monotonic() >= deadline:
            raise image.Unavailable(why)
        time.sleep(0.2)


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody has, for TCP or UDP."""
    with_all: list[socket.socket] = []
    try:
        for _ in range(count):
            with_all.append(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            with_all[-1].bind(("127.0.0.1", 0))
        return [int(plug.getsockname()[1]) for plug in with_all]
    finally:
        for plug in with_all:
            plug.close()
