"""The resources of a mesh: the interface on a node, its peers, and the agent that replaces peers that died."""

from swarmctl.kinds.mesh.failover import FailoverType
from swarmctl.kinds.mesh.interface import InterfaceType
from swarmctl.kinds.mesh.peers import PeersType

INTERFACE = InterfaceType()
PEERS = PeersType()
FAILOVER = FailoverType()
