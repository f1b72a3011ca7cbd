"""The interface of a mesh: its name, and how large its packets can be."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl import backends
from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Unknown
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.mesh.resolve import ip_version
from swarmctl.kinds.mesh.rules.subject import Subject
from swarmctl.mesh.mtu import LEAST_IPV6, carried
from swarmctl.mesh.names import next_interface, next_port

MTU_TOO_SMALL = Code(
    "SW3108",
    "MTU too small for IPv6",
    """IPv6 does not work on links that carry less than 1280 bytes (RFC 8200, 5); Linux switches it off there. Without a
declared MTU the mesh has what its machines' underlay carries, less 60 or 80 bytes for WireGuard.

Wrong: `cidrs: ["fd88::/64"]` with `mtu: 1200`

Right: `mtu: 1280` or more, or IPv4 alone
""",
)
INTERFACE_TAKEN = Code(
    "SW3112",
    "interface name that is taken",
    """Machines have network interfaces before there is a mesh, such as `lo` and `eth0`, and the kernel keeps some names
for itself (`all` and `default` in its settings, `tunl0` and others for tunnels). The mesh's interface needs a name of
its own, and so does the second one that is there while keys are rotated: it is called like the first, cut to 13
characters, with `-n` behind.

Wrong: `interface: eth0`, `interface: backbone-mesh-n` (its second one would be called just so)

Right: `interface: wg0`
""",
)
MTU_TOO_LARGE = Code(
    "SW3135",
    "MTU larger than the underlay carries",
    """WireGuard puts every packet of the mesh into one of the underlay, with 60 bytes on top over IPv4 and 80 over
IPv6. With a larger MTU full packets would be cut in two or lost on the way, which looks like connections that hang.

Wrong: `mtu: 1500` where the machines' underlay has 1500

Right: `mtu: 1440`, or no `mtu`: then it is computed
""",
)
ONE_PORT = Code(
    "SW3136",
    "one port for both interfaces of a mesh",
    """While keys are rotated, nodes have a second interface, which listens beside the first one. Two can't listen on
the same port.

Wrong: `listenPort: 51820` with `keys: {rotationPort: 51820}`

Right: `keys: {rotationPort: 51821}`, or no `rotationPort`: then it is the port after `listenPort`
""",
)

_RESERVED = frozenset("lo all default tunl0 gre0 gretap0 erspan0 sit0 ip6tnl0 ip6gre0".split())
"""Interfaces that every network namespace has or gets with a module, and names that sysctl keeps."""


def check(subject: Subject) -> Iterator[Diagnostic]:
    """Mistakes in the name and MTU of the interface."""
    yield from _interface(subject)
    yield from _ports(subject)
    yield from _mtu(subject)


def _interface(subject: Subject) -> Iterator[Diagnostic]:
    name, mesh = subject.spec.interface, subject.mesh
    if isinstance(name, Unknown):
        return
    owner = _owner(name)
    if not owner and next_interface(name) == name:
        owner = "the second interface, which is there while keys are rotated, would be called just so"
    if owner:
        yield Diagnostic(
            INTERFACE_TAKEN,
            f"the interface of the Mesh `{mesh.name}` cannot be called `{name}`: {owner}",
            subject.place("interface"),
            label="taken",
            help="write for example `interface: wg0`, or leave it out",
        )


def _ports(subject: Subject) -> Iterator[Diagnostic]:
    spec, mesh = subject.spec, subject.mesh
    if spec.keys.rotation_port == spec.listen_port:
        written = mesh.written("spec", "listenPort")
        yield Diagnostic(
            ONE_PORT,
            f"both interfaces of the Mesh `{mesh.name}` would listen on UDP port {spec.listen_port}",
            mesh.value("spec", "keys", "rotationPort"),
            label="the port of the first interface",
            help=f"write `rotationPort: {next_port(spec.listen_port)}`, or leave it out",
            related=(
                Related(
                    mesh.value("spec", "listenPort") if written else mesh.value("metadata", "name"),
                    "WireGuard's port"
                    if written
                    else f"the mesh; its `listenPort` is {spec.listen_port} when left out",
                ),
            ),
        )


def _owner(name: str) -> str:
    """Who has an interface of this name, as a clause; empty when nobody has."""
    taken = next((backend for backend in backends.names() if name in backends.interfaces(backend)), "")
    if taken:
        return f"machines of `{taken}` have one called so"
    return "Linux keeps this name for itself" if name in _RESERVED else ""


def _mtu(subject: Subject) -> Iterator[Diagnostic]:
    """What is declared must fit the underlay and IPv6; what is computed must fit IPv6."""
    declared = subject.spec.mtu
    six = next((one for one in subject.networks if one.network.version == 6), None)
    hosts = [endpoint.host for _, endpoint in subject.endpoints.values()]
    if declared is not None and six is not None and declared < LEAST_IPV6:
        yield Diagnostic(
            MTU_TOO_SMALL,
            f"IPv6 needs an MTU of at least {LEAST_IPV6}, and the Mesh `{subject.mesh.name}` has {declared}",
            subject.place("mtu"),
            label=f"less than {LEAST_IPV6}",
            help=f"write `mtu: {LEAST_IPV6}` or more, or leave the IPv6 network out",
            related=(Related(six.where, "the IPv6 network"),),
        )
        return
    mistaken = declared is None and subject.mesh.written("spec", "mtu")
    if mistaken or not subject.certain or not subject.nodes:
        return
    pools = {node.pool.name: node.pool for node in subject.nodes.values()}
    underlay = {name: fleet.underlay_mtu(pool) for name, pool in pools.items()}
    least = pools[min(underlay, key=lambda name: (underlay[name], name))]
    path = ("spec", least.variant, "mtu")
    where = least.value(*path) if least.written(*path) else least.value("metadata", "name")
    because = (Related(where, f"machines of the NodePool `{least.name}` have {fleet.underlay_mtu(least)}"),)
    networks = [network for pool in pools.values() for network in backends.underlay(pool.variant)]
    families = {6 if ":" in network else 4 for network in networks}
    version = 6 if families == {6} else ip_version(hosts, sure=declared is not None)
    most = carried(underlay, version=version)
    if declared is not None and declared > most.value:
        yield Diagnostic(
            MTU_TOO_LARGE,
            f"the Mesh `{subject.mesh.name}` has an MTU of {declared}, and its machines' underlay carries {most.value}",
            subject.place("mtu"),
            label=f"more than {most.value}: {most.reason}",
            help=f"write `mtu: {most.value}` or less, or leave it out",
            related=because,
        )
    elif declared is None and six is not None and most.value < LEAST_IPV6:
        yield Diagnostic(
            MTU_TOO_SMALL,
            f"IPv6 needs an MTU of at least {LEAST_IPV6}, and the underlay of the Mesh `{subject.mesh.name}` carries "
            f"{most.value}: {most.reason}",
            six.where,
            label=f"needs {LEAST_IPV6}",
            help="leave the IPv6 network out, or give the machines a larger MTU on the underlay",
            related=because,
        )
