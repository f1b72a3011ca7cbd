"""The probe script on this machine's loopback, in a network of its own, and the judgement of what it prints."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from swarmctl.hosts import probes
from swarmctl.hosts.probes import Answer, Answers, Ping, Port

TCP = Port("tcp", "10.88.0.1", 6379)
UDP = Port("udp", "10.88.0.1", 7946)


def test_the_request_is_one_probe_a_line() -> None:
    assert probes.request(["10.88.0.1", "fd88::1"], [TCP, UDP]) == (
        b"ping 10.88.0.1\nping fd88::1\ntcp 10.88.0.1 6379\nudp 10.88.0.1 7946\n"
    )


@pytest.mark.parametrize("address", ["10.0.0.1; reboot", "$(reboot)", "node", ""])
def test_what_is_no_address_never_reaches_the_script(address: str) -> None:
    with pytest.raises(ValueError, match="address"):
        probes.request([address], [])
    with pytest.raises(ValueError, match="address"):
        probes.request([], [Port("tcp", address, 1)])


@pytest.mark.parametrize("port", [Port("icmp", "10.0.0.1", 1), Port("tcp", "10.0.0.1", 0), Port("tcp", "::1", 65536)])
def test_what_is_no_port_never_reaches_the_script(port: Port) -> None:
    with pytest.raises(ValueError, match="cannot be probed"):
        probes.request([], [port])


@pytest.mark.parametrize(
    ("line", "answer"),
    [
        ("tcp 10.88.0.1 6379 0 ", Answer.OPEN),
        ("tcp 10.88.0.1 6379 1 Connection refused", Answer.OPEN),
        ("tcp 10.88.0.1 6379 1 Connection reset by peer", Answer.OPEN),
        ("tcp 10.88.0.1 6379 1 No route to host", Answer.CLOSED),
        ("tcp 10.88.0.1 6379 1 Network is unreachable", Answer.CLOSED),
        ("tcp 10.88.0.1 6379 1 Permission denied", Answer.CLOSED),
    ],
)
def test_only_what_came_through_counts_as_open(line: str, answer: Answer) -> None:
    told = probes.parse(f"{line}\nend\n")
    assert probes.settle(TCP, told, Answers()) is answer


def test_a_connection_still_waiting_at_the_end_is_closed() -> None:
    assert probes.settle(TCP, probes.parse("end\n"), Answers()) is Answer.CLOSED


def test_udp_is_open_when_the_target_says_nobody_listens() -> None:
    told = probes.parse("udp 10.88.0.1 7946 1 Connection refused\nend\n")
    assert probes.settle(UDP, told, Answers(complete=True)) is Answer.OPEN


def test_udp_silence_is_closed_only_where_nothing_listens() -> None:
    silent = probes.parse("udp 10.88.0.1 7946 142 \nend\n")
    assert probes.settle(UDP, silent, probes.parse("end\n")) is Answer.CLOSED
    assert probes.settle(UDP, silent, probes.parse("listens 1F0A\nend\n")) is Answer.UNKNOWN
    assert probes.settle(UDP, silent, Answers()) is Answer.UNKNOWN, "the target's sockets are not known"


def test_an_answer_that_broke_off_proves_nothing() -> None:
    assert probes.settle(TCP, probes.parse("ping 10.88.0.1 0 0.4\n"), Answers()) is Answer.UNKNOWN


def test_pings_carry_their_round_trip() -> None:
    told = probes.parse("ping 10.88.0.1 0 0.615\nping fd88::1 1 PING\nping 10.88.0.2 127 \nend\n")
    assert told.pings == {"10.88.0.1": Ping(True, 0.615), "fd88::1": Ping(False)}


@pytest.mark.parametrize(
    "junk", ["", "\x00\xff", "ping", "tcp a", "tcp 1 2 3", "listens zz", "end end", "ping x 0 1e9"]
)
def test_junk_from_a_host_is_left_out(junk: str) -> None:
    told = probes.parse(junk)
    assert not told.ports
    assert not told.listens
    assert not told.complete
    assert all(ping.rtt is None for ping in told.pings.values())


def test_the_script_tells_open_from_closed_on_the_loopback() -> None:
    with socket.socket() as listener, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        silent.bind(("127.0.0.1", 0))
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))
            nobody = Port("tcp", "127.0.0.1", unused.getsockname()[1])
        open_, kept = (
            Port("tcp", "127.0.0.1", listener.getsockname()[1]),
            Port("udp", "127.0.0.1", silent.getsockname()[1]),
        )
        # The time for connections that hang is cut: none hangs here.
        argv = [*probes.argv()[:-1], "0.9"]
        run = subprocess.run(
            argv,
            input=probes.request([], [open_, nobody, kept]),
            capture_output=True,
            env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            timeout=probes.TIMEOUT,
            check=False,
        )
    told = probes.parse(run.stdout.decode())
    assert told.complete, run.stderr
    assert probes.settle(open_, told, told) is Answer.OPEN
    assert probes.settle(nobody, told, told) is Answer.OPEN, "refused: the packet came through"
    if sys.platform == "linux":
        assert kept.number in told.listens
        assert probes.settle(kept, told, told) is Answer.UNKNOWN
