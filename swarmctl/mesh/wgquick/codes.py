"""What can be wrong with configurations that are imported."""

from __future__ import annotations

from swarmctl.diagnostics import Code

NOT_A_LINE = Code(
    "SW3601",
    "line that is no WireGuard configuration",
    """A file of wg-quick(8) has one section `[Interface]`, any number of sections `[Peer]`, and in them lines
`Key = value`; `#` begins a comment.

Wrong: `Address 10.0.0.1/24`, a second `[Interface]`, a key before the first section

Right: `[Interface]` and below it `Address = 10.0.0.1/24`
""",
)
UNKNOWN_KEY = Code(
    "SW3602",
    "unknown key in a WireGuard configuration",
    """The key is none that wg(8) or wg-quick(8) know in this section, so wg-quick would refuse the file, too.

Wrong: `AllowedIP = 10.0.0.2/32`, or `Endpoint` under `[Interface]`

Right: `AllowedIPs = 10.0.0.2/32`
""",
)
BAD_VALUE = Code(
    "SW3603",
    "value that WireGuard does not take",
    """Keys are 32 bytes in base64, ports go from 1 to 65535, `PersistentKeepalive` from 0 to 65535 seconds (or `off`),
`MTU` from 576 to 65535; addresses and networks are such, an endpoint is HOST:PORT.

Wrong: `PersistentKeepalive = 70000`, `Endpoint = 203.0.113.7`

Right: `PersistentKeepalive = 25`, `Endpoint = 203.0.113.7:51820`
""",
)
READABLE = Code(
    "SW3604",
    "private key that others can read",
    """Whoever reads a private key is that node, as far as the mesh can tell. wg-quick(8) warns of this, too. A warning:
the key is not copied by the import, but it may have been read by others already; `swarmctl mesh rotate` makes new ones.

Wrong: a file with the mode 0644

Right: `chmod 0600 wg0.conf`, in a folder with the mode 0700
""",
)
OTHER_KEY = Code(
    "SW3605",
    "private key that does not fit the public key that others have",
    """The peer with this node's address has a public key in another file that is not the public half of the private key
here: one of the files is old, or of another node. Handshakes between the two fail.

Wrong: the configuration of a node from before its key was changed

Right: the files as they are on the nodes now, all from one day
""",
)
SAME_KEY = Code(
    "SW3606",
    "one public key for two peers",
    """WireGuard knows peers by their public key. Of two peers with one key the later section wins, and two nodes with
one key take each other's sessions away.

Wrong: two files with the same `PrivateKey`, or two sections `[Peer]` with the same `PublicKey`

Right: a key of its own for every node
""",
)
CONFLICT = Code(
    "SW3607",
    "peers in conflict",
    """An address can belong to one peer only: WireGuard takes it away from the one that had it when another one gets
it. So of two peers with the same network in `AllowedIPs`, or two nodes with the same `Address`, one gets no packets.

Wrong: `AllowedIPs = 10.0.0.0/24` in two sections of one file

Right: `AllowedIPs = 10.0.0.2/32` in one, `AllowedIPs = 10.0.0.3/32` in the other
""",
)
INSIDE = Code(
    "SW3608",
    "endpoint inside the mesh it leads to",
    """The endpoint is where tunnels end below the mesh. An address of the mesh itself is reached through the tunnel
only, so the tunnel's own packets would be sent into the tunnel.

Wrong: `Endpoint = 10.0.0.2:51820` for the peer with `AllowedIPs = 10.0.0.2/32`

Right: `Endpoint = 203.0.113.7:51820`
""",
)
NO_COUNTERPART = Code(
    "SW3609",
    "peer without its other half",
    """A tunnel needs both ends: here a file names a peer whose own file was not given, or whose file does not name this
node. A warning. Of a peer whose file is missing nothing is declared, and apply would take it away; a half tunnel
becomes a whole one.

Wrong: `swarmctl import wireguard a.conf` where `a.conf` has a peer `b`

Right: `swarmctl import wireguard a.conf b.conf`
""",
)
NOT_DECLARED = Code(
    "SW3610",
    "setting that declarations have no word for",
    """The setting is not imported. A warning for every single one, with what happens instead, so that nothing is lost
without a word.

Wrong: expecting `PostUp` to run after the import

Right: what is still needed, done by other means; the rest taken out before the import
""",
)
CHANGES = Code(
    "SW3611",
    "setting that apply changes",
    """What is declared for this node is not what its file says, because a mesh has one value for all nodes, or because
swarmctl works it out. A warning: `swarmctl plan` shows the same, and apply makes it so.

Wrong: `ListenPort = 51821` on one node and `51820` on all others

Right: one port on all nodes before the import, or the change accepted
""",
)
NO_NAME = Code(
    "SW3612",
    "configuration whose node has no name",
    """Nodes are called by `# Name = NAME` above or in the section `[Interface]`, else by the file (`a-0.conf`), else by
the folder (`a-0/wg0.conf`). Every node has a name of its own: lower-case letters, digits and hyphens. Where the stack
declares machines already, it is one of theirs.

Wrong: `swarmctl import wireguard wg0.conf`, two files called `a-0.conf`

Right: `swarmctl import wireguard a-0.conf a-1.conf`
""",
)
NO_NETWORK = Code(
    "SW3613",
    "nodes without a common network",
    """A mesh takes all addresses from one IPv4 network, one IPv6 network, or one of each. It is the one that the
addresses of the files have in common.

Wrong: `Address = 10.0.0.1/24` in one file and `Address = 192.168.7.1/24` in all others; no `Address` at all

Right: `Address = 10.0.0.1/24`, `Address = 10.0.0.2/24` and so on
""",
)
