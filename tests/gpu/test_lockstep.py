"""Fabric Manager and the others that are released with the driver: equal to the last digit, or named."""

from __future__ import annotations

import pytest

from swarmctl.gpu.lockstep import mismatches, upstream


@pytest.mark.parametrize(
    ("there", "version"),
    [
        ("580.95.05-1", "580.95.05"),
        ("3:580.95.05-1.el9", "580.95.05"),
        ("595.84-0ubuntu0.24.04.1", "595.84"),
        ("1:4.6.0-1", "4.6.0"),
        ("580.95.05", "580.95.05"),
        ("", ""),
    ],
)
def test_the_drivers_version_is_told_from_the_package_managers(there: str, version: str) -> None:
    assert upstream(there) == version


def test_each_one_that_differs_is_named_under_any_of_its_names() -> None:
    # the pair that NVIDIA's own driver image 580.126.09 was released with (gpu-driver-container 735)
    packages = {
        "nvidia-fabricmanager-580": "590.48.01-1",
        "nvidia-fabric-manager": "580.126.09-1",
        "libnvidia-nscq": "580.126.09-1",
        "nvidia-imex-570": "570.133.20-1",
        "nvidia-container-toolkit": "1.20.0-1",
        "nvidia-fabricmanager-dev-580": "1",
    }
    assert mismatches("580.126.09", packages) == (
        ("nvidia-fabricmanager-580", "590.48.01"),
        ("nvidia-imex-570", "570.133.20"),
    )
