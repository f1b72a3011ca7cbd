"""Networks of meshes: that they are networks, mean what machines can use, are apart, and are large enough."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network

from swarmctl import backends
from swarmctl.declarations.declaration import Declaration
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.mesh.rules.subject import Declared, Network, Subject
from swarmctl.mesh.spans import capacity

NOT_A_NETWORK = Code(
    "SW3101",
    "not a network",
    """`cidrs` takes networks: an IPv4 or IPv6 address, a slash, and the length of the prefix. In `[...]`, IPv6 needs
quotes.

Wrong: `cidrs: [10.88.0.0]`, `cidrs: [10.88.0.0/33]`, `cidrs: [10.88.0/16]`

Right: `cidrs: [10.88.0.0/16, "fd88:5b2a::/64"]`
""",
)
HOST_BITS = Code(
    "SW3102",
    "address inside a network instead of the network",
    """The address has bits set beyond the prefix length: it is one address of the network, not the network. Either the
prefix is meant to be longer, or the address is a slip; swarmctl does not guess.

Wrong: `cidrs: [10.88.1.7/16]`

Right: `cidrs: [10.88.0.0/16]`
""",
)
SAME_FAMILY = Code(
    "SW3103",
    "two networks of one family",
    """A mesh has one IPv4 network, one IPv6 network, or one of each; every machine gets one address from each.

Wrong: `cidrs: [10.88.0.0/16, 10.89.0.0/16]`

Right: `cidrs: [10.88.0.0/15]`
""",
)
MESHES_OVERLAP = Code(
    "SW3104",
    "meshes with overlapping networks",
    """Two meshes have addresses in common, so an address would not say which machine it is.

Wrong: a Mesh with `cidrs: [10.88.0.0/16]` and another with `cidrs: [10.88.4.0/24]`

Right: `cidrs: [10.88.0.0/16]` and `cidrs: [10.89.0.0/24]`
""",
)
UNDERLAY_OVERLAP = Code(
    "SW3105",
    "mesh network overlaps the underlay",
    """The machines have addresses of this range below the mesh. Packets to the tunnels' own ends would be sent into the
tunnels, and nothing would arrive. The message names the range that is taken.

Wrong: a network for the mesh out of the range the backend takes its own addresses from

Right: `cidrs: [10.88.0.0/16]`
""",
)
EXHAUSTED = Code(
    "SW3106",
    "network too small for its machines",
    """Every machine of every cluster that names the mesh needs an address of each of its networks.

Wrong: `cidrs: [10.88.0.0/30]` (2 usable addresses) for 5 machines

Right: `cidrs: [10.88.0.0/24]` (254)
""",
)
PUBLIC = Code(
    "SW3109",
    "mesh network out of public addresses",
    """The network is not one for private use (10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10, fc00::/7).
The real owner of these addresses can't be reached from the machines while the mesh is up. A warning: they may be yours.

Wrong: `cidrs: [11.0.0.0/16]`

Right: `cidrs: [10.11.0.0/16]`
""",
)
UNUSABLE = Code(
    "SW3111",
    "network that machines can't have addresses of",
    """Some ranges have a meaning of their own: loopback (127.0.0.0/8, ::1), link-local (169.254.0.0/16, fe80::/10),
multicast (224.0.0.0/4, ff00::/8), IPv4 written as IPv6 (::ffff:0:0/96), and what is reserved or means "no address"
(0.0.0.0/8, 240.0.0.0/4). The kernel refuses their addresses or never sends packets to them into a tunnel.

Wrong: `cidrs: [127.0.0.0/8]`, `cidrs: ["fe80::/64"]`

