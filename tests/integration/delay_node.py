"""Holds up what goes through a cable: a bridge of two ends in user space, for kernels without netem. See `delay.py`.

Stands alone and needs the standard library only. Arguments: the device to make, which takes the cable's place, and the
cable's own end. Each line of input has delay and jitter in ms and the share of packets to lose; at its end all is over.
"""

from __future__ import annotations

import fcntl
import heapq
import os
import random
import select
import socket
import struct
import sys
import time

TUNSETIFF, IFF_TAP, IFF_NO_PI = 0x400454CA, 0x2, 0x1000
ETH_P_ALL = 3
PACKET_OUTGOING = 4
FRAME = 1 << 16


class Link:
    """Frames that wait, in each direction in the order in which they came."""

    def __init__(self, name: str, cable: str) -> None:
        self.tap = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        fcntl.ioctl(self.tap, TUNSETIFF, struct.pack("16sH22x", name.encode(), IFF_TAP | IFF_NO_PI))
        self.cable = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.cable.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.cable.bind((cable, ETH_P_ALL))
        self.cable.setblocking(False)
        self.waiting: list[tuple[float, int, bool, bytes]] = []
        self.last = {True: 0.0, False: 0.0}
        self.number = 0
        self.delay = self.jitter = self.loss = 0.0

    def run(self) -> None:
        poll = select.poll()
        for descriptor in (0, self.tap, self.cable.fileno()):
            poll.register(descriptor, select.POLLIN)
        while True:
            left = (self.waiting[0][0] - time.monotonic()) * 1000 if self.waiting else None
            ready = {descriptor for descriptor, _ in poll.poll(None if left is None else max(0.0, left))}
            if 0 in ready and not self.told():
                return
            if self.tap in ready:
                self.take(True)
            if self.cable.fileno() in ready:
                self.take(False)
            self.give()

    def told(self) -> bool:
        """Take new settings; False at the end."""
        said = os.read(0, 4096).decode().splitlines()
        if said:
            self.delay, self.jitter, self.loss = (float(word) for word in said[-1].split())
            print("set", flush=True)
        return bool(said)

    def take(self, inwards: bool) -> None:
        while True:
            try:
                if inwards:
                    frame = os.read(self.tap, FRAME)
                else:
                    frame, sender = self.cable.recvfrom(FRAME)
                    if sender[2] == PACKET_OUTGOING:
                        continue
            except BlockingIOError:
                return
            if self.loss and random.random() < self.loss:
                continue
            held = max(0.0, self.delay + random.uniform(-self.jitter, self.jitter)) / 1000
            due = self.last[inwards] = max(time.monotonic() + held, self.last[inwards])
            self.number += 1
            heapq.heappush(self.waiting, (due, self.number, inwards, frame))

    def give(self) -> None:
        now = time.monotonic()
        while self.waiting and self.waiting[0][0] <= now:
            _, _, inwards, frame = heapq.heappop(self.waiting)
            try:
                if inwards:
                    self.cable.send(frame)
                else:
                    os.write(self.tap, frame)
            except OSError:  # the link is down, or full: what a link loses
                continue


if __name__ == "__main__":
    link = Link(*sys.argv[1:])
    print("ready", flush=True)
    link.run()
