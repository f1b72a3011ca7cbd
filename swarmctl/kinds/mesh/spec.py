"""The declared shape of a Mesh."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from swarmctl.kinds.mesh.topologies import FullTopology, Selector, Topology


class Endpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where others reach one node, when that is not its own address."""

    node: Annotated[str, msgspec.Meta(description="Name of the node.", examples=["workers-0"])]
    host: Annotated[
        str,
        msgspec.Meta(
            description="IPv4 or IPv6 address or DNS name that leads to the node, such as one that its router passes "
            "on. `none`: nothing leads to it; it contacts others itself, keeps its tunnels open, and talks through a "
            "relay to nodes that can't be reached either.",
            min_length=1,
            max_length=253,
            examples=["vpn.example.net", "203.0.113.7", "none"],
        ),
    ]
    port: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=65535)] | None,
        msgspec.Meta(description="UDP port there. Left out: `listenPort`.", examples=[51820]),
    ] = None


class FixedAddresses(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Addresses of one node that are chosen and not given out."""

    node: Annotated[str, msgspec.Meta(description="Name of the node.", examples=["workers-0"])]
    addresses: Annotated[
        list[str],
        msgspec.Meta(
            description="Its address in one or in each of `cidrs`, without prefix length. In a network that is left "
            "out it is given one as any other node. In `[...]`, IPv6 needs quotes.",
            min_length=1,
            max_length=2,
            examples=[["10.88.0.7", "fd88:5b2a::7"]],
        ),
    ]


GENERATED = "generated"
NEVER = "never"
"""In place of a duration: keys stay until a rotation is asked for."""


class Keys(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How long the keys of nodes are used, and how they are rotated."""

    rotate_every: Annotated[
        str,
        msgspec.Meta(
            description="Age from which on a node's key counts as drift: the next apply rotates it without losing a "
            "packet. swarmctl never runs by itself, so keys get as old as the time between two applies allows. "
            "`never`: only `swarmctl mesh rotate` does.",
            pattern="^([1-9][0-9]{0,5}[hd]|never)$",
            extra_json_schema={
                "patternErrorMessage": "a whole number and `h` or `d`, such as `12h` or `30d`, or `never`"
            },
            examples=["30d", "never"],
        ),
    ] = "90d"
    rotation_port: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=65535)] | None,
        msgspec.Meta(
            description="UDP port of the second interface that nodes have while keys are rotated, on the underlay like "
            "`listenPort`. Left out: the port after `listenPort`.",
            examples=[51821],
        ),
    ] = None
    preshared_keys: Annotated[
        Literal["none", "generated"],
        msgspec.Meta(
            description="`generated`: every tunnel has a preshared key, which stays a secret when its public keys are "
            "broken one day (by a quantum computer, say). One end makes it and seals it to the other with age, a "
            "program that every node needs then; swarmctl carries only what is sealed. They are made anew whenever a "
            "key of an end is.",
            examples=["generated"],
        ),
    ] = "none"


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
    reserved: Annotated[
        list[str],
        msgspec.Meta(
            description="Parts of `cidrs` that no node gets an address of: networks, ranges (both ends included) and "
            "single addresses. A node that has one of these addresses already gets another.",
            examples=[["10.88.0.0/24", "10.88.9.1-10.88.9.20"]],
        ),
    ] = []
    addresses: Annotated[
        list[FixedAddresses],
        msgspec.Meta(
            description="Addresses of nodes that must have certain ones, such as those of a mesh that was imported. "
            "All other nodes are given free ones, which stay.",
            examples=[[{"node": "workers-0", "addresses": ["10.88.0.7"]}]],
        ),
    ] = []
    topology: Annotated[
        Topology,
        msgspec.Meta(
            description="Who has a tunnel to whom: exactly one of `full`, `hubs`, `regions`, `links` and `combine`.",
            examples=[{"full": {}}, {"regions": {"gateways": {"role": "gateway"}}}],
        ),
    ] = Topology(full=FullTopology())
    relays: Annotated[
        Annotated[Selector, msgspec.Meta(min_length=1)] | None,
        msgspec.Meta(
            description="Labels of the nodes that pass traffic on between two nodes that can't contact each other, "
            "because both stand behind NAT. They must be reachable themselves. Left out: no node is a relay.",
            examples=[{"role": "relay"}],
        ),
    ] = None
    endpoints: Annotated[
        list[Endpoint],
        msgspec.Meta(
            description="Where others reach nodes that are not reached at their own addresses. For all other nodes "
            "their backend says where.",
            examples=[[{"node": "workers-0", "host": "vpn.example.net"}, {"node": "laptop-0", "host": "none"}]],
        ),
    ] = []
    listen_port: Annotated[
        int, msgspec.Meta(description="UDP port WireGuard listens on, on the underlay of every node.", ge=1, le=65535)
    ] = 51820
    mtu: Annotated[
        Annotated[int, msgspec.Meta(ge=576, le=65455)] | None,
        msgspec.Meta(
            description="Largest packet on the mesh interface, in bytes; 1280 is the least that IPv6 takes. Left out: "
            "the least MTU of the nodes' underlay less what WireGuard adds, which is 60 bytes over IPv4 and 80 over "
            "IPv6; plan shows the calculation.",
            examples=[1420],
        ),
    ] = None
    persistent_keepalive: Annotated[
        int,
        msgspec.Meta(
            description="Seconds between keepalive packets; 0 sends none. Nodes that nobody can contact send them "
            "every 25 seconds at least, whatever is written here.",
            ge=0,
            le=65535,
            examples=[25],
        ),
    ] = 0
    confirm_within: Annotated[
        str,
        msgspec.Meta(
            description="How long a node waits for the run's word that all is well after a change of its mesh or "
            "firewall that may cut it off; without it the node undoes the change by itself. From `10s` to `1h`.",
            pattern="^([1-9][0-9]{1,2}|[12][0-9]{3}|3[0-5][0-9]{2}|3600)s$|^([1-9]|[1-5][0-9]|60)m$|^1h$",
            extra_json_schema={"patternErrorMessage": "a duration from `10s` to `1h`, such as `60s` or `5m`"},
            examples=["60s", "5m"],
        ),
    ] = "60s"
    keys: Annotated[
        Keys,
        msgspec.Meta(
            description="How long the keys of nodes are used, and how they are rotated.",
            examples=[{"rotateEvery": "30d", "rotationPort": 51821}],
        ),
    ] = Keys()
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
    adopt: Annotated[
        bool,
        msgspec.Meta(
            description="Whether a WireGuard interface of that name which swarmctl did not make is taken over, with "
            "its key and its sessions; `swarmctl import wireguard` writes this. The node copies the key itself, from "
            "the interface that runs or else from `/etc/wireguard/INTERFACE.conf`; it never leaves the node. When "
            "`false`, an interface of that name which is in the way is an error.",
            examples=[True],
        ),
    ] = False
