"""A cable between a guest's second interface and a namespace: frames of a tap go as datagrams over loopback.

Run as a program it is the plug in the namespace: `lan.py DESCRIPTOR PORT` with a UDP socket made outside.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

TAP = "lan0"
_TUNSETIFF, _IFF_TAP, _IFF_NO_PI = 0x400454CA, 0x0002, 0x1000


@contextmanager
def plugged(namespace: int, ports: tuple[int, int], address: str = "", *, bridge: str = "") -> Iterator[None]:
    """Connect the namespaces of a process with a guest (`Guest.lan`): by an `address` of its own there, with its prefix
    length, or as a port of a `bridge` that is there already."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as cable:
        cable.bind(("127.0.0.1", ports[1]))
        os.set_inheritable(cable.fileno(), True)
        command = ["nsenter", "-t", str(namespace), "-n", sys.executable, __file__, str(cable.fileno()), str(ports[0])]
        plug = subprocess.Popen(command, pass_fds=[cable.fileno()], stdout=subprocess.PIPE)
    try:
        assert plug.stdout is not None
        assert plug.stdout.readline() == b"plugged\n"
        joined = f"ip link set {TAP} master {bridge}" if bridge else f"ip addr add {address} dev {TAP}"
        setup = f"{joined} && ip link set {TAP} up && ip link set lo up"
        subprocess.run(["nsenter", "-t", str(namespace), "-n", "sh", "-c", setup], check=True)
        yield
    finally:
        plug.kill()
        plug.communicate()


def main(descriptor: int, port: int) -> None:
    """Pass frames on, both ways, until it is killed."""
    tap = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(tap, _TUNSETIFF, struct.pack("16sH14x", TAP.encode(), _IFF_TAP | _IFF_NO_PI))
    cable = socket.socket(fileno=descriptor)
    print("plugged", flush=True)
    while True:
        for ready in select.select([tap, cable], [], [])[0]:
            try:
                if ready is cable:
                    os.write(tap, cable.recv(65536))
                else:
                    cable.sendto(os.read(tap, 65536), ("127.0.0.1", port))
            except OSError:
                continue  # one end is not up yet: a frame is lost, as on a cable


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
