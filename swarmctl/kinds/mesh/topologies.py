"""The declared shape of a mesh's topology: who has a tunnel to whom."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

Selector = dict[str, str]
"""Labels that must all be there with these values; an empty selector takes everything."""


class FullTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Every node has a tunnel to every other."""


class HubsTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Hubs have tunnels to every node and to each other; spokes reach each other through a hub."""

    select: Annotated[
        Selector,
        msgspec.Meta(description="Labels of the nodes that are hubs.", min_length=1, examples=[{"role": "gateway"}]),
    ]


class RegionsTopology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Nodes of one region have tunnels to each other, and gateways to the gateways of other regions."""

    gateways: Annotated[
        Selector,
        msgspec.Meta(
            description="Labels of the nodes that are gateways; every region needs one. With several in a region the "
            "next one by name takes over when one dies.",
            min_length=1,
            examples=[{"role": "gateway"}],
        ),
    ]


class End(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Nodes at one end of a link: exactly one of `node`, `pool` and `select`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("node", "pool", "select")

    node: Annotated[str | None, msgspec.Meta(description="One node of the mesh by name.", examples=["workers-0"])] = (
        None
    )
    pool: Annotated[
        str | None,
        msgspec.Meta(
            description="Every node of a NodePool.",
            examples=["workers"],
            extra_json_schema={"x-swarmctl-ref": "NodePool"},
        ),
    ] = None
    select: Annotated[
        Selector | None,
        msgspec.Meta(
            description="Every node of the mesh with these labels; `{}` is all of them.", examples=[{"role": "db"}]
        ),
    ] = None


class Link(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Tunnels between two groups of nodes."""

    between: Annotated[
        list[End],
        msgspec.Meta(
            description="The two ends. Every node of one has a tunnel to every node of the other.",
            min_length=2,
            max_length=2,
            examples=[[{"node": "workers-0"}, {"pool": "db"}]],
        ),
    ]


_FULL = Annotated[FullTopology | None, msgspec.Meta(description="Every node has a tunnel to every other: `full: {}`.")]
_HUBS = Annotated[
    HubsTopology | None,
    msgspec.Meta(
        description="Hub and spoke: hubs have tunnels to every node; traffic between spokes goes through the first hub "
        "by name, and through the next one when that dies.",
        examples=[{"select": {"role": "gateway"}}],
    ),
]
_REGIONS = Annotated[
    RegionsTopology | None,
    msgspec.Meta(
        description="Every node has a tunnel to every other of its region (`region` of its NodePool); traffic between "
        "regions goes through their gateways.",
        examples=[{"gateways": {"role": "gateway"}}],
    ),
]
_LINKS = Annotated[
    Annotated[list[Link], msgspec.Meta(min_length=1)] | None,
    msgspec.Meta(
        description="Tunnels one by one. Nodes without a tunnel to each other talk through nodes between them, along "
        "the fewest tunnels.",
        examples=[[{"between": [{"node": "workers-0"}, {"pool": "db"}]}]],
    ),
]


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Some nodes of the mesh, and a topology among them: exactly one of `full`, `hubs`, `regions` and `links`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("full", "hubs", "regions", "links")

    select: Annotated[
        Selector,
        msgspec.Meta(
            description="Labels of the nodes that this part is about; `{}` is all of them.", examples=[{"site": "a"}]
        ),
    ] = {}
    full: _FULL = None
    hubs: _HUBS = None
    regions: _REGIONS = None
    links: _LINKS = None


class Topology(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Exactly one of `full`, `hubs`, `regions`, `links` and `combine`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("full", "hubs", "regions", "links", "combine")

    full: _FULL = None
    hubs: _HUBS = None
    regions: _REGIONS = None
    links: _LINKS = None
    combine: Annotated[
        Annotated[list[Part], msgspec.Meta(min_length=1)] | None,
        msgspec.Meta(
            description="Several topologies at once, each among the nodes that its `select` takes: a tunnel is there "
            "when any of them asks for it.",
            examples=[[{"select": {"site": "a"}, "full": {}}, {"hubs": {"select": {"role": "gateway"}}}]],
        ),
    ] = None
