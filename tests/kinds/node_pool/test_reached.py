"""Where machines over SSH are declared to stand: what can't be an address, and one host key twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.declarations.stacks import diagnose, spec

A, B = (
    f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{tail}"
    for tail in ("DIhSHbcJi4NE1CVRWGFFogg08vC1QIVc/DhVX6GYQX1", "MsDAp1suoBm0oS6ykbVlG7ERJ3SfG1Eot2SUKeY4NP6")
)


def pool(name: str, *hosts: tuple[str, str, str], more: str = "") -> str:
    entries = "".join(f"      - {{name: {one}, address: {at}, hostKeys: [{key}]}}\n" for one, at, key in hosts)
    return spec("NodePool", name, f"  region: eu\n  ssh:\n{more}    hosts:\n{entries}")


@pytest.mark.parametrize(
    ("address", "why", "mend"),
    [
        ("10.201.7.14:22", "a port has a place of its own", "`address: 10.201.7.14`, `port: 22`"),
        ("n1.example.net:2222", "a port has a place of its own", "`address: n1.example.net`, `port: 2222`"),
        ("10.201.7.14:99999", "no name has a colon", "a port goes into `port`"),
        ("10.201.7.300:22", "no name has a colon", "a port goes into `port`"),
        ("fe80::1", "it is good on one link only", "that other networks know, too"),
        ("FEBF::1", "it is good on one link only", "that other networks know, too"),
        ("2001:db8::1::2", "it is no IPv6 address", "`2001:db8::10`"),
        ("10.201.7", "no name ends in a number", "write all four numbers"),
        ("14", "no name ends in a number", "write all four numbers"),
        ("10.201.7.300", "no name ends in a number", "255 at most, and 300 is not"),
        ("10.900.7.300", "no name ends in a number", "255 at most, and 900 and 300 are not"),
        ("203.0.113.010", "no name ends in a number", "without zeros before them: `203.0.113.10`"),
        ("n1.example.5", "no name ends in a number", "write the whole DNS name, or an address"),
    ],
)
@pytest.mark.parametrize("whose", ["machine", "jump host"])
def test_what_leads_nowhere_is_told_with_place_and_mend(
    tmp_path: Path, whose: str, address: str, why: str, mend: str
) -> None:
    jump = f'    jump: {{address: "{address}", hostKeys: [{B}]}}\n' if whose == "jump host" else ""
    text = pool("metal", ("n1", "203.0.113.10" if jump else f'"{address}"', A), more=jump)
    (found,) = diagnose(tmp_path, text, without=("NodePool",))
    assert found.code.id == "SW3238"
    subject = "the jump host" if jump else "the machine `n1`"
    assert found.message.startswith(f"{subject} can't be reached at `{address}`: {why}")
    assert mend in (found.help or "")
    assert found.range is not None
    line = text.splitlines()[found.range.start.line - 1]
    assert line[found.range.start.column - 1 :].startswith(f'"{address}"')


def test_brackets_are_refused_with_where_a_port_goes(tmp_path: Path) -> None:
    found = diagnose(tmp_path, pool("metal", ("n1", '"[2001:db8::1]:22"', A)), without=("NodePool",))
    said = " ".join(f"{it.message} {it.label} {it.help}" for it in found)
    assert "without brackets" in said
    assert "a port goes into `port`" in said


@pytest.mark.parametrize(
    "address", ["10.201.7.14", "2001:db8::10", "169.254.0.7", "fec0::1", "n1", "n1.example.net", "4u.example", "n-1.x2"]
)
def test_what_may_lead_somewhere_passes(tmp_path: Path, address: str) -> None:
    assert diagnose(tmp_path, pool("metal", ("n1", f'"{address}"', A)), without=("NodePool",)) == []


def test_one_host_key_at_two_addresses_is_one_machine_or_a_copy_and_the_help_breaks_neither(tmp_path: Path) -> None:
    text = pool("metal", ("n1", "203.0.113.10", A), ("n2", "203.0.113.11", A))
    (found,) = diagnose(tmp_path, text, without=("NodePool",))
    assert (found.code.id, found.severity) == ("SW3247", "warning")
    first, _, second = (found.help or "").partition("; ")
    assert first == "if both are one machine, with two addresses: take one of the entries away"
    assert second.startswith("if this one is a copy of `n1`: ")
    assert "on the copy, and nowhere else" in second


@pytest.mark.parametrize(
    ("one", "other", "told"),
    [
        (("n1", "203.0.113.10", A), ("n1", "203.0.113.11", A), ["SW3203"]),
        (("n1", "203.0.113.10", A), ("n2", "203.0.113.10", A), ["SW3243"]),
        (("n1", "203.0.113.10", A), ("n1", "203.0.113.10", A), ["SW3203", "SW3243"]),
    ],
    ids=["one name", "one place", "one entry in two pools"],
)
def test_what_has_an_error_of_its_own_is_not_told_by_its_host_key_too(
    tmp_path: Path, one: tuple[str, str, str], other: tuple[str, str, str], told: list[str]
) -> None:
    found = diagnose(tmp_path, pool("metal", one), pool("iron", other), without=("NodePool",))
    assert sorted(it.code.id for it in found) == told
