"""Latency and jitter on the link of a lab's node, also where the kernel has no netem.

There a program takes the place of the cable's end at the lab, under its name: nodes, declarations and what is read of
the underlay stay as they are. Both directions are held up, so that a round trip takes twice the delay.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmctl.backends.lab import network
from tests.integration.underlay import PYTHON, Underlay

PROGRAM = Path(__file__).with_name("delay_node.py")
# Frames as they would be on a wire: their checksums are there, and none is larger than the link takes.
PLAIN = """
import ctypes, fcntl, socket, struct, sys
own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for command in (0x17, 0x1F, 0x24, 0x19):  # ETHTOOL_STXCSUM, ETHTOOL_STSO, ETHTOOL_SGSO, ETHTOOL_SSG
    value = ctypes.create_string_buffer(struct.pack("II", command, int(sys.argv[1])))
    try:
        fcntl.ioctl(own, 0x8946, struct.pack("16sP", b"eth0", ctypes.addressof(value)))  # SIOCETHTOOL
    except OSError:
        continue
"""


@contextmanager
def held_up(underlay: Underlay, node: str, delay: float, jitter: float) -> Iterator[None]:
    """Round trips to a node take twice `delay` ms longer, give or take twice `jitter`; by netem where there is.

    That holds up only what goes to the node, so it does so for both directions.
    """
    if not underlay.has_netem():
        with Delay(underlay, node, delay, jitter=jitter):
            yield
        return
    underlay.netem(node, "delay", f"{2 * delay}ms", f"{2 * jitter}ms")
    try:
        yield
    finally:
        underlay.free(node)


class Delay:
    """Of one node's link, in ms each way; a context manager. `set` changes it, also while packets wait."""

    def __init__(self, underlay: Underlay, node: str, delay: float, *, jitter: float = 0.0, loss: float = 0.0) -> None:
        self._underlay, self._node = underlay, node
        self._cable = network.cable_name(node)
        self._aside = f"x{self._cable[1:]}"
        self._first = (delay, jitter, loss)
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Delay:
        inputs = self._underlay.inputs(self._node)
        master, mtu = network.bridge_name(inputs["address"]), inputs["mtu"]
        self._underlay.on(self._node, PYTHON, "-c", PLAIN, "0")
        moved = f"link set {self._cable} down nomaster\nlink set {self._cable} name {self._aside}\n"
        self._ip(f"{moved}link set {self._aside} up\n")
        words = [PYTHON, str(PROGRAM), self._cable, self._aside]
        self._process = self._underlay.start("", *words, stdin=subprocess.PIPE)
        self._expect("ready")
        self._ip(f"link set {self._cable} mtu {mtu} master {master}\nlink set {self._cable} up\n")
        self.set(*self._first)
        return self

    def set(self, delay: float, jitter: float = 0.0, loss: float = 0.0) -> None:
        """From now on; jitter changes no order."""
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(f"{delay} {jitter} {loss}\n")
        self._process.stdin.flush()
        self._expect("set")

    def _expect(self, word: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        assert self._process.stdout.readline() == f"{word}\n", "the delay does not start"

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        self._process.kill()
        self._process.communicate()
        inputs = self._underlay.inputs(self._node)
        back = f"link set {self._aside} down\nlink set {self._aside} name {self._cable}\n"
        plug = f"link set {self._cable} mtu {inputs['mtu']} master {network.bridge_name(inputs['address'])}\n"
        self._ip(f"{back}{plug}link set {self._cable} up\n", check=False)  # the node may be gone by now
        if self._underlay.process(self._node).alive():
            self._underlay.on(self._node, PYTHON, "-c", PLAIN, "1", check=False)

    def _ip(self, lines: str, *, check: bool = True) -> None:
        self._underlay.on("", "ip", "-batch", "-", stdin=lines, check=check)
