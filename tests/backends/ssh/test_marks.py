"""What machines say of themselves is taken apart strictly, and what they can't be used for is one clear sentence."""

from __future__ import annotations

import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.backends import clocks, ways
from swarmctl.backends.base import Fence, ForeignStack
from swarmctl.backends.ssh import access, machine, marks
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.hosts import first_look, public_keys
from swarmctl.hosts.first_look import Seen

WAY = {"backend": "ssh", "stack": "trial", "node": "n1", "address": "192.0.2.1", "user": "ops", "hostKeys": []}
SAID = b"""arch x86_64
clock 1700000000
connection 192.0.2.9 50000 192.0.2.1 22
missing wg
missing rm -rf
missing nft
manager apt-get
owner trial
owner 17
owner ann@laptop
machine trial
machine n1
machine SHA256:abc
"""


def test_what_a_machine_says() -> None:
    assert first_look.parse(SAID) == Seen(
        "x86_64", 1700000000, "192.0.2.9", 22, ("nft", "wg"), "apt-get", "trial", 17, "ann@laptop", "n1", "SHA256:abc"
    )
    assert first_look.parse(b"") == Seen()
    odd = first_look.parse(b"clock soon\nconnection x\nmanager rm\nowner a\nowner many\n\xff\xfe\n" * 3)
    assert (odd.clock, odd.port, odd.manager, odd.stack, odd.token) == (None, 0, "", "a", 0)


@given(st.binary(max_size=400))
def test_nothing_that_a_machine_says_breaks_anything(said: bytes) -> None:
    seen = first_look.parse(said)
    assert seen.stack.isprintable()
    assert set(seen.missing) <= set(first_look.PACKAGES)
    assert all(text.isprintable() for text in marks.left(said))


def test_the_mark_is_read_as_it_is_written() -> None:
    lines = marks.content("trial", "n1\nx", "SHA256:abc").decode().splitlines()
    seen = first_look.parse("".join(f"machine {line}\n" for line in lines).encode())
    assert (seen.stack, seen.node, seen.known_by) == ("trial", "n1 x", "SHA256:abc")


def fit(inputs: dict[str, Any] | None = None, way: dict[str, Any] | None = None, **seen: Any) -> str:
    now = {"clock": int(time.time()), "port": 22, "client": "192.0.2.9", **seen}
    try:
        machine._require_fit(Seen(**now), WAY | (way or {}), inputs or {})
    except HostRefused as error:
        return f"{error.message}; {error.hint}"
    return ""


def test_what_keeps_a_machine_from_being_a_node() -> None:
    assert fit() == ""
    assert fit(missing=("ip", "nft"), manager="dnf") == (
        "n1 lacks what a node needs: ip, nft; `dnf install iproute nftables` there"
    )
    assert "install there: wireguard-tools" in fit(missing=("wg",))
    assert "its clock is 365 days behind" in fit(clock=int(time.time()) - 365 * 86400)
    assert "its clock is 2.0 hours ahead" in fit(clock=int(time.time()) + 7200)
    assert "does not tell the time" in fit(clock=None)
    assert fit(clock=int(time.time()) - 600) == ""


@pytest.mark.parametrize("lacking", ["bash", "flock", "ip", "nft", "wg", "wireguard-go"])
def test_each_program_that_a_node_needs_is_looked_for(tmp_path: Path, lacking: str) -> None:
    for program in {*first_look.PACKAGES, "uname", "date", "head", "sed"} - {lacking}:
        (tmp_path / program).symlink_to(shutil.which(program) or "/bin/true")
    script = marks.LOOK[2].replace("/sys/module/", f"{tmp_path}/sys/")
    done = subprocess.run(["/bin/sh", "-c", script], env={"PATH": str(tmp_path)}, capture_output=True, check=True)
    assert first_look.parse(done.stdout).missing == (lacking,)


def test_a_managed_machine_whose_clock_goes_wrong_is_read_and_kept_in_mind(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = {"backend": "ssh", "node": "n1", "host": WAY}
    seen = Seen(clock=int(time.time()) - 365 * 86400, stack="trial", node="n1")
    monkeypatch.setattr(access, "look", lambda way, fence=None: seen)
    clocks.take()
    assert machine.read(inputs) == inputs
    assert clocks.take() == [f"n1: its clock is 365 days behind; {clocks.MEND}"]


def test_the_port_and_the_network_that_we_come_by_must_stay_open() -> None:
    assert "declare `listens: [22]`" in fit(way={"port": 2222})
    assert fit({"listens": [22, 2222]}, {"port": 2222}) == ""
    assert fit(way={"port": 2222}, port=0) == ""
    assert "sees swarmctl come from 192.0.2.9" in fit({"managedFrom": ["198.51.100.0/24"]})
    assert fit({"managedFrom": ["198.51.100.0/24", "192.0.2.0/24"]}) == ""
    assert fit({"managedFrom": ["2001:db8::/32"]}, client="2001:db8::9%eth0") == ""


def test_whose_it_is() -> None:
    fence = Fence("trial", 3, "ann@laptop")
    machine._require_ours(Seen(), WAY, fence)
    machine._require_ours(Seen(stack="trial", node="n1"), WAY, None)
    with pytest.raises(ForeignStack, match=r"n1 belongs to the stack other \(bob, token 7\)|n1 belongs to the stack"):
        machine._require_ours(Seen(stack="other", token=7, owner="bob"), WAY, None)
    with pytest.raises(HostRefused, match="n1 is the machine that the stack had as n2 once") as left:
        machine._require_ours(Seen(stack="trial", node="n2"), WAY, fence)
    assert "declare it as n2 and apply, leave it out and apply" in left.value.hint
    ways.record("trial", [{**WAY, "host": WAY | {"node": "n2"}}])
    try:
        with pytest.raises(HostRefused, match="n1 is the machine that the stack has as n2 already") as has:
            machine._require_ours(Seen(stack="trial", node="n2"), WAY, fence)
    finally:
        ways.record("trial", ())
    assert "leave it out, apply" in has.value.hint


GOOD = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIDIhSHbcJi4NE1CVRWGFFogg08vC1QIVc/DhVX6GYQX1"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (GOOD, ""),
        (f"{GOOD} ann@laptop", "something behind the key"),
        (f"n1 {GOOD}", "leave `n1` out"),
        (f" {GOOD}", "blanks"),
        (f"{GOOD}\n{GOOD}", "several lines"),
        (GOOD[:-21], "no base64"),
        (GOOD[:-20], "cut off"),
        (GOOD.replace("ed25519 ", "rsa "), "no key of the kind"),
        (GOOD.replace("ssh-ed25519", "ssh-rsa"), "no key of the kind ssh-rsa"),
        ("SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8", "fingerprint"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----", "private key"),
        ("ssh-dss AAAA", "begin with one of"),
        ("ssh-ed25519", "begin with one of"),
        ("", "begin with one of"),
        ("ssh-ed25519 AAAA", "no key of the kind"),
        ("ssh-ed25519 =", "no base64"),
    ],
)
def test_what_is_a_host_key(text: str, why: str) -> None:
    found = public_keys.problem(text)
    assert why in found
    assert bool(found) == bool(why)
    if not why:
        assert public_keys.fingerprint(text).startswith("SHA256:")
        assert len(public_keys.fingerprint(text)) == 50
