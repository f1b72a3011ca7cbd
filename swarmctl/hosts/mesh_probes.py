"""What one node measures of its mesh, deeper than `probes`: loss, times, path MTU, what the underlay sees meanwhile.

Pure: the script (`mesh_probes.sh`), its request and its answers. What a node prints is untrusted: lines that the script
cannot have printed are left out, and of what was captured only counts and three lines are taken.

Many addresses are pinged by one fping where the node has it; a process per address, as with ping, costs ten times the
time. What may leave in clear is looked for by tcpdump: in the heads of all packets on the underlay, addresses of the
mesh; anywhere in them, a pattern that pings over the mesh carry and nobody else knows.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from ipaddress import ip_address, ip_network
from pathlib import Path

TIMEOUT = 30.0
"""Seconds after which the script as a whole counts as hung; it needs about 3, and 8 where it searches a path MTU."""
MOST_PACKETS = 200_000
"""Packets of one interface that are kept: 256 bytes of each, so 50 MiB at the most."""
HEADERS = {4: 28, 6: 48}
"""Bytes of IP and ICMP headers around the payload of an echo (RFC 791, 792, 8200)."""
SMALL = 56
"""Payload of a small echo, as ping sends it by itself."""
OUTPUT_LIMIT = 4 * 1024 * 1024
"""Characters that are read of an answer."""


@dataclass(frozen=True, slots=True)
class Echo:
    """What came of echoes to one address. Times in ms, None without an answer."""

    sent: int
    received: int
    least: float | None = None
    mean: float | None = None
    most: float | None = None

    @property
    def lossy(self) -> bool:
        """Whether some came back and some did not."""
        return 0 < self.received < self.sent


@dataclass(frozen=True, slots=True)
class Capture:
    """What one interface of the underlay saw while echoes ran over the mesh; counts of packets."""

    device: str
    captured: int = 0
    dropped: int = 0
    """What the kernel could not hand over in time: nobody knows what that was."""
    wireguard: int = 0
    fragments: int = 0
    """First fragments of WireGuard's packets."""
    clear: int = 0
    """From or to addresses of the mesh."""
    samples: tuple[str, ...] = ()
    """Of these the first, as tcpdump writes them."""
    pattern: int = 0
    """Whether the pattern of the echoes was in any: 0 means no."""
    failed: str = ""
    """Why nothing could be captured; empty when it could."""


@dataclass(frozen=True, slots=True)
class Sounding:
    """Everything that one run of the script brought back."""

    echoes: Mapping[str, Echo] = field(default_factory=dict)
    """By address."""
    larger: Mapping[str, bool] = field(default_factory=dict)
    """By address: whether an echo larger than the mesh's MTU, not to be fragmented, came back all the same."""
    largest: Mapping[str, int] = field(default_factory=dict)
    """By address: payload of the largest echo that came back, where it was searched."""
    captures: tuple[Capture, ...] = ()
    missing: frozenset[str] = frozenset()
    """Programs that the node lacks."""
    complete: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure."""

    echoes: Mapping[str, int]
    """Payload in bytes by address."""
    count: int
    """Echoes per address."""
    searches: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    """By address: a payload that comes through and one that doesn't; the largest that does is searched."""
    larger: Mapping[str, int] = field(default_factory=dict)
    """By address: a payload that must not leave in one piece."""
    networks: Sequence[str] = ()
    """Of the mesh; given, the underlay is watched."""
    port: int = 51820
    marked: Sequence[str] = ()
    """Addresses that get echoes with the pattern."""


@lru_cache(maxsize=1)
def _script() -> str:
    return Path(__file__).with_name("mesh_probes.sh").read_text("utf-8")


def argv() -> list[str]:
    """The command that measures on a host; what to measure comes on its standard input (`request`)."""
    return ["bash", "-c", _script(), "swarmctl-verify"]


def new_pattern() -> str:
    """16 letters that no other traffic has: ping repeats up to 16 bytes, and as text they are found in any packet."""
    return "".join(secrets.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(16))


def request(wanted: Request, pattern: str) -> bytes:
    """Standard input of the script. Raises ValueError for what is no address."""
    return "".join(f"{line}\n" for line in _lines(wanted, pattern)).encode()


