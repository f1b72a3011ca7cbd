"""The declared shape of a Mesh."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

Selector = dict[str, str]
"""Labels that must all be there with these values; an empty selector takes everything."""


class FullTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Every node has a tunnel to every other."""


class HubsTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hubs have tunnels to every node and to each other; spokes reach each other through the first hub by name."""

    select: Annotated[
        Selector,
        msgspec.Meta(description="Labels of the nodes that are hubs.", min_length=1, examples=[{"role": "gateway"}]),
    ]


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Exactly one of `full` and `hubs`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("full", "hubs")

    full: Annotated[
        FullTopology | None, msgspec.Meta(description="Every node has a tunnel to every other: `full: {}`.")
    ] = None
    hubs: Annotated[
        HubsTopology | None,
        msgspec.Meta(
            description="Hub and spoke: hubs have tunnels to every node; traffic between spokes goes through the "
            "first hub by name.",
            examples=[{"select": {"role": "gateway"}}],
        ),
    ] = None


class MeshSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Addresses, topology and WireGuard settings of the mesh."""

    cidrs: Annotated[
        list[str],
        msgspec.Meta(
            description="Networks the nodes' mesh addresses are taken from: one IPv4, one IPv6, or both. "
            "Write IPv6 in quotes: in `[...]` YAML may take its colons for a mapping.",
            min_length=1,
            max_length=2,
            examples=[["10.88.0.0/16", "fd88:5b2a::/64"]],
        ),
    ]
    topology: Annotated[
        Topology,
        msgspec.Meta(
            description="Who has a tunnel to whom: exactly one of `full` and `hubs`.", examples=[{"full": {}}]
        ),
    ] = Topology(full=FullTopology())
    listen_port: Annotated[
        int, msgspec.Meta(description="UDP port WireGuard listens on, on the underlay of every node.", ge=1, le=65535)
    ] = 51820
    mtu: Annotated[
        int,
        msgspec.Meta(
            description="Largest packet on the mesh interface, in bytes; 1280 is the least that IPv6 takes. WireGuard "
            "adds 60 bytes over IPv4 and 80 over IPv6.",
            ge=576,
            le=65455,
        ),
    ] = 1420
    persistent_keepalive: Annotated[
        int,
        msgspec.Meta(
            description="Seconds between keepalive packets; 0 sends none. 25 suits nodes behind NAT.",
            ge=0,
            le=65535,
            examples=[25],
        ),
    ] = 0
    interface: Annotated[
        str,
        msgspec.Meta(
            description="Name of the network interface on every node, at most 15 characters.",
            pattern="^[a-z][a-z0-9-]{0,14}$",
            extra_json_schema={
                "patternErrorMessage": "a lower-case letter, then lower-case letters, digits and hyphens, at most 15 "
                "characters"
            },
        ),
    ] = "wg0"
