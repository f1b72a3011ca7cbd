"""Whether nodes can have WireGuard, found out before any node is made."""

from __future__ import annotations

import os

import pytest

from swarmctl import packages
from swarmctl.backends.lab import doctor, modes


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """An ordinary user's Debian machine whose kernel has no WireGuard."""
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(packages, "_os_release", lambda: {"ID": "debian"})
    monkeypatch.setattr(modes, "kernel_wireguard", lambda: False)
    return monkeypatch


def refused() -> modes.LabImpossible:
    with pytest.raises(modes.LabImpossible) as raised:
        modes.require_wireguard()
    return raised.value


def test_without_wireguard_go_the_package_is_named(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(modes, "has_wireguard_go", lambda: False)
    error = refused()
    assert "there is no wireguard-go" in error.message
    assert error.hint.startswith("sudo apt-get install -y --no-install-recommends wireguard-go; or `make machine`")


@pytest.mark.parametrize(("there", "mend"), [(True, "sudo chmod 0666 /dev/net/tun"), (False, "sudo modprobe tun")])
def test_a_tun_device_that_is_not_ours_is_named(machine: pytest.MonkeyPatch, there: bool, mend: str) -> None:
    machine.setattr(modes, "has_wireguard_go", lambda: True)
    machine.setattr(os, "access", lambda path, how: False)
    machine.setattr(os.path, "exists", lambda path: there)
    error = refused()
    assert "/dev/net/tun" in error.message
    assert error.hint == mend


def test_doctor_says_the_same(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(modes, "has_wireguard_go", lambda: False)
    mode = modes.Mode(rootless=True, overlay=False, user=True, kernel_wireguard=False)
    machine.setattr(modes, "detect", lambda *args, **more: mode)
    check = next(check for check in doctor.checks() if check.name == "lab WireGuard")
    error = refused()
    assert not check.ok
    assert check.detail in error.message
    assert check.mend == error.hint


def test_a_kernel_with_wireguard_needs_nothing_else(machine: pytest.MonkeyPatch) -> None:
    machine.setattr(modes, "has_wireguard_go", lambda: False)
    machine.setattr(modes, "kernel_wireguard", lambda: True)
    modes.require_wireguard()
