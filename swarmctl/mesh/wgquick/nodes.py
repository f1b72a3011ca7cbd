"""One file → one node: addresses, keys' public halves and peers as values, and every value that is none."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Interface, IPv4Network, IPv6Interface, IPv6Network, ip_address, ip_interface, ip_network
from typing import TypeVar

from swarmctl.diagnostics import Diagnostic, Range
from swarmctl.mesh.wgquick.codes import BAD_VALUE
from swarmctl.mesh.wgquick.text import INTERFACE, PEER, Section, Setting

Network = IPv4Network | IPv6Network
T = TypeVar("T")
_HOST = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_INTERFACE_NAME = re.compile(r"wg[0-9]*|wg-?[a-z]*[0-9]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class At:
    """A value with its place."""

    value: int
    place: Range


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a peer is reached; an IPv6 address without brackets."""

    host: str
    port: int
    place: Range


@dataclass(slots=True)
class Peer:
    """A section `[Peer]`."""

    key: str
    place: Range
    allowed: list[tuple[Network, Range]] = field(default_factory=list)
    endpoint: Endpoint | None = None
    keepalive: At | None = None
    preshared: Range | None = None
    name: str = ""
    """As a comment calls it."""


@dataclass(slots=True)
class Node:
    """A file."""

    file: str
    place: Range
    """Of `[Interface]`."""
    key: str = ""
    """The public half of its private key; empty where the file has none."""
    key_place: Range | None = None
    addresses: list[tuple[IPv4Interface | IPv6Interface, Range]] = field(default_factory=list)
    port: At | None = None
    mtu: At | None = None
    peers: list[Peer] = field(default_factory=list)
    rest: list[Setting] = field(default_factory=list)
    """Settings that nothing is made of."""
    called: tuple[str, Range] | None = None
    """What a comment calls it."""
    name: str = ""

    def address(self, version: int) -> str:
        """Its first address of a family, without prefix length; empty when it has none."""
        return next((str(address.ip) for address, _ in self.addresses if address.version == version), "")

    def knows(self, key: str) -> Peer | None:
        """The peer with this public key."""
        return next((peer for peer in self.peers if peer.key == key), None)


def node(file: str, sections: Iterable[Section]) -> tuple[Node | None, list[Diagnostic]]:
    """The node that the sections of one file make; None without `[Interface]`."""
    problems: list[Diagnostic] = []
    found: Node | None = None
    peers: list[Peer] = []
    for section in sections:
        if section.kind == INTERFACE and found is None:
            found = _interface(file, section, problems)
        elif section.kind == PEER:
            peers.append(_peer(section, problems))
    if found is not None:
        found.peers = [peer for peer in peers if peer.key]
    return found, problems


def label(text: str) -> str:
    """A name as nodes have it; empty when nothing of it can be kept."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:63].strip("-")


def is_interface(stem: str) -> bool:
    """Whether a file's name is more likely an interface than a node: `wg0`."""
    return _INTERFACE_NAME.fullmatch(stem) is not None


def _interface(file: str, section: Section, problems: list[Diagnostic]) -> Node:
    found = Node(file, section.place, called=section.name)
    for setting in section.settings:
        match setting.key:
            case "PrivateKey":
                found.key, found.key_place = (
                    _value(setting, _public_half, "no private key", problems, ""),
                    setting.place,
                )
            case "Address":
                for text, place in setting.items():
                    if (address := _address(text)) is not None:
                        found.addresses.append((address, place))
                    else:
                        problems.append(_bad(setting, place, f"`{text[:80]}` is not an address"))
            case "ListenPort":
                port = _value(setting, _number(1, 65535), "a port is a number from 1 to 65535", problems, 0)
                found.port = At(port, setting.place) if port else None
            case "MTU":
                mtu = _value(setting, _number(576, 65535), "an MTU is a number from 576 to 65535", problems, 0)
                found.mtu = At(mtu, setting.place) if mtu else None
            case _:
                found.rest.append(setting)
    return found


def _peer(section: Section, problems: list[Diagnostic]) -> Peer:
    peer = Peer("", section.place, name=section.name[0] if section.name else "")
    for setting in section.settings:
        match setting.key:
            case "PublicKey":
                peer.key, peer.place = _value(setting, _key, "no public key", problems, ""), setting.place
            case "PresharedKey":
                if _value(setting, _key, "no preshared key", problems, ""):
                    peer.preshared = setting.place
            case "AllowedIPs":
                for text, place in setting.items():
                    try:
                        peer.allowed.append((ip_network(text, strict=False), place))
                    except ValueError:
                        problems.append(_bad(setting, place, f"`{text[:80]}` is not a network"))
            case "Endpoint":
                host, port = _value(setting, _endpoint, "an endpoint is HOST:PORT", problems, ("", 0))
                peer.endpoint = Endpoint(host, port, setting.place) if host else None
            case _:
                seconds = _value(setting, _keepalive, "a number of seconds from 0 to 65535, or `off`", problems, 0)
                peer.keepalive = At(seconds, setting.place)
    if section.last("PublicKey") is None:
        problems.append(
            Diagnostic(
                BAD_VALUE,
                "this peer has no `PublicKey`",
                section.place,
                label="nobody knows who it is",
                help="write `PublicKey = ` and the key that `wg show INTERFACE public-key` prints on the peer",
            )
        )
    return peer


def _value(setting: Setting, read: Callable[[str], T], expected: str, problems: list[Diagnostic], otherwise: T) -> T:
    try:
        return read(setting.text)
    except ValueError:
        problems.append(_bad(setting, setting.place, expected))
        return otherwise


def _bad(setting: Setting, place: Range, label: str) -> Diagnostic:
    # Values of keys are in no message.
    mends = {
        "PrivateKey": "a key is what `wg genkey` prints: 44 characters",
        "PublicKey": "a key is what `wg pubkey` prints: 44 characters",
        "PresharedKey": "a key is what `wg genpsk` prints: 44 characters",
        "Endpoint": "such as `203.0.113.7:51820`, `[2001:db8::7]:51820` or `vpn.example.net:51820`",
        "PersistentKeepalive": "most need none; behind NAT 25 is right",
    }
    return Diagnostic(
        BAD_VALUE,
        f"`{setting.key}` has a value that WireGuard does not take",
        place,
        label=label,
        help=mends.get(setting.key, f"mend the value of `{setting.key}`"),
    )


def _key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError from None
    if len(raw) != 32 or len(text) != 44:
        raise ValueError
    return base64.b64encode(raw).decode()


def _public_half(text: str) -> str:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    private = X25519PrivateKey.from_private_bytes(base64.b64decode(_key(text)))
    return base64.b64encode(private.public_key().public_bytes_raw()).decode()


def _address(text: str) -> IPv4Interface | IPv6Interface | None:
    try:
        return ip_interface(text) if "%" not in text else None
    except ValueError:
        return None


def _number(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not (text.isascii() and text.isdigit() and len(text) < 7 and least <= int(text) <= most):
            raise ValueError
        return int(text)

    return read


def _keepalive(text: str) -> int:
    return 0 if text.lower() == "off" else _number(0, 65535)(text)


def _endpoint(text: str) -> tuple[str, int]:
    host, colon, port = text.rpartition(":")
    number = _number(1, 65535)(port)
    if not colon or not host:
        raise ValueError
    if host.startswith("["):
        if not host.endswith("]"):
            raise ValueError
        return str(ip_address(host[1:-1])), number
    if host.replace(".", "").isdigit():
        return str(ip_address(host)), number
    if not _HOST.fullmatch(host):
        raise ValueError
    return host.lower(), number
