"""A mesh of namespaces whose keys are rotated, with traffic on it."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from swarmctl.graph.model import Graph, Ref
from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.mesh.interface import InterfaceType
from swarmctl.kinds.mesh.peers import PeersType
from swarmctl.kinds.mesh.preshared.resource import PresharedKeysType
from swarmctl.kinds.mesh.rotation.resource import RotationType
from swarmctl.kinds.security_policy.resources import FIREWALL
from tests.integration.traffic import Traffic
from tests.mesh.builder import compiled, lab
from tests.mesh.namespaces import Network

INTERFACE, PEERS = InterfaceType(), PeersType()
SECOND = "wg0-n"
FOLDER = "/etc/swarmctl/mesh/backbone"


class Killed(BaseException):
    """Stands for the end of swarmctl: nothing catches it on the way."""


class Wires:
    """Starts what makes and hears traffic: `tests.integration.underlay.Underlay` for these namespaces."""

    def __init__(self, nodes: Network) -> None:
        self._nodes = nodes

    def start(self, node: str, *argv: str) -> subprocess.Popen[str]:
        command = ["nsenter", "-t", str(self._nodes.nodes[node].pid), "-n", *argv]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


class Rotated:
    """A miniature of the engine around one mesh: it applies, reads back, and remembers inputs and outputs."""

    def __init__(self, nodes: Network, *, workers: int, mesh: Mapping[str, Any] | None = None) -> None:
        self.nodes = nodes
        self.inventory = lab(control=1, workers=workers, mesh=mesh, flows=OPEN)
        self.graph = compiled(self.inventory)
        self.inputs: dict[str, Mapping[str, Any]] = {}
        self.outputs: dict[str, Mapping[str, Any]] = {}
        self.preshared = PresharedKeysType()
        self.apply(self.graph, RotationType())

    @property
    def names(self) -> list[str]:
        return list(self.nodes.nodes)

    @property
    def rotation(self) -> Mapping[str, Any]:
        return self.inputs["mesh/backbone[rotation]"]

    def apply(self, graph: Graph, rotation: RotationType) -> None:
        """As the engine does: read back first, then what differs, in the order of what needs what."""
        types: dict[str, ResourceType] = {
            "swarm:securitypolicy:Firewall": FIREWALL,
            "swarm:mesh:Rotation": rotation,
            "swarm:mesh:Interface": INTERFACE,
            "swarm:mesh:PresharedKeys": self.preshared,
            "swarm:mesh:Peers": PEERS,
        }
        self.nodes.forget()
        seen = {
            address: kind.read(self.nodes, self.inputs[address])
            for address, kind in (
                (str(it.address), types[it.type]) for it in graph.resources.values() if it.type in types
            )
            if address in self.inputs
        }
        for address, observed in seen.items():
            self.outputs[address] = observed.outputs if observed else {}
        for resource in sorted(
            (it for it in graph.resources.values() if it.type in types), key=lambda it: list(types).index(it.type)
        ):
            address, kind, inputs = str(resource.address), types[resource.type], self._resolve(resource.inputs)
            now = seen.get(address)
            if now is None:
                self.outputs[address] = kind.create(self.nodes, inputs)
            elif kind.diff(now.inputs, inputs):
                self.outputs[address] = kind.update(self.nodes, now.inputs, inputs)
            self.inputs[address] = inputs
        self.graph = graph

    def _resolve(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self.outputs.get(str(value.address), {}).get(value.property, "x")
        if isinstance(value, Mapping):
            return {key: self._resolve(item) for key, item in value.items()}
        return value

    @staticmethod
    def quick(**settings: Any) -> RotationType:
        """Without the pauses that packets on long ways need."""
        return RotationType(**{"settle": 0.3, **settings})

    def rotate(self, *names: str, **settings: Any) -> None:
        """Rotate the keys of these nodes, none: of all; `settings` of `RotationType`."""
        self.apply(compiled(self.inventory, self._recorded(), rotate=names or self.names), self.quick(**settings))

    def try_rotate(self, **settings: Any) -> None:
        """The same of all, as `--no-refresh` does: by what is recorded, and what fails is left behind."""
        graph = compiled(self.inventory, self._recorded(), rotate=self.names)
        address = "mesh/backbone[rotation]"
        inputs = {str(it.address): self._resolve(it.inputs) for it in graph.resources.values()}
        self.quick(**settings).update(self.nodes, self.inputs[address], inputs[address])
        self.nodes.forget()

    def _recorded(self) -> Graph:
        """The graph with the inputs as they are recorded."""
        resources = {
            address: replace(it, inputs=self.inputs[str(address)]) if str(address) in self.inputs else it
            for address, it in self.graph.resources.items()
        }
        return replace(self.graph, resources=resources)

    def drift(self) -> dict[str, list[str]]:
        """What an apply would change, by address."""
        self.nodes.forget()
        found: dict[str, list[str]] = {}
        types: dict[str, ResourceType] = {
            "swarm:mesh:Rotation": RotationType(),
            "swarm:mesh:Interface": INTERFACE,
            "swarm:mesh:PresharedKeys": self.preshared,
            "swarm:mesh:Peers": PEERS,
        }
        for resource in self.graph.resources.values():
            if kind := types.get(resource.type):
                inputs = self._resolve(resource.inputs)
                observed = kind.read(self.nodes, self.inputs[str(resource.address)])
                if observed is None:
                    found[str(resource.address)] = ["gone"]
                elif changes := kind.diff(observed.inputs, inputs):
                    found[str(resource.address)] = [".".join(change.path) for change in changes]
        return found

    def keys(self) -> dict[str, str]:
        """Public keys as the interfaces have them."""
        return {name: node.sh("wg show wg0 public-key").strip() for name, node in self.nodes.nodes.items()}

    def leftovers(self) -> dict[str, str]:
        """What a rotation has left on nodes."""
        look = (
            f"ip -o link show dev {SECOND} 2>/dev/null; ip route show proto 186; ip -6 route show proto 186; "
            f"cd {FOLDER} && ls -A | grep -v -x -e private.key -e generation -e previous.pub; :"
        )
        found = {name: node.sh(look).strip() for name, node in self.nodes.nodes.items()}
        return {name: text for name, text in found.items() if text}

    def traffic(self, family: int = 4, rate: float = 100.0) -> Traffic:
        """Traffic between all pairs over the mesh."""
        addresses = {
            name: self.inputs[f"mesh/backbone[{name}]"]["addresses"][0 if family == 4 else 1].partition("/")[0]
            for name in self.names
        }
        return Traffic(Wires(self.nodes), addresses, rate=rate)  # type: ignore[arg-type]


OPEN = [{"name": "traffic", "from": {}, "to": {}, "ports": [7946], "protocol": "udp"}]
