"""What a host looks like, as plain data. Pure: the script that reads it and the parsers; no I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from swarmctl.hosts.guard import Pending


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface."""

    name: str
    up: bool
    mtu: int
    addresses: tuple[str, ...]
    """With prefix length, such as `10.88.0.1/16`; link-local ones left out."""
    alias: str = ""
    """What `ip link set … alias` wrote there; swarmctl marks its own so: `swarmctl:MESH`."""


@dataclass(frozen=True, slots=True)
class Peer:
    """One WireGuard peer as the interface has it."""

    public_key: str
    endpoint: str
    """`address:port`, IPv6 in brackets; empty when none is known."""
    allowed_ips: tuple[str, ...]
    keepalive: int
    """Seconds, 0 when off."""
    latest_handshake: int
    """Unix time in seconds, 0 when there was none."""
    received: int
    """Bytes."""
    sent: int
    preshared: bool = False
    """Whether it has a preshared key; the key itself is never read."""
    preshared_filed: bool = False
    """Whether that is the one in its file, see `kinds.mesh.preshared.files`."""


@dataclass(frozen=True, slots=True)
class WireGuard:
    """One WireGuard interface. The private key is never read."""

    interface: str
    public_key: str
    listen_port: int
    peers: Mapping[str, Peer]
    """By public key."""
    fwmark: str = "off"
    """The mark of its outgoing packets, such as `0x1234`."""


@dataclass(frozen=True, slots=True)
class Route:
    """One route, without those of the table `local`, which the kernel keeps itself."""

    kind: str
    """`unicast`, `blackhole` and so on."""
    network: str
    """With prefix length; `0.0.0.0/0` and `::/0` for the default."""
    interface: str
    """Empty when it has none."""
    table: str
    """`main` or another one's name or number."""
    metric: int | None
    gateway: bool
    """Whether it leads through another machine."""


@dataclass(frozen=True, slots=True)
class KeyTrail:
    """What else there is beside the private key of a mesh; of keys the public halves alone."""

    made: int
    """When the key was made, Unix time in seconds by the host's clock."""
    generation: int
    """How many rotations on demand it has been through, as the host has noted; 0 when nothing is noted."""
    next_key: str = ""
    """Of the key that is to follow it; there while it is rotated."""
    previous_key: str = ""
    """Of the key before it; empty when it is the first."""
    adopted: bool = False
    """Whether the first key was somebody else's, and is as old as nobody knows: `made` is when it was taken over."""

    @property
    def aged(self) -> bool:
        """Whether it is known when the key was made."""
        return bool(self.previous_key) or not self.adopted


@dataclass(frozen=True, slots=True)
class Exposed:
    """A file that can hold a key, or a folder of such, that others than root can read or own; or a link there."""

    path: str
    mode: str
    """Such as `0644`."""
    owner: int
    """User id."""
    kind: str
    """As `find` has it: `f` a file, `d` a folder, `l` a symbolic link, whose target is not looked at."""

    @property
    def text(self) -> str:
        """What is wrong, as a clause."""
        if self.kind == "l":
            return "is a symbolic link"
        wrong = [f"has the mode {self.mode}, not {'0700' if self.kind == 'd' else '0600'}"] if self.open else []
        return " and ".join([*wrong, *([f"belongs to the user {self.owner}, not to root"] if self.owner else [])])

    @property
    def open(self) -> bool:
        """Whether its mode lets others in."""
        return int(self.mode, 8) & 0o077 != 0


@dataclass(frozen=True, slots=True)
class Failover:
    """The failover agent of one WireGuard interface (`kinds.mesh.failover`)."""

    table: str
    """SHA-256 of its table in hex; empty when it has none."""
    agent: str
    """Version of the one that runs; empty when none does."""
    active: tuple[str, ...] = ()
    """Names of the peers that its groups are with, in the table's order; `-` where it doesn't know yet."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that one reading of a host tells."""

    hostname: str
    now: int
    """The host's clock, Unix time in seconds."""
    interfaces: Mapping[str, Interface]
    wireguard: Mapping[str, WireGuard]
    """By interface name."""
    nftables: Any
    """The parsed JSON of `nft -j list ruleset`: `{"nftables": [...]}`."""
    sysctl: Mapping[str, str]
    """The few keys that swarmctl sets, such as `net.ipv4.ip_forward`."""
    key_files: Mapping[str, str] = field(default_factory=dict)
    """Private key files of meshes: path → mode, such as `0600`."""
    public_keys: Mapping[str, str] = field(default_factory=dict)
    """The public half of each of these files: path → public key; without those that hold no key."""
    key_trails: Mapping[str, KeyTrail] = field(default_factory=dict)
    """By path of the private key."""
    preshared_files: Mapping[str, str] = field(default_factory=dict)
    """Files with preshared keys: path → SHA-256 of what is in there, in hex."""
    exposed: tuple[Exposed, ...] | None = None
    """What keys can be read or changed through by others than root; None where that could not be looked at."""
    routes: tuple[Route, ...] = ()
    failover: Mapping[str, Failover] = field(default_factory=dict)
    """By interface name."""
    hung: frozenset[str] = frozenset()
    """WireGuard interfaces whose process does not answer; `wireguard` has nothing about them."""
    guard: Pending | None = None
    """A change that is not confirmed yet."""
    startup: Mapping[str, str] | None = None
    """What brings firewall and mesh back after a restart (`hosts.startup`): path → SHA-256 in hex; None where systemd
    doesn't run the machine, so that nothing does."""