Right: `cidrs: [10.88.0.0/16, "fd88:5b2a::/64"]`
""",
)

_MEANINGS = (
    ("0.0.0.0/8", "unspecified"),
    ("127.0.0.0/8", "loopback"),
    ("169.254.0.0/16", "link-local"),
    ("224.0.0.0/4", "multicast"),
    ("240.0.0.0/4", "reserved"),
    ("::1/128", "loopback"),
    ("::/128", "unspecified"),
    ("::/96", "reserved"),
    ("::ffff:0:0/96", "IPv4-mapped"),
    ("fe80::/10", "link-local"),
    ("ff00::/8", "multicast"),
)
"""Ranges whose addresses no mesh can give to machines (IANA special-purpose address registries)."""
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
"""RFC 1918, RFC 6598, RFC 4193."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    """Mistakes in the networks of one mesh."""
    yield from _families(subject.networks)
    for declared in subject.networks:
        unusable = _unusable(declared)
        if unusable:
            yield unusable
            continue
        yield from _private(declared)
        yield from _underlay(declared, {node.pool.variant for node in subject.nodes.values()})
        yield from _room(declared, len(subject.nodes), subject.reserved)


def parse(mesh: Declaration, index: int, text: str) -> Declared | Diagnostic:
    where = mesh.value("spec", "cidrs", index)
    address, slash, length = text.partition("/")
    try:
        if not (slash and length.isascii() and length.isdigit()):
            raise ValueError("the prefix length is missing")
        network = ip_network(text, strict=False)
    except ValueError:
        return Diagnostic(
            NOT_A_NETWORK,
            f"`{text}` is not a network",
            where,
            label="expected ADDRESS/PREFIX-LENGTH",
            help=_network_hint(address, slash),
        )
    if ip_address(address) != network.network_address:
        return Diagnostic(
            HOST_BITS,
            f"`{text}` is an address in the network `{network}`, not a network",
            where,
            label=f"bits beyond /{network.prefixlen} are set",
            help=f"did you mean `{network}`?",
        )
    return Declared(mesh, index, network)


def _network_hint(address: str, slash: str) -> str:
    try:
        version = ip_address(address).version
    except ValueError:
        return 'write for example `10.88.0.0/16` or `"fd88:5b2a::/64"`'
    if slash:
        return f"the prefix length of IPv{version} is a number from 0 to {32 if version == 4 else 128}"
    return f"add the prefix length, such as `{address}/{16 if version == 4 else 64}`"


def _families(own: list[Declared]) -> Iterator[Diagnostic]:
    for declared in own[1:]:
        if declared.network.version == own[0].network.version:
            yield Diagnostic(
                SAME_FAMILY,
                f"the Mesh `{declared.mesh.name}` has two IPv{declared.network.version} networks",
                declared.where,
                label=f"a second IPv{declared.network.version} network",
                help="keep one of them; a mesh takes one IPv4 and one IPv6 network at most",
                related=(Related(own[0].where, "the first one"),),
            )


def _unusable(declared: Declared) -> Diagnostic | None:
    found = next((one for one in _MEANINGS if _overlap(declared.network, ip_network(one[0]))), None)
    if found is None:
        return None
    within = _inside(declared.network, ip_network(found[0]))
    written = declared.mesh.spec.cidrs[declared.item]
    return Diagnostic(
        UNUSABLE,
        f"machines cannot have addresses of `{written}`: it {'is' if within else 'holds'} {found[1]} (`{found[0]}`)",
        declared.where,
        label=f"{found[1]} addresses",
        help=_take(declared.network),
    )


def _take(network: Network) -> str:
    if network.version == 4:
        return "take a part of `10.0.0.0/8`, `172.16.0.0/12`, `192.168.0.0/16` or `100.64.0.0/10`"
    return 'take a part of `"fd00::/8"`, such as `"fd88:5b2a::/64"`'


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def _private(declared: Declared) -> Iterator[Diagnostic]:
    private = (ip_network(text) for text in _PRIVATE)
    if not any(_inside(declared.network, known) for known in private):
        yield Diagnostic(
            PUBLIC,
            f"`{declared.network}` is not a network for private use",
            declared.where,
            label="somebody else's addresses, most likely",
            help=f"{_take(declared.network)}, unless these addresses are yours",
            severity=Severity.WARNING,
        )


def _inside(network: Network, outer: Network) -> bool:
    return network.version == outer.version and network.overlaps(outer) and network.prefixlen >= outer.prefixlen


def _underlay(declared: Declared, used: set[str]) -> Iterator[Diagnostic]:
    for backend in sorted(used):
        for text in backends.underlay(backend):
            taken = ip_network(text)
            if taken.version == declared.network.version and taken.overlaps(declared.network):
                yield Diagnostic(
                    UNDERLAY_OVERLAP,
                    f"`{declared.network}` overlaps `{taken}`, which machines of `{backend}` have below the mesh",
                    declared.where,
                    label="taken by the underlay",
                    help=f"take a network outside of `{taken}`",
                )


def _room(declared: Declared, members: int, reserved: Sequence[str]) -> Iterator[Diagnostic]:
    # Two are the most that a protocol keeps for itself; nearly every network needs no closer look.
    if not reserved and declared.network.num_addresses >= members + 2:
        return
    room = capacity(str(declared.network), reserved)
    if room >= members or (reserved and not room):
        return  # that nothing is left is told where it is reserved
    bits = declared.network.max_prefixlen
    without = declared.network.num_addresses - room if reserved else 2
    wider = next(
        (length for length in range(declared.network.prefixlen, -1, -1) if 2 ** (bits - length) >= members + without), 0
    )
    yield Diagnostic(
        EXHAUSTED,
        f"`{declared.network}` has {room} usable address{'' if room == 1 else 'es'}"
        f"{' that are not reserved' if reserved else ''}, and the Mesh `{declared.mesh.name}` has {members} machines",
        declared.where,
        label=f"{members - room} too few",
        help=f"widen it to /{wider} or more, {'reserve less, ' if reserved else ''}or declare fewer machines",
    )


def apart(networks: Iterable[Declared]) -> Iterator[Diagnostic]:
    """Overlaps between meshes. Networks are nested or apart: in order, one overlaps the widest before it or none."""
    widest: Declared | None = None
    for declared in sorted(networks, key=_extent):
        version, first, _ = _extent(declared)
        if widest is None or version != widest.network.version or first > int(widest.network.broadcast_address):
            widest = declared
        elif widest.mesh is not declared.mesh:
            yield Diagnostic(
                MESHES_OVERLAP,
                f"`{declared.network}` of the Mesh `{declared.mesh.name}` overlaps `{widest.network}` of the Mesh "
                f"`{widest.mesh.name}`",
                declared.where,
                label="taken by another mesh",
                help="give every mesh a network of its own",
                related=(Related(widest.where, f"the Mesh `{widest.mesh.name}`"),),
            )


def _extent(declared: Declared) -> tuple[int, int, int]:
    network = declared.network
    return network.version, int(network.network_address), network.prefixlen
