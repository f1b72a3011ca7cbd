"""Access on the mesh of a real lab: a grant that ends by itself, and counters in `status`."""

from __future__ import annotations

import re
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from swarmctl.kinds.security_policy.spec import moment
from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("access")]

ECHO = """
use IO::Socket::IP;
$SIG{CHLD} = "IGNORE";
my $s = IO::Socket::IP->new(LocalHost => "::", LocalPort => $ARGV[0], Listen => 9, V6Only => 0) or die $@;
while (my $c = $s->accept) { next if fork; while (sysread $c, my $x, 9) { syswrite $c, $x } exit }
"""
TALK = """
end=$2
exec 3<>/dev/tcp/%s/$1 || exit 1
while [ "$(date +%%s)" -lt "$end" ]; do
  echo x >&3; read -r -t 1 -u 3 _ || break
  last=$(date +%%s.%%N); sleep 0.1
done
echo "$last"
"""
UDP = 20 + 8
"""Bytes of the headers of IPv4 and UDP (RFC 791, 768)."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path_factory.mktemp("access"))
    made.edit("cluster.yaml", "5b2a9a52-7d0c-4c6e-9a0e-6f1f4f0a9c11", str(uuid.uuid4()))
    for count in (2, 3):
        made.edit("pools.yaml", f"count: {count}", "count: 1")
    made("apply", "--yes")
    made("status")  # waits for sessions: two ends that begin at once drop each other's handshake, and try again later
    yield made
    made("destroy", "--yes")
    labs.assert_nothing_left(made)


def status(lab: labs.Lab) -> Any:
    return lab("status", "--no-probe", "--format", "json").json


def traffic(seen: Any, flow: str) -> tuple[int, int]:
    (found,) = (one for one in seen["traffic"] if one["flow"] == flow)
    return found["packets"], found["bytes"]


def address(seen: Any, node: str) -> str:
    (found,) = (one["addresses"][0] for one in seen["nodes"] if one["name"] == node)
    return str(found)


def test_status_counts_what_was_sent_by_a_flow_and_what_was_denied(lab: labs.Lab) -> None:
    lab.edit("network.yaml", "from: {role: worker}, to: {role: worker}", "from: {role: head}, to: {role: worker}")
    lab("apply", "--yes")
    before = status(lab)
    there = address(before, "workers-0")
    lab.on("control-0", f"bash -c 'for i in $(seq 23); do echo hello >/dev/udp/{there}/7946; done; sleep 0.3'")
    lab.on("control-0", f"bash -c 'for i in $(seq 17); do echo hello >/dev/udp/{there}/7947; done; sleep 0.3'")
    after = status(lab)
    packets, size = traffic(before, "gossip")
    assert traffic(after, "gossip") == (packets + 23, size + 23 * (UDP + 6))
    assert [one["node"] for one in after["traffic"][2]["nodes"]] == ["workers-0"]
    assert after["denied"]["packets"] - before["denied"]["packets"] == 17
    assert after["denied"]["bytes"] - before["denied"]["bytes"] == 17 * (UDP + 6)
    shown = lab("status", "--no-probe").out
    assert re.search(rf"baseline/gossip +{packets + 23:,} +{size + 23 * (UDP + 6):,} B +1\b", shown), shown
    lab("drift")


def test_a_grant_ends_by_itself_with_its_connections_and_is_no_drift(lab: labs.Lab) -> None:
    lasting = "      - {name: lasting, from: {role: worker}, to: {role: head}, ports: [7013]}\n"
    begun = time.monotonic()
    there = address(status(lab), "workers-0")
    lab("plan")
    ends = int(time.time() + max(20, 10 * (time.monotonic() - begun)))  # a busy machine needs longer for what follows
    grant = lasting.replace("lasting", "grant").replace("7013]", f'7010], until: "{moment(ends)}"')
    network = lab.stack / "network.yaml"
    network.write_text(network.read_text().rstrip() + "\n" + lasting + grant)
    assert f"tcp/7010 from {there} on wg0 until {moment(ends)}" in lab("plan").out
    lab("apply", "--yes")
    head = address(status(lab), "control-0")
    for port in (7010, 7013):
        lab.on("control-0", f"setsid perl -e '{ECHO}' {port} >/dev/null 2>&1 </dev/null & sleep 0.5")
    assert time.time() < ends - 3, "too slow a machine for this test"
    talks = {
        port: lab.start("exec", "workers-0", "--", "bash", "-c", TALK % head, "talk", str(port), str(ends + 5))
        for port in (7010, 7013)
    }
    last = {port: float(labs.ended(talk, ("talk",), code=0, timeout=240).out) for port, talk in talks.items()}
    assert ends - 1.5 < last[7010] < ends + 0.5
    assert last[7013] > ends + 3
    ended = lab("validate")
    assert "warning[SW3310]: the flow `grant` has ended" in ended.out + ended.err
    assert lab("plan", "--detailed-exitcode").code == 0
    lab("drift")
    assert traffic(status(lab), "grant")[0] > 10
