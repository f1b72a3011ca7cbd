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