def _lines(wanted: Request, pattern: str) -> Iterator[str]:
    yield f"count {int(wanted.count)}"
    yield f"pattern {pattern.encode().hex()} {pattern}"
    yield f"port {int(wanted.port)}"
    if wanted.networks:
        yield "capture"
        yield f"limit {MOST_PACKETS}"
        yield from (f"network {ip_network(network)}" for network in wanted.networks)
    groups: dict[tuple[int, int], list[str]] = {}
    for address, size in wanted.echoes.items():
        groups.setdefault((ip_address(address).version, int(size)), []).append(str(ip_address(address)))
    for (family, size), addresses in groups.items():
        yield f"group {family} {size} {' '.join(addresses)}"
    yield from (f"mark {ip_address(address)}" for address in wanted.marked)
    for address, size in wanted.larger.items():
        yield f"larger {ip_address(address).version} {int(size)} {ip_address(address)}"
    for address, (low, high) in wanted.searches.items():
        yield f"search {ip_address(address)} {int(low)} {int(high)}"


_NUMBER = r"[0-9]{1,7}(?:\.[0-9]{1,6})?"
_FPING = re.compile(
    rf"(larger )?([0-9a-f.:]+?)\s*: xmt/rcv/%loss = ([0-9]{{1,6}})/([0-9]{{1,6}})/[0-9-]+%"
    rf"(?:, min/avg/max = ({_NUMBER})/({_NUMBER})/({_NUMBER}))?"
)
_PING = re.compile(
    r"^(larger )?--- (\S+) ping statistics ---\n(?:larger )?([0-9]{1,6}) packets transmitted, ([0-9]{1,6}) received"
    rf"[^\n]*(?:\n(?:larger )?rtt min/avg/max/mdev = ({_NUMBER})/({_NUMBER})/({_NUMBER})/)?",
    re.MULTILINE,
)
_LARGEST = re.compile(r"^largest (\S+) ([0-9]{1,5})$", re.MULTILINE)


def parse(text: str) -> Sounding:
    """Read what the script printed."""
    text = text[:OUTPUT_LIMIT]
    head, _, rest = text.partition("@@ echoes\n")
    told, _, rest = rest.partition("@@ capture\n")
    seen, end, _ = rest.rpartition("@@ end")
    echoes: dict[str, Echo] = {}
    larger: dict[str, bool] = {}
    for match in (*_FPING.finditer(told), *_PING.finditer(told)):
        mark, address, sent, received, *times = match.groups()
        if mark:
            larger[address] = int(received) > 0
        else:
            least, mean, most = (float(time) if time else None for time in times)
            echoes[address] = Echo(int(sent), min(int(sent), int(received)), least, mean, most)
    return Sounding(
        echoes,
        larger,
        {match[1]: int(match[2]) for match in _LARGEST.finditer(told)},
        tuple(map(_capture, f"\n{seen}".split("\n@ device ")[1:])),
        frozenset(line[8:] for line in head.splitlines() if line in ("missing tcpdump", "missing ping")),
        complete=bool(end),
    )


def _capture(chunk: str) -> Capture:
    device, _, body = chunk.partition("\n")
    head, *sections = f"\n{body}".split("\n@ ")
    said = dict(line.rsplit(" ", 1) for line in head.splitlines() if " " in line)
    if (failed := re.search(r"^failed (.*)", head, re.MULTILINE)) or "captured" not in said:
        return Capture(device[:15], failed=(failed[1].strip()[:300] if failed else "") or "tcpdump told nothing")
    by_name = {name: lines for name, *lines in (section.splitlines() for section in sections)}
    if any(lines[-1:] == ["unknown"] for lines in by_name.values()) or not {"wireguard", "pattern"} <= by_name.keys():
        return Capture(device[:15], failed="tcpdump can't read what it has captured")

    def count(name: str) -> int:
        return _count(by_name.get(name, [""])[-1:])

    samples = tuple(line[2:202] for line in by_name.get("clear", ()) if line.startswith("  "))[:3]
    return Capture(
        device[:15],
        _count([said["captured"]]),
        _count([said.get("dropped by kernel", "0")]),
        count("wireguard"),
        count("fragments"),
        count("clear"),
        samples,
        count("pattern"),
    )


def _count(lines: Iterable[str]) -> int:
    return next((int(line) for line in lines if re.fullmatch("[0-9]{1,9}", line.strip())), 0)
