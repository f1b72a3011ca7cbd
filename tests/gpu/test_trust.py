"""A repository is trusted by one key and no other, and every package manager checks by it."""

from __future__ import annotations

import pytest

from swarmctl.hosts.packages import openpgp
from swarmctl.kinds.node_pool.accelerators import places, repositories
from swarmctl.kinds.node_pool.accelerators.errors import DriverImpossible
from swarmctl.kinds.node_pool.accelerators.machine import Machine

KEY, OTHER = (bytes([0x98, 12, 4, *at, 1, 0, 8, 1, 0, 8, 1]) for at in ([1, 2, 3, 4], [5, 6, 7, 8]))
"""Public key packets of version 4: what is in them is only counted."""


class Judge(Machine):
    """Nothing of a machine but its name."""

    def __init__(self) -> None:
        self.name = "n1"


def judge(keyring: bytes, wanted: bytes = KEY) -> None:
    Judge()._judge(keyring, *openpgp.fingerprints(wanted), "https://mirror.example/key")


def test_the_declared_key_alone_is_taken() -> None:
    judge(KEY)


@pytest.mark.parametrize("keyring", [OTHER, KEY + OTHER, OTHER + KEY, KEY + KEY, b"", KEY[:-1]])
def test_a_keyring_that_holds_anything_else_is_refused(keyring: bytes) -> None:
    with pytest.raises(DriverImpossible, match="is not the declared one"):
        judge(keyring)


@pytest.mark.parametrize(
    "head",
    [
        bytes([0x98, 13]),  # old format, a byte for the length, which is one too much
        bytes([0x99, 0, 13]),
        bytes([0x9A, 0, 0, 0, 13]),
        bytes([0xC6, 13]),  # new format
        bytes([0xC6, 255, 0, 0, 0, 13]),
        bytes([0xC6, 192, 0]),
    ],
)
def test_a_packet_that_says_to_be_longer_than_the_file_is_none(head: bytes) -> None:
    with pytest.raises(ValueError, match="ends in the middle"):
        openpgp.fingerprints(head + KEY[2:])
    whole = bytes([0xC6, len(KEY) - 2]) + KEY[2:]
    assert openpgp.fingerprints(whole) == openpgp.fingerprints(KEY)


def test_dnf_checks_packages_by_that_key() -> None:
    repository = {"url": "https://mirror.example/rhel9/x86_64", "key": "https://mirror.example/key", "fingerprint": ""}
    lines = repositories.of("dnf", places.NVIDIA, repository).text.splitlines()
    assert {"gpgcheck=1", f"gpgkey=file://{places.NVIDIA.rpm_key}"} <= set(lines)


def test_apt_takes_them_by_that_key_alone() -> None:
    repository = {"url": "https://mirror.example/debian12/x86_64", "key": "https://mirror.example/key"}
    text = repositories.of("apt", places.NVIDIA, repository).text
    assert text == f"deb [signed-by={places.NVIDIA.keyring}] https://mirror.example/debian12/x86_64 /\n"


def test_a_key_that_can_t_be_fetched_is_told_with_a_mend(monkeypatch: pytest.MonkeyPatch) -> None:
    from swarmctl.backends.base import CommandFailed
    from swarmctl.hosts.packages import Packages
    from swarmctl.kinds.node_pool.accelerators.reading import Seen

    def fails(self: Machine, text: str) -> None:
        raise CommandFailed("n1: sh ended with status 100: E: Download Failed", "")

    monkeypatch.setattr(Judge, "places", places.NVIDIA, raising=False)
    monkeypatch.setattr(Judge, "installed", lambda self: Packages("apt"))
    monkeypatch.setattr(Judge, "seen", lambda self: Seen())
    monkeypatch.setattr(Judge, "script", fails)
    with pytest.raises(DriverImpossible) as raised:
        Judge().trust({"url": "https://mirror.example/a", "key": "https://mirror.example/key", "fingerprint": "F"})
    assert "from https://mirror.example/key: sh ended with status 100: E: Download Failed" in raised.value.message
    assert raised.value.hint.startswith("see that this address is right and reached from the machine")
