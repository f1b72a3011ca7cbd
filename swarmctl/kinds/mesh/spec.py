"""The declared shape of a Mesh."""

from __future__ import annotations

from typing import Annotated

import msgspec

Selector = dict[str, str]
"""Labels that must all be there with these values; an empty selector takes everything."""


class FullTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Every node has a tunnel to every other."""


class HubsTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hubs have tunnels to every node and to each other; spokes reach each other through the first hub by name."""

    select: Annotated[Selector, msgspec.Meta(description="Labels of the nodes that are hubs.", min_length=1)]


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Exactly one of `full` and `hubs`."""

    full: Annotated[
        FullTopology | None, msgspec.Meta(description="Every node has a tunnel to every other: `full: {}`.")
    ] = None
    hubs: Annotated[
        HubsTopology | None, msgspec.Meta(description="Hub and spoke: traffic between spokes goes through a hub.")
    ] = None


class MeshSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Spec of a Mesh."""

    cidrs: Annotated[
        list[Annotated[str, msgspec.Meta(extra_json_schema={"format": "x-cidr"})]],
        msgspec.Meta(
            description="Networks the nodes' mesh addresses are taken from: one IPv4, one IPv6, or both.",
            min_length=1,
            max_length=2,
        ),
    ]
    topology: Annotated[Topology, msgspec.Meta(description="Who has a tunnel to whom. Left out: `full`.")] = Topology(
        full=FullTopology()
    )
    listen_port: Annotated[int, msgspec.Meta(description="UDP port WireGuard listens on.", ge=1, le=65535)] = 51820
    mtu: Annotated[int, msgspec.Meta(description="MTU of the mesh interface, in bytes.", ge=1280, le=65475)] = 1420
    persistent_keepalive: Annotated[
        int,
        msgspec.Meta(
            description="Seconds between keepalive packets; 0 sends none. 25 suits nodes behind NAT.", ge=0, le=65535
        ),
    ] = 0
    interface: Annotated[
        str,
        msgspec.Meta(description="Name of the interface on every node.", pattern="^[a-z][a-z0-9-]{0,14}$"),
    ] = "wg0"
