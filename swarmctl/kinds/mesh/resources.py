"""The resources of a mesh: the rotation of its keys, the interface on a node, its peers, and the agent that replaces
peers that died."""

from swarmctl.kinds.mesh.failover import FailoverType
from swarmctl.kinds.mesh.interface import InterfaceType
from swarmctl.kinds.mesh.peers import PeersType
from swarmctl.kinds.mesh.preshared.resource import PresharedKeysType
from swarmctl.kinds.mesh.rotation.resource import RotationType

ROTATION = RotationType()
INTERFACE = InterfaceType()
PRESHARED = PresharedKeysType()
PEERS = PeersType()
FAILOVER = FailoverType()
