"""The small world of `world`, as `mesh verify` measures it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import cast

from swarmctl.backends.base import CommandFailed, Completed, Host
from swarmctl.graph.model import Address, Machine, Resource
from swarmctl.hosts import mesh_probes
from swarmctl.operations.mesh_verify import measure
from swarmctl.operations.mesh_verify_model import Check, Name, Verification
from tests.status.world import NOW, FakeHost, World, declared

KEY = "/etc/swarmctl/mesh/backbone/private.key"
ALIVE = {"persistentKeepalive": 25}
CLEAN = "captured 900\ndropped by kernel 0\n@ wireguard\n880\n@ fragments\n0\n@ clear\n0\n@ pattern\n0"


@dataclass
class Verified(World):
    """What can be wrong besides; nothing by default."""

    captures: dict[str, str] = field(default_factory=dict)
    """What a node's script says of its capture, without the device."""
    missing: dict[str, str] = field(default_factory=dict)
    """A program that a node lacks."""
    lossy: set[tuple[str, str]] = field(default_factory=set)
    """(sender, address) that lose half of the echoes, whenever they are asked."""
    hiccups: set[tuple[str, str]] = field(default_factory=set)
    """(sender, address) that lose one echo in the first round."""
    narrow: dict[tuple[str, str], int] = field(default_factory=dict)
    """(sender, address) and the largest packet that comes back."""
    wide: set[str] = field(default_factory=set)
    """Nodes from which packets larger than the MTU leave."""
    modes: dict[str, str] = field(default_factory=dict)
    key_ages: dict[str, int] = field(default_factory=dict)
    preshared: set[str] = field(default_factory=set)
    """Nodes whose peers have preshared keys."""
    strangers: set[str] = field(default_factory=set)
    """Nodes with a peer that nobody declared."""
    exposed: dict[str, list[str]] = field(default_factory=dict)
    """What `find` prints of a node besides, by node; `none`: it cannot print."""
    peered: dict[tuple[str, str, str], str] = field(default_factory=dict)
    """(node, interface, key) and the allowed IPs of a peer there that is none of the mesh's."""
    trails: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Keys of a node: the one that is to follow, and the one before."""
    mtus: dict[str, int] = field(default_factory=dict)
    """MTUs of interfaces by node."""
    requests: list[tuple[str, str]] = field(default_factory=list)

    def open(self, machine: Machine) -> Host:
        return cast(Host, VerifiedHost(self, machine.name))


@dataclass
class VerifiedHost(FakeHost):
    """Answers the script of `mesh verify`, too."""

    world: Verified

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        if list(argv) != mesh_probes.argv():
            return super().run(argv, stdin=stdin, timeout=timeout, check=check)
        if self.name in self.world.full:
            raise CommandFailed(f"{self.name}: {argv[0]} was not begun: no room for its input in /run")
        first = not any(name == self.name for name, _ in self.world.requests)
        self.world.requests.append((self.name, stdin.decode()))
        return Completed(tuple(argv), 0, self._sound(stdin.decode(), first).encode(), b"")

    def _sound(self, request: str, first: bool) -> str:
        words = [line.split() for line in request.splitlines()]
        count = next(int(rest[0]) for what, *rest in words if what == "count")
        lines = [f"missing {self.world.missing[self.name]}"] if self.name in self.world.missing else []
        lines.append("@@ echoes")
        for what, *rest in words:
            if what == "group" and self.world.missing.get(self.name) != "ping":
                lines += [self._echo(address, int(rest[1]), count, first) for address in rest[2:]]
            elif what == "larger":
                lines.append(f"larger {rest[1]} : xmt/rcv/%loss = 1/{int(self.name in self.world.wide)}/100%")
            elif what == "search":
                largest = self.world.narrow[self.name, rest[0]] - mesh_probes.HEADERS[6 if ":" in rest[0] else 4]
                lines.append(f"largest {rest[0]} {largest}")
        lines.append("@@ capture")
        if "\ncapture\n" in request and self.world.missing.get(self.name) != "tcpdump":
            lines += ["@ device eth0", self.world.captures.get(self.name, CLEAN)]
        return "\n".join([*lines, "@@ end", ""])

    def _echo(self, address: str, size: int, count: int, first: bool) -> str:
        packet = size + mesh_probes.HEADERS[6 if ":" in address else 4]
        lost = 0
        if (self.name, address) in self.world.deaf or packet > self.world.narrow.get((self.name, address), 9999):
            lost = count
        elif (self.name, address) in self.world.lossy:
            lost = count // 2
        elif first and (self.name, address) in self.world.hiccups:
            lost = 1
        times = ", min/avg/max = 0.31/0.42/0.99" if lost < count else ""
        return f"{address:14} : xmt/rcv/%loss = {count}/{count - lost}/{100 * lost // count}%{times}"

    def _facts(self) -> str:
        mode, age = self.world.modes.get(self.name, "600"), self.world.key_ages.get(self.name, 3600)
        trail = "\t".join(self.world.trails.get(self.name, ("", "")))
        text = super()._facts()
        text = text.replace("\n@@ keys\n\n", f"\n@@ keys\n{KEY}\t{mode}\tkey-of-{self.name}\n")
        text = text.replace("\n@@ end\n", f"\n@@ rotation\n{KEY}\t{NOW - age}\t\t{trail}\n\n@@ end\n")
        text = text.replace('"mtu": 1420', f'"mtu": {self.world.mtus.get(self.name, 1420)}')
        shown = self.world.exposed.get(self.name, [])
        if shown != ["none"]:
            lines = "\n".join(["755\t0\td\t/etc/swarmctl/mesh", *shown])
            text = text.replace("\n@@ end\n", f"\n@@ exposed\n{lines}\n\n@@ end\n")
        for (node, interface, key), allowed in self.world.peered.items():
            if node == self.name:
                text = peered(text, interface, key, allowed)
        if self.name in self.world.preshared:
            peer = self.world.member(self.name).peers[0]
            text = text.replace("\n@@ wg preshared\n@ wg0\n", f"\n@@ wg preshared\n@ wg0\nkey-of-{peer}\n")
        if self.name in self.world.strangers:
            text = peered(text, "wg0", "key-of-a-stranger", "10.88.9.9/32")
        return text


def peered(text: str, interface: str, key: str, allowed: str) -> str:
    """A reading with one peer more on an interface, which is added where it is not there."""
    if f"\n@ {interface}\n" not in text:
        for name, value in {"public-key": f"key-of-{interface}", "listen-port": "4000", "fwmark": "off"}.items():
            text = text.replace(f"\n@@ wg {name}\n", f"\n@@ wg {name}\n@ {interface}\n{value}\n")
    for name, value in {
        "peers": "",
        "endpoints": "\t(none)",
        "allowed-ips": f"\t{allowed}",
        "persistent-keepalive": "\t25",
        "latest-handshakes": "\t0",
        "transfer": "\t0\t0",
    }.items():
        text = text.replace(f"\n@@ wg {name}\n", f"\n@@ wg {name}\n@ {interface}\n{key}{value}\n")
    return text


def see(world: Verified) -> Verification:
    slept: list[float] = []
    return measure(world.stack, open_=world.open, sleep=slept.append, clock=lambda: sum(slept))


def world(**wrong: object) -> Verified:
    hubs = str(wrong.pop("hubs", ""))
    stack = declared(hubs=hubs)
    by_name = {member.node: member for member in stack.members}
    resources = {}
    for member in stack.members:
        inputs = {peer: {"allowedIps": [f"{by_name[peer].addresses[0]}/32"]} | ALIVE for peer in member.peers}
        address = Address("mesh", member.mesh, f"{member.node}/peers")
        resources[address] = Resource(address, "swarm:mesh:Peers", {"peers": inputs}, node=member.node)
    members = tuple(replace(member, next_interface="wg0-n") for member in stack.members)
    return Verified(replace(stack, resources=resources, members=members), **wrong)  # type: ignore[arg-type]


def check(found: Verification, name: Name) -> Check:
    return next(check for check in found.meshes[0].checks if check.name is name)


def troubled() -> Verified:
    """Something wrong with nearly everything."""
    return world(
        hubs="control",
        deaf={("workers-0", "10.88.0.1")},
        lossy={("workers-1", "10.88.0.2")},
        narrow={("workers-2", "10.88.0.1"): 1380},
        captures={"control-0": CLEAN.replace("@ clear\n0", "@ clear\n  IP 10.88.0.1 > 10.88.0.3: ICMP echo\n1")},
        missing={"workers-2": "tcpdump"},
        modes={"workers-0": "644"},
        strangers={"control-1"},
    )
