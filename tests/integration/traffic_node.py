"""One node's end of the traffic: sends numbered packets to its peers and notes what comes from them. See `traffic.py`.

Stands alone and needs the standard library only: it runs in a node's network, with one line of JSON as its argument.
SIGUSR2: what is sent from now on counts. SIGUSR1: send no more. SIGTERM: print what came of it, and end.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import sys
import time
from typing import Any

HEAD = struct.Struct("<IIIIQ")
"""Number of the sender, its start, 1 if the packet counts, its sequence number among those, when it was sent (ns)."""
TIMESTAMPNS = 35
"""SO_TIMESTAMPNS (asm-generic/socket.h): the kernel's own time of arrival, not the one when we come to read it."""
TIMESPEC = struct.Struct("@qq")
MOST_MISSING = 100_000


class Heard:
    """What came from one start of one sender. Times in ns of the machine's clock."""

    __slots__ = ("count", "delay", "duplicates", "expected", "gap", "gap_at", "last", "last_sent", "missing", "own_gap")

    def __init__(self) -> None:
        self.count = self.duplicates = self.expected = self.delay = self.last = self.last_sent = 0
        self.gap = self.gap_at = self.own_gap = 0
        self.missing: set[int] = set()

    def warm(self, sent: int, arrived: int) -> None:
        """A packet of before the count."""
        if not self.count:
            self.last, self.last_sent = arrived, sent

    def take(self, number: int, sent: int, arrived: int, interval: int) -> None:
        """A packet that counts."""
        if number < self.expected and number not in self.missing:
            self.duplicates += 1
            return
        self.count += 1
        self.delay = max(self.delay, arrived - sent)
        if self.last:
            gap = arrived - self.last
            if gap > self.gap:
                self.gap, self.gap_at = gap, arrived
            # A sender that came late with its next packet is no gap of the network.
            late = max(0, sent - self.last_sent - interval) if number == self.expected else 0
            self.own_gap = max(self.own_gap, gap - late)
        self.last, self.last_sent = max(arrived, self.last), sent
        if number >= self.expected:
            if number > self.expected and len(self.missing) < MOST_MISSING:
                self.missing.update(range(self.expected, number))
            self.expected = number + 1
        else:
            self.missing.discard(number)

    def report(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__ if name != "missing"}


class Node:
    """The socket, what was sent and what was heard."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.index = config["index"]
        self.start = int.from_bytes(os.urandom(4), "little")
        self.interval = int(1e9 / config["rate"])
        self.peers = [(int(number), tuple(address)) for number, address in config["peers"].items()]
        self.sent = dict.fromkeys((number for number, _ in self.peers), 0)
        self.refused = dict.fromkeys(self.sent, 0)
        self.heard: dict[tuple[int, int], Heard] = {}
        self.counting = self.sending = 0
        self.late = self.stopped = 0
        self.padding = bytes(max(0, config["size"] - HEAD.size))
        family = socket.AF_INET6 if config["six"] else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setsockopt(socket.SOL_SOCKET, TIMESTAMPNS, 1)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.socket.bind(("::" if config["six"] else "0.0.0.0", config["port"]))
        self.socket.setblocking(False)

    def run(self, groups: int) -> None:
        """Until SIGTERM: a group of the peers at each tick."""
        self.sending = self.alive = 1
        signal.signal(signal.SIGUSR2, lambda *_: setattr(self, "counting", 1))
        signal.signal(signal.SIGUSR1, lambda *_: setattr(self, "sending", 0))
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "alive", 0))
        print("ready", flush=True)
        parent, tick, number = os.getppid(), self.interval // groups, 0
        following = (time.monotonic_ns() // self.interval + 1) * self.interval
        if groups > 1:
            following += int.from_bytes(os.urandom(2), "little") * self.interval >> 16
        while self.alive and os.getppid() == parent:
            now = time.monotonic_ns()
            if now < following:
                time.sleep((following - now) / 1e9)
                continue
            if self.counting and self.sending:
                self.late = max(self.late, now - following)
            self.drain()
            if self.sending:
                self.send(self.peers[number % groups :: groups])
            elif not self.stopped:
                self.stopped = time.time_ns()
            # What was missed is left out: to send it all at once would make a busy machine busier.
            ticks = max(1, (time.monotonic_ns() - following) // tick + 1)
            number, following = number + ticks, following + ticks * tick
        self.drain()
        print(json.dumps(self.report()))

    def send(self, peers: list[tuple[int, tuple[Any, ...]]]) -> None:
        counts = self.counting
        for number, address in peers:
            packet = HEAD.pack(self.index, self.start, counts, self.sent[number], time.time_ns()) + self.padding
            self.sent[number] += counts
            try:
                self.socket.sendto(packet, address)
            except OSError:  # refused here: no peer, no route, a firewall, no room; it counts as sent, and so as lost
                self.refused[number] += counts

    def drain(self) -> None:
        receive, unpack, heard, interval = self.socket.recvmsg, HEAD.unpack_from, self.heard, self.interval
        while True:
            try:
                packet, extra, _, _ = receive(2048, 64)
            except BlockingIOError:
                return
            except OSError:  # what ICMP has told about an earlier packet
                continue
            if len(packet) < HEAD.size:
                continue
            sender, start, counts, number, sent = unpack(packet)
            seconds, rest = TIMESPEC.unpack_from(extra[0][2])
            arrived = seconds * 1_000_000_000 + rest
            of = heard.get((sender, start))
            if of is None:
                of = heard[(sender, start)] = Heard()
            if counts:
                of.take(number, sent, arrived, interval)
            else:
                of.warm(sent, arrived)

    def report(self) -> dict[str, Any]:
        return {
            "index": self.index,
            "start": self.start,
            "sent": self.sent,
            "refused": self.refused,
            "late": self.late,
            "stopped": self.stopped or time.time_ns(),
            "heard": [[sender, start, of.report()] for (sender, start), of in self.heard.items()],
        }


if __name__ == "__main__":
    asked = json.loads(sys.argv[1])
    Node(asked).run(asked["groups"])
