"""The declared shape of `ssh:` under a NodePool."""

from __future__ import annotations

from typing import Annotated

import msgspec

from swarmctl.hosts.states import ABOUT, State

UNDERLAY: tuple[str, ...] = ()
"""Machines have the addresses they have; none is given out."""

INTERFACES = ("lo",)
"""The one network interface that every machine has before there is a mesh."""

BY_DECLARATION = True
"""The way to a machine stands in the declarations: it was there before them."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
Ports = Annotated[list[Port], msgspec.Meta(min_length=1, max_length=8)]
Mtu = Annotated[int, msgspec.Meta(ge=576, le=9216)]
User = Annotated[
    str,
    msgspec.Meta(
        pattern="^[A-Za-z_][A-Za-z0-9_.-]{0,31}$",
        extra_json_schema={"patternErrorMessage": "a login name: letters, digits, `_`, `.` and `-`, at most 32"},
    ),
]
Where = Annotated[
    str,
    msgspec.Meta(
        pattern="^[A-Za-z0-9_]([A-Za-z0-9_.:-]{0,251}[A-Za-z0-9])?$",
        extra_json_schema={
            "patternErrorMessage": "an IPv4 or IPv6 address without brackets, or a DNS name; a port goes into `port`"
        },
    ),
]
HostKeys = Annotated[list[str], msgspec.Meta(max_length=16)]
File = Annotated[str, msgspec.Meta(min_length=1, max_length=4096)]

_HOST_KEYS = (
    "What the server may identify itself with, one line each as in `/etc/ssh/ssh_host_*_key.pub`: "
    "kind and key, without a name. Any other key is refused; a server whose key is not declared is never logged in to."
)
_KEY = (
    "File of the private key to log in with, on the computer that runs swarmctl; `~` is the home folder there. A "
    "`.pub` file means that one of the SSH agent's keys. "
)
_CERTIFICATE = "File of the OpenSSH certificate (`…-cert.pub`) that goes with `key`. "
_EXAMPLE = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbWJd8HUj1RMQWXRoHgfQvyhoWfhSgDMEvAJ3xYU5jl"


class FirstJump(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A server that connections go through. It passes on what is encrypted for the one behind, and can't read it."""

    address: Annotated[Where, msgspec.Meta(description="Address or DNS name of the server.", examples=["203.0.113.2"])]
    host_keys: Annotated[HostKeys, msgspec.Meta(description=_HOST_KEYS, examples=[[_EXAMPLE]])] = []
    user: Annotated[
        User | None,
        msgspec.Meta(description="Who logs in there. Left out: the `user` of the one behind.", examples=["ops"]),
    ] = None
    port: Annotated[Port, msgspec.Meta(description="TCP port of its SSH server.", examples=[22])] = 22
    key: Annotated[
        File | None,
        msgspec.Meta(description=_KEY + "Left out: the `key` of the one behind.", examples=["~/.ssh/swarm"]),
    ] = None
    certificate: Annotated[
        File | None,
        msgspec.Meta(
            description=_CERTIFICATE + "Left out: of the one behind, where `key` is left out, too.",
            examples=["~/.ssh/swarm-cert.pub"],
        ),
    ] = None


