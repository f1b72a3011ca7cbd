"""Probes of the network, sent from a host: the one script that sends them all, its request and its answers. Pure.

What an answer means at the sender (RFC 792, RFC 9293, RFC 4443): a connection or a reset shows that the packet came
through to the target's own network stack, as does "port unreachable" for UDP; silence shows that it did not, or, for
UDP, that something received it and kept quiet. Which of the two it was, the target's list of UDP sockets tells.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum, unique
from ipaddress import ip_address

WAIT = 1.4
"""Seconds a connection may take. Linux sends a SYN again after 1 s (RFC 6298), so one lost packet is forgiven."""
TIMEOUT = 20.0
"""Seconds after which the script as a whole counts as hung; it needs about 3."""

SCRIPT = r"""
set -m  # a process group for every probe, so that one kill takes it whole
wait_s=$1
try_ping() {
  local out status=0
  # Three, and the fastest counts: the first may wait for a handshake, or be lost to it, and all nodes send at once.
  out=$(ping -n -q -c 3 -i 0.2 -W 1 "$1") || status=$?
  out=${out##*= }
  printf 'ping %s %s %s\n' "$1" "$status" "${out%%/*}"
}
try_tcp() {
  local error status=0
  error=$({ exec 3<>"/dev/tcp/$1/$2"; } 2>&1) || status=$?
  printf 'tcp %s %s %s %s\n' "$1" "$2" "$status" "${error##*: }"
}
try_udp() {
  local error status=0
  error=$({ exec 3<>"/dev/udp/$1/$2" && printf x >&3 && read -r -N 1 -t 0.7 -u 3 _; } 2>&1) || status=$?
  printf 'udp %s %s %s %s\n' "$1" "$2" "$status" "${error##*: }"
}
pings=() others=()
while read -r what address port; do
  case $what in ping) pings+=("$address") ;; tcp | udp) others+=("$what $address $port") ;; esac
done
for address in "${pings[@]}"; do try_ping "$address" & done
wait
for request in "${others[@]}"; do
  read -r what address port <<<"$request"
  "try_$what" "$address" "$port" &
done
if ((${#others[@]})); then
  sleep "$wait_s"
  for group in $(jobs -pr); do kill -KILL -- "-$group"; done
fi
for table in /proc/net/udp /proc/net/udp6; do
  [[ -r $table ]] && while read -r _ socket _; do printf "listens %s\n" "${socket##*:}"; done <"$table"
done
printf 'end\n'
"""


@unique
class Answer(StrEnum):
    """What a port was seen to be from outside."""

    OPEN = "open"
    """The packet came through: something accepted it, or the target itself said that nobody listens."""
    CLOSED = "closed"
    """Nothing came back, or the way was refused."""
    UNKNOWN = "unknown"
    """Silence that has two explanations, or no answer about the probe at all."""


@dataclass(frozen=True, slots=True, order=True)
class Port:
    """One port of one address, as seen from a sender."""

    protocol: str
    """`tcp` or `udp`."""
    address: str
    number: int


@dataclass(frozen=True, slots=True)
class Ping:
    """Whether an echo came back. `rtt` is the fastest round trip in milliseconds, None without an answer."""

    reachable: bool
    rtt: float | None = None


@dataclass(frozen=True, slots=True)
class Answers:
    """Everything that one run of the script brought back."""

    pings: dict[str, Ping] = field(default_factory=dict)
    """By address."""
    ports: dict[Port, Answer] = field(default_factory=dict)
    """UDP silence is CLOSED here; `settle` judges it by the target's sockets."""
    listens: frozenset[int] = frozenset()
    """UDP ports with a socket on the sender itself."""
    complete: bool = False
    """Whether the script came to its end; without that, what is missing means nothing."""


def argv() -> list[str]:
    """The command that runs the probes on a host; what to probe comes on its standard input (`request`)."""
    return ["bash", "-c", SCRIPT, "swarmctl-probe", str(WAIT)]


def request(pings: Iterable[str], ports: Iterable[Port]) -> bytes:
    """Standard input of the script: one probe a line. Raises ValueError for what is no address or no port."""
    lines = [f"ping {ip_address(address)}\n" for address in pings]
    for port in ports:
        if port.protocol not in ("tcp", "udp") or not 0 < port.number < 65536:
            raise ValueError(f"cannot be probed: {port}")
        lines.append(f"{port.protocol} {ip_address(port.address)} {port.number}\n")
    return "".join(lines).encode()


_REACHED = frozenset({"Connection refused", "Connection reset by peer"})
"""ECONNREFUSED and ECONNRESET as the C library words them under LC_ALL=C; bash gives no number."""

_NO_PING = frozenset({"126", "127"})
"""What a shell says when the program cannot be started: nothing was measured."""


def parse(text: str) -> Answers:
    """Read what the script printed. Lines that it cannot have printed are left out: what a host says is untrusted."""
    pings: dict[str, Ping] = {}
    ports: dict[Port, Answer] = {}
    listens: set[int] = set()
    lines = text.splitlines()
    for line in lines:
        what, _, rest = line.partition(" ")
        words = rest.split(" ", 3)
        if what == "ping" and len(words) >= 2 and words[1] not in _NO_PING:
            reachable = words[1] == "0"
            pings[words[0]] = Ping(reachable, _milliseconds(words[2]) if reachable and len(words) > 2 else None)
        elif what in ("tcp", "udp") and len(words) == 4 and words[1].isdecimal():
            came_through = words[2] == "0" or words[3] in _REACHED
            ports[Port(what, words[0], int(words[1]))] = Answer.OPEN if came_through else Answer.CLOSED
        elif what == "listens" and re.fullmatch("[0-9A-F]{4}", rest):
            listens.add(int(rest, 16))
    return Answers(pings, ports, frozenset(listens), complete=lines[-1:] == ["end"])


def settle(port: Port, sender: Answers, target: Answers) -> Answer:
    """Judge one port by what both sides told. A probe that was still waiting at the end has no answer: silence."""
    if not sender.complete:
        return Answer.UNKNOWN
    answer = sender.ports.get(port, Answer.CLOSED)
    if answer is Answer.CLOSED and port.protocol == "udp" and (not target.complete or port.number in target.listens):
        return Answer.UNKNOWN
    return answer


def _milliseconds(text: str) -> float | None:
    return float(text) if re.fullmatch(r"[0-9]{1,7}(\.[0-9]{1,6})?", text) else None
