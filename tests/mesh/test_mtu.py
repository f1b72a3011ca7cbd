"""The MTU of a mesh: what is left of the smallest link below it."""

from __future__ import annotations

import pytest

from swarmctl.mesh.mtu import carried


@pytest.mark.parametrize(
    ("underlay", "version", "value", "reason"),
    [
        ({"a": 1500, "b": 1500}, 4, 1440, "1500 of the underlay less 60 for WireGuard over IPv4"),
        ({"a": 1500}, 6, 1420, "1500 of the underlay less 80 for WireGuard over IPv6"),
        ({"a": 9000, "b": 9000}, 4, 8940, "9000 of the underlay less 60 for WireGuard over IPv4"),
        (
            {"a": 1500, "c": 1450, "b": 1450},
            4,
            1390,
            "1450 of the underlay of b, the least, less 60 for WireGuard over IPv4",
        ),
        ({"lo": 65536}, 4, 65455, "65536 of the underlay less 60 for WireGuard over IPv4, at most 65455"),
        ({}, 4, 1440, "1500 of the underlay less 60 for WireGuard over IPv4"),
    ],
    ids=["ethernet", "over IPv6", "jumbo", "VXLAN beside Ethernet", "loopback", "no nodes"],
)
def test_the_smallest_link_decides_and_the_calculation_is_shown(
    underlay: dict[str, int], version: int, value: int, reason: str
) -> None:
    found = carried(underlay, version=version)
    assert (found.value, found.reason) == (value, reason)
