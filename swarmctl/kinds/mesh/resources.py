"""The resources of a mesh: the interface on a node, and the peers of that interface."""

from swarmctl.kinds.mesh.interface import InterfaceType
from swarmctl.kinds.mesh.peers import PeersType

INTERFACE = InterfaceType()
PEERS = PeersType()
