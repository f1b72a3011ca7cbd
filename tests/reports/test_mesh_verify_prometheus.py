"""The Prometheus text of `mesh verify` is one that Prometheus reads, and says what was measured."""

from __future__ import annotations

import re
from dataclasses import replace

from swarmctl.reports.mesh_verify_prometheus import render
from tests.status.verifying import see, troubled, world

LABEL = r'[a-z_]+="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(rf"([a-z_]+)\{{({LABEL}(?:,{LABEL})*)\}} (-?[0-9.]+(?:e[+-]?[0-9]+)?)")


def read(text: str) -> dict[tuple[str, str], float]:
    """The samples by name and labels, by the grammar of the format: help and type first, samples of a metric together,
    none twice, the last line ended."""
    assert text.endswith("\n")
    found: dict[tuple[str, str], float] = {}
    done: set[str] = set()
    lines = iter(text.splitlines())
    current = ""
    for line in lines:
        if line.startswith("# HELP "):
            current = line.split()[2]
            assert current not in done
            done.add(current)
            assert next(lines) == f"# TYPE {current} gauge"
            continue
        match = SAMPLE.fullmatch(line)
        assert match is not None, line
        assert match[1] == current
        assert (match[1], match[2]) not in found
        found[match[1], match[2]] = float(match[3])
    return found


def test_it_says_what_was_measured() -> None:
    samples = read(render(see(world())))
    assert samples["swarmctl_mesh_verified", 'stack="lab"'] == 1
    ends = 'stack="lab",mesh="backbone",from="workers-0",to="control-0"'
    assert samples["swarmctl_mesh_pair_rtt_avg_seconds", f'{ends},family="ipv6"'] == 0.00042
    assert samples["swarmctl_mesh_pair_loss_ratio", f'{ends},family="ipv4"'] == 0
    assert samples["swarmctl_mesh_handshake_age_seconds", ends] == 12
    assert samples["swarmctl_mesh_key_age_seconds", 'stack="lab",mesh="backbone",node="workers-0"'] == 3600


def test_it_says_what_is_wrong_and_has_no_samples_for_what_was_not_measured() -> None:
    samples = read(render(see(troubled())))
    mesh = 'stack="lab",mesh="backbone"'
    assert samples["swarmctl_mesh_verified", 'stack="lab"'] == 0
    assert samples["swarmctl_mesh_check_ok", f'{mesh},check="peers"'] == 0
    assert samples["swarmctl_mesh_check_findings", f'{mesh},check="peers"'] == 1
    silent = f'{mesh},from="workers-0",to="control-0",family="ipv4"'
    assert samples["swarmctl_mesh_pair_reachable", silent] == 0
    assert ("swarmctl_mesh_pair_rtt_avg_seconds", silent) not in samples


def test_names_are_escaped() -> None:
    found = replace(see(world()), stack='a"b\\c\nd')
    assert ("swarmctl_mesh_verified", r'stack="a\"b\\c\nd"') in read(render(found))
