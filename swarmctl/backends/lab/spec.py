"""The declared shape of `lab:` under a NodePool."""

from __future__ import annotations

from typing import Annotated, ClassVar

import msgspec

from swarmctl.hosts.states import ABOUT, State

UNDERLAY = ("172.20.0.0/14",)
"""Networks that machines of this backend have their underlay addresses in; a mesh must keep out of them."""

INTERFACES = ("lo", "eth0")
"""Network interfaces that machines of this backend have before there is a mesh."""

LEAST_MEMORY = 16 << 20
"""Bytes with which a node still does its work: with 4 MiB the kernel kills what reads it back; 8 MiB sufficed."""

Count = Annotated[int, msgspec.Meta(ge=0, le=1000)]
Mtu = Annotated[int, msgspec.Meta(ge=576, le=9216)]
"""From what every IPv4 host takes (RFC 791) to what switches for jumbo frames let pass."""


class LabHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One machine with a name of its own."""

    name: Annotated[
        str,
        msgspec.Meta(
            description="Node name, unique in the stack.",
            pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            examples=["big-1"],
            extra_json_schema={
                "patternErrorMessage": "lower-case letters, digits and hyphens, a letter or digit at both ends, at "
                "most 63 characters"
            },
        ),
    ]
    labels: Annotated[
        dict[str, str],
        msgspec.Meta(description="Labels of this machine; they win over the pool's.", examples=[{"role": "head"}]),
    ] = {}
    state: Annotated[State | None, msgspec.Meta(description=ABOUT + "Left out: the pool's.", examples=["isolated"])] = (
        None
    )


class LabSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Machines in small on this computer, found as `NODE.lab.swarm`: exactly one of `count` and `hosts`."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("count", "hosts")

    count: Annotated[
        Count | None,
        msgspec.Meta(description="How many machines; they are called `POOL-0`, `POOL-1` and so on.", examples=[3]),
    ] = None
    hosts: Annotated[
        Annotated[list[LabHost], msgspec.Meta(min_length=1)] | None,
        msgspec.Meta(description="Machines by name.", examples=[[{"name": "big-1"}, {"name": "big-2"}]]),
    ] = None
    nat: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the pool stands behind a router of its own, which translates addresses (NAT). Its "
            "machines have a network of their own and reach all others; new connections from outside, also from "
            "behind another such router, are dropped. A mesh takes none of them as reachable, not even by each other. "
            "Needs nftables on this machine.",
            examples=[True],
        ),
    ] = False
    mtu: Annotated[
        Mtu,
        msgspec.Meta(
            description="Bytes of the largest packet on the underlay of the pool's machines. Machines of one region "
            "share a link: those with a smaller MTU never receive larger packets from it.",
            examples=[1500, 9000],
        ),
    ] = 1500


SPEC = LabSpec
