"""What can be wrong with the ways to machines over SSH."""

from __future__ import annotations

from swarmctl.diagnostics import Code

NO_HOST_KEY = Code(
    "SW3240",
    "machine without a host key",
    """A server is logged in to only when it proves to have one of the host keys that are declared for it: otherwise
whoever stands in between could pose as it. Where the key is not known yet, `ssh-keyscan ADDRESS` shows what the server
claims; that is only as good as the way there, so compare it with `ssh-keygen -lf` on the machine's own console.

Wrong: `{name: n1, address: 203.0.113.10}`

Right: `{name: n1, address: 203.0.113.10, hostKeys: [ssh-ed25519 AAAAC3Nza…]}`
""",
)
BAD_HOST_KEY = Code(
    "SW3241",
    "host key that is none",
    """A host key is the kind and the key as they stand in `/etc/ssh/ssh_host_ed25519_key.pub`, without a name before
and without a comment behind. A fingerprint is not enough, and a private key must never be written down.

Wrong: `hostKeys: [SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8]`

Right: `hostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…]`
""",
)
LITERAL_KEY = Code(
    "SW3242",
    "key written down in a declaration",
    """`key` and `certificate` name files on the computer that runs swarmctl. What stands in a declaration is read by
everyone who reads the repository, and stays in its history: a private key that was written down is to be replaced.

Wrong: a `key` with the text of a private key

Right: `key: ~/.ssh/swarm`
""",
)
SAME_PLACE = Code(
    "SW3243",
    "two machines at one address",
    """One server answers at an address and port, so two machines can't stand there; behind different jump hosts they
can.

Wrong: `{name: n1, address: 203.0.113.10, …}` and `{name: n2, address: 203.0.113.10, …}`

Right: each machine with its own address, or with its own `port` where a router passes them on
""",
)
CERTIFICATE_ALONE = Code(
    "SW3244",
    "certificate without its key",
    """A certificate says that a key may log in; whoever shows it proves to have that key. So `certificate` needs a
`key`, which may be the `.pub` file of one that the SSH agent has.

Wrong: `certificate: ~/.ssh/swarm-cert.pub` without `key`

Right: `key: ~/.ssh/swarm` and `certificate: ~/.ssh/swarm-cert.pub`
""",
)
JUMP_LOOP = Code(
    "SW3245",
    "jump host that is the machine itself",
    """Connections to a machine go through its jump host, which is another server, and so is the one before that. A
machine that is its own jump host can't be reached; a pool's jump host that is one of the pool's machines needs a pool
of its own, without `jump`.

Wrong: `jump: {address: 203.0.113.10, …}` for the machine at `203.0.113.10`

Right: the machine at `203.0.113.10` in a pool without `jump`
""",
)
NO_LIMITS = Code(
    "SW3246",
    "limits on machines that are not divided",
    """`resources` limits what a machine may use of the computer that it is a part of. A machine over SSH is whole: all
that runs on it may use all of it.

Wrong: `resources: {cpus: 4}` beside `ssh:`

Right: no `resources`
""",
)
SAME_HOST_KEY = Code(
    "SW3247",
    "two machines with one host key",
    """A machine is known by its host key, whatever its address is. Two with the same one are the same machine declared
twice, such as by two addresses that it has, or copies of one image: any of them can pose as the other. One machine is
declared once. A copy gets keys of its own: remove the old ones there, and nowhere else, and make new ones with
`ssh-keygen -A`. A warning, for only whoever looks at the machines can tell which it is.

Wrong: two machines with the same `hostKeys`

Right: each machine once, and with host keys of its own
""",
)
NOT_AN_ADDRESS = Code(
    "SW3238",
    "address that leads nowhere",
    """`address` is an IPv4 or IPv6 address or a DNS name, and nothing else. A port stands in `port`. An address that is
good on one link only (`fe80::…`) leads nowhere without the name of that link, which is another one on each computer; so
it can't be declared. What ends in a number is an address, and never a name: with a part missing it would be read as
another address, and with a zero before a number some programs count it in eights.

Wrong: `address: 203.0.113.10:2222`, `address: fe80::1`, `address: 203.0.113`, `address: 203.0.113.010`

Right: `address: 203.0.113.10` with `port: 2222`; an address that other networks know, too
""",
)
NOT_A_NETWORK = Code(
    "SW3248",
    "networks to manage from that are none",
    """`managedFrom` has networks in CIDR notation, without bits behind the prefix. The jump host's address is among
them where there is one, for the machine sees nobody else.

Wrong: `managedFrom: [203.0.113.7/24]`

Right: `managedFrom: [203.0.113.0/24]`, or `[203.0.113.7/32]` for one address
""",
)
JUMP_SHUT = Code(
    "SW3249",
    "way through a machine that is shut or gone",
    """A machine that is declared `isolated` passes nothing on, and one that is declared `lost` is not there: whoever is
reached through it can't be reached any more, not even to say so.

Wrong: `state: isolated` for the machine at `203.0.113.2`, and `jump: {address: 203.0.113.2, …}` for others

Right: another jump host for the others, or the same state for them
""",
)
RELATIVE_KEY = Code(
    "SW3239",
    "key in a place that depends on where swarmctl is run",
    """`key` and `certificate` name files by a path from the root or from a home folder. A relative one would lead
elsewhere whenever a command is run in another folder; and a private key has no place among the declarations, for they
are kept in Git.

Wrong: `key: keys/swarm`

Right: `key: ~/.ssh/swarm`, or `key: /run/secrets/swarm` in a pipeline
""",
)
