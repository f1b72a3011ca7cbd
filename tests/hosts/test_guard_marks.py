"""What the guard copies of an interface names the key of a mesh by its mark, and nothing that lies elsewhere."""

from __future__ import annotations

import subprocess

import pytest

from swarmctl.hosts.guard_script import COPY

STUBS = r"""
set -eu
answers() { :; }
wg() { echo 1; }
ip() {
  case "$*" in
    *'link show'*) printf '5: wg0: <POINTOPOINT,UP> mtu 1420 qdisc noqueue \\    link/none \\    alias %s\n' "$MARK" ;;
  esac
}
proc=/nowhere
copy_interface wg0
"""


@pytest.mark.parametrize(
    ("mark", "key"),
    [
        ("swarmctl:backbone", ["key /etc/swarmctl/mesh/backbone/private.key"]),
        ("swarmctl:../../victim/data", []),
        ("swarmctl:..", []),
        ("swarmctl:", []),
        ("swarmctl:a/b", []),
    ],
)
def test_a_key_is_named_by_a_mark_that_swarmctl_makes_only(mark: str, key: list[str]) -> None:
    done = subprocess.run(
        ["sh", "-c", f"{COPY}{STUBS}"], env={"PATH": "/usr/bin:/bin", "MARK": mark}, capture_output=True, check=True
    )
    lines = done.stdout.decode().splitlines()
    assert [line for line in lines if line.startswith("key ")] == key
    assert "mtu 1420" in lines
    assert "state up" in lines
