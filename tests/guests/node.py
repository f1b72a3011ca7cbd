"""A guest as a node: its firewall, interface and peers, by the very resources, over SSH; and a node across."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from swarmctl import toolchain
from swarmctl.backends.base import Completed, Fence, Host
from swarmctl.backends.ssh.host import SshHost
from swarmctl.backends.ssh.transport import Transport
from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.mesh.interface import InterfaceType
from swarmctl.kinds.mesh.peers import PeersType
from swarmctl.kinds.security_policy.resources import FIREWALL
from swarmctl.mesh.firewall import CHAINS, Door, compile_rules, compile_sets
from swarmctl.provider.guards import Guards
from swarmctl.provider.hosts import Connections
from tests.mesh.namespaces import Namespace

from . import lan, patient
from .machine import Guest

TYPES: Mapping[str, ResourceType] = {"firewall": FIREWALL, "interface": InterfaceType(), "peers": PeersType()}
KEY = "/etc/swarmctl/mesh/backbone/private.key"
SECRETS = "/etc/swarmctl/mesh/backbone/psk"
OTHER = "10.88.0.2"
"""The other node's address on the mesh."""
WIREGUARD_GO = str(toolchain.wireguard_go() or "wireguard-go")
"""Found before tests get folders of their own."""
_OTHER = """
mkdir -p /etc/wireguard && cd /etc/wireguard && umask 077
wg genkey >key
until ip link show wg0 >/dev/null 2>&1; do sleep 0.1; done
until wg show wg0 >/dev/null 2>&1; do sleep 0.1; done
wg set wg0 private-key key listen-port 51820
ip addr add 10.88.0.2/16 dev wg0
ip link set wg0 up
wg pubkey <key
"""


class Patient(SshHost):
    """Gives every command more time, as `patient` does."""

    def _converse(self, argv: Sequence[str], stdin: bytes, timeout: float, *, counted: bool = False) -> Completed:
        return super()._converse(argv, stdin, patient.TIMES * timeout, counted=counted)


class Node:
    """Applies as the engine does: read, compare, create or update."""

    def __init__(self, guest: Guest, transport: Transport) -> None:
        self.host = guest.host()
        self.fence = Fence("fleet@0", 1_000, "somebody@somewhere")
        self._transport = transport
        self.inputs: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, Mapping[str, Any]] = {}
        self.confirmed: dict[str, dict[str, Any]] = {}
        """What a state would have of it."""
        self.hosts = self.connect()

    def connect(self) -> Connections:
        """Of a new run: nothing is known of the host."""

        def opened(host: Mapping[str, Any], fence: Fence | None) -> Host:
            return Patient(host, fence, self._transport)

        # Nobody puts a guarded change off: the run is as good as dead when it has made one.
        return Connections(opened, fence=self.fence, guards=Guards(alive=lambda: False))

    def declare(self, other: str, *, mtu: int = 1380, extra: str = "") -> None:
        """The inputs, with a node across whose public key is `other`; `extra`: one more network of its."""
        common = {"machine": "m", "host": self.host, "node": "guest", "confirmWithin": 600}
        endpoints, cidrs = ("198.51.100.2",), ("10.88.0.0/16",)
        door = Door(("wg0", "wg0-n"), (51820, 51821), endpoints, cidrs, False, ())
        # Its management comes over the first interface, which the policy leaves alone.
        rules = {**compile_rules(door), "management": 'iifname != { "wg0", "wg0-n" } tcp dport 22 accept'}
        sets = compile_sets(door)
        self.inputs["firewall"] = {**common, "policy": "strict", "chains": CHAINS, "rules": rules, "sets": sets}
        self.inputs["interface"] = {
            **common,
            **{"interface": "wg0", "state": "up", "addresses": ["10.88.0.1/16"], "listenPort": 51820, "mtu": mtu},
            **{"keyPath": KEY, "keyMode": "0600", "key": "installed", "forwarding": True},
        }
        allowed = [f"{OTHER}/32", *([extra] if extra else [])]
        peer = {"publicKey": other, "endpoint": "198.51.100.2:51820", "allowedIps": allowed}
        peers = {"other": {**peer, "persistentKeepalive": 5, "presharedKey": "generated"}}
        self.inputs["peers"] = {**common, "interface": "wg0", "peers": peers}

    def apply(self, *names: str, confirmed: bool = True) -> list[str]:
        """Bring all to what is declared, or some of it alone; returns what was not so before."""
        self.hosts = self.connect()
        changed = []
        for name in names or TYPES:
            kind, inputs = TYPES[name], self.inputs[name]
            if name == "peers":
                inputs["presharedKeys"] = {"folder": SECRETS, "publicKey": self.outputs["interface"]["publicKey"]}
            seen = kind.read(self.hosts, self.confirmed[name]) if name in self.confirmed else None
            if seen is None:
                self.outputs[name] = kind.create(self.hosts, inputs)
                changed.append(name)
            elif found := kind.diff(seen.inputs, inputs):
                self.outputs[name] = kind.update(self.hosts, seen.inputs, inputs)
                changed += [f"{name}: {'.'.join(change.path)}" for change in found]
            if confirmed:
                self.confirmed[name] = inputs
            if name == "interface":
                self._share_secret(inputs)
        return changed

    def delete(self) -> None:
        self.hosts = self.connect()
        for name in reversed(TYPES):
            TYPES[name].delete(self.hosts, self.inputs[name])

    def _share_secret(self, inputs: Mapping[str, Any]) -> None:
        """The preshared key of the tunnel, where there is none: what the mesh's own resource does."""
        own, peer = self.outputs["interface"]["publicKey"], self.inputs["peers"]["peers"]["other"]["publicKey"]
        at = f"{SECRETS}/{own.replace('/', '_')}/{peer.replace('/', '_')}"
        script = f"umask 077; mkdir -p {at.rpartition('/')[0]}; [ -s {at} ] || wg genpsk >{at}; cat {at}"
        self.secret = self.hosts.open(inputs["host"]).run(["sh", "-c", script]).text.strip()
        self.hosts.changed(inputs["host"])

    def sh(self, script: str, *, check: bool = True) -> str:
        """As root there."""
        return Patient(self.host, None, self._transport).run(["sh", "-c", script], timeout=90, check=check).text


class Across:
    """The other node: a namespace with WireGuard, at the end of the guest's cable."""

    def __init__(self, namespace: Namespace) -> None:
        self._namespace = namespace
        if namespace.run(["ip", "link", "add", "wg0", "type", "wireguard"], check=False).returncode:
            namespace.start_service("wireguard", [WIREGUARD_GO, "-f", "wg0"])
        self.key = namespace.sh(_OTHER).strip()

    def know(self, node: Node) -> None:
        """Take the guest as a peer. It waits for the guest to begin."""
        key = node.outputs["interface"]["publicKey"]
        words = f"wg set wg0 peer {key} preshared-key /dev/stdin allowed-ips 10.88.0.1/32"
        self._namespace.run(["sh", "-c", words], stdin=node.secret.encode())

    def reaches(self, seconds: float = 30) -> bool:
        """Whether a ping over the tunnel comes back in time."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if not self._namespace.run(["ping", "-c", "1", "-W", "2", "10.88.0.1"], check=False).returncode:
                return True
            time.sleep(0.3)
        return False


@contextmanager
def across(guest: Guest) -> Iterator[Across]:
    """A node on the other end of the cable, gone afterwards."""
    namespace = Namespace("other")
    try:
        with lan.plugged(namespace.pid, guest.lan, "198.51.100.2/24"):
            yield Across(namespace)
    finally:
        namespace.close()
