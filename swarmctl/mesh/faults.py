"""What keeps a mesh from connecting its nodes, as errors that name the nodes. Pure."""

from __future__ import annotations

from swarmctl.errors import SwarmError


class Unconnected(SwarmError):
    """Two nodes that the topology connects have no way to each other."""

    def __init__(self, message: str, hint: str, nodes: tuple[str, ...]) -> None:
        super().__init__(message, hint)
        self.nodes = nodes
        """The nodes it is about, by name; the first is the one that was looked at."""


class NoCommonFamily(Unconnected):
    """Neither can send to where the other is reached, for want of the address family; and nobody passes it on."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(
            f"{one} and {other} share no address family on the underlay that a tunnel could begin over",
            "give both an IPv4 address or both an IPv6 address, as an endpoint, too, where one is declared",
            (one, other),
        )


class NoRelay(Unconnected):
    """Neither can be reached from outside, and nobody passes their traffic on."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(
            f"neither {one} nor {other} can be reached from outside, and no relay connects them",
            "declare a relay that both can reach, or an endpoint for one of them",
            (one, other),
        )


class NoGateway(Unconnected):
    """A region has no gateway that leads to another."""

    def __init__(self, one: str, other: str, region: str) -> None:
        super().__init__(
            f"the region {region!r} has no gateway, so {one} and {other} have no way to each other",
            "give a node of the region the labels of a gateway",
            (one, other),
        )


class NotConnected(Unconnected):
    """The topology promises a way, and there is none."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(
            f"{one} and {other} have no way to each other",
            "declare a link, a hub or a relay that connects them",
            (one, other),
        )