class Jump(FirstJump, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """The server before the machine, which may have one before itself. Two and no more: the schema spells each out."""

    jump: Annotated[
        FirstJump | None,
        msgspec.Meta(
            description="Server that this one is reached through, in its turn. Left out: none.",
            examples=[{"address": "198.51.100.2", "hostKeys": [_EXAMPLE]}],
        ),
    ] = None


class SshHost(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """One machine."""

    name: Annotated[
        str,
        msgspec.Meta(
            description="Node name, unique in the stack; the machine's own host name may be another.",
            pattern="^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
            examples=["n1"],
            extra_json_schema={
                "patternErrorMessage": "lower-case letters, digits and hyphens, a letter or digit at both ends, at "
                "most 63 characters"
            },
        ),
    ]
    address: Annotated[
        Where,
        msgspec.Meta(
            description="Address or DNS name that its SSH server is reached at, from the jump host where there is one. "
            "The other machines' tunnels lead there, too, unless `Mesh.spec.endpoints` says otherwise.",
            examples=["203.0.113.10", "2001:db8::10", "n1.example.net"],
        ),
    ]
    host_keys: Annotated[HostKeys, msgspec.Meta(description=_HOST_KEYS, examples=[[_EXAMPLE]])] = []
    user: Annotated[
        User | None, msgspec.Meta(description="Who logs in. Left out: the pool's `user`.", examples=["ops"])
    ] = None
    port: Annotated[
        Port | None,
        msgspec.Meta(description="TCP port of its SSH server. Left out: the pool's `port`.", examples=[2222]),
    ] = None
    listens: Annotated[
        Ports | None,
        msgspec.Meta(
            description="TCP ports that its SSH server listens on itself. Left out: the pool's.", examples=[[22]]
        ),
    ] = None
    key: Annotated[
        File | None, msgspec.Meta(description=_KEY + "Left out: the pool's `key`.", examples=["~/.ssh/swarm"])
    ] = None
    certificate: Annotated[
        File | None,
        msgspec.Meta(
            description=_CERTIFICATE + "Left out: the pool's, where `key` is left out, too.",
            examples=["~/.ssh/swarm-cert.pub"],
        ),
    ] = None
    jump: Annotated[
        Jump | None,
        msgspec.Meta(
            description="Server to go through. Left out: the pool's.",
            examples=[{"address": "203.0.113.2", "hostKeys": [_EXAMPLE]}],
        ),
    ] = None
    labels: Annotated[
        dict[str, str],
        msgspec.Meta(description="Labels of this machine; they win over the pool's.", examples=[{"role": "head"}]),
    ] = {}
    state: Annotated[State | None, msgspec.Meta(description=ABOUT + "Left out: the pool's.", examples=["isolated"])] = (
        None
    )


class SshSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Machines that are there already, reached over SSH; they stay when the declaration goes, and are cleaned then."""

    hosts: Annotated[
        list[SshHost],
        msgspec.Meta(
            description="The machines.",
            min_length=1,
            examples=[[{"name": "n1", "address": "203.0.113.10", "hostKeys": [_EXAMPLE]}]],
        ),
    ]
    user: Annotated[
        User,
        msgspec.Meta(
            description="Who logs in: root, or one who may become root by sudo without a password.", examples=["ops"]
        ),
    ] = "root"
    port: Annotated[Port, msgspec.Meta(description="TCP port of the SSH servers.", examples=[22])] = 22
    key: Annotated[
        File | None,
        msgspec.Meta(
            description=_KEY + "Left out: all keys of the SSH agent.",
            examples=["~/.ssh/swarm", "~/.ssh/swarm.pub"],
        ),
    ] = None
    certificate: Annotated[
        File | None,
        msgspec.Meta(description=_CERTIFICATE + "Left out: none.", examples=["~/.ssh/swarm-cert.pub"]),
    ] = None
    jump: Annotated[
        Jump | None,
        msgspec.Meta(
            description="Server that all connections go through. Left out: none.",
            examples=[{"address": "203.0.113.2", "hostKeys": [_EXAMPLE]}],
        ),
    ] = None
    listens: Annotated[
        Ports | None,
        msgspec.Meta(
            description="TCP ports that the SSH servers listen on themselves, which the firewall always lets in: where "
            "a router in between passes `port` on to another one, and old and new while a server moves. Left out: "
            "`port`.",
            examples=[[22], [22, 2222]],
        ),
    ] = None
    managed_from: Annotated[
        Annotated[list[str], msgspec.Meta(min_length=1, max_length=64)] | None,
        msgspec.Meta(
            description="Networks that the machines are managed from, jump hosts included: where a security policy "
            "watches over them, their SSH port is open to these alone. Left out: to all.",
            examples=[["203.0.113.0/28", "2001:db8:1::/64"]],
        ),
    ] = None
    nat: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the machines stand behind a router that translates addresses (NAT) and lets no new "
            "connection in but SSH. A mesh then takes none of them as reachable, not even by each other.",
            examples=[True],
        ),
    ] = False
    mtu: Annotated[
        Mtu,
        msgspec.Meta(
            description="Bytes of the largest packet that the machines' network carries. Nothing is set by it: the "
            "mesh is made to fit.",
            examples=[1500, 9000],
        ),
    ] = 1500


SPEC = SshSpec
