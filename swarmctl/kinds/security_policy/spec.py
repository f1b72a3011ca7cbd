"""The declared shape of a SecurityPolicy."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Literal

import msgspec

from swarmctl.declarations.declaration import Name

Selector = dict[str, str]
"""Labels that must all be there with these values; an empty selector takes every node."""

Port = Annotated[int, msgspec.Meta(ge=1, le=65535)]
PortRange = Annotated[
    str,
    msgspec.Meta(
        pattern="^[1-9][0-9]{0,4}-[1-9][0-9]{0,4}$",
        extra_json_schema={"patternErrorMessage": "a port (`6379`) or a range of ports (`10001-10010`)"},
    ),
]


Instant = Annotated[
    str,
    msgspec.Meta(
        pattern="^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        extra_json_schema={"patternErrorMessage": 'an instant in UTC, in quotes (`"2026-12-01T00:00:00Z"`)'},
    ),
]


class Flow(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Traffic on the mesh that is allowed."""

    name: Annotated[
        Name,
        msgspec.Meta(
            description="Name of the flow, unique in the policy; a DNS label (RFC 1123).", examples=["ray-head"]
        ),
    ]
    ports: Annotated[
        list[Port | PortRange],
        msgspec.Meta(
            description="Destination ports: whole numbers and ranges, both ends included.",
            min_length=1,
            examples=[[6379, "10001-10010"]],
        ),
    ]
    from_: Annotated[
        Selector,
        msgspec.Meta(
            description="Labels of the nodes that may open it; `{}` is every node.", examples=[{"role": "worker"}]
        ),
    ] = {}
    to: Annotated[
        Selector,
        msgspec.Meta(description="Labels of the nodes it may go to; `{}` is every node.", examples=[{"role": "head"}]),
    ] = {}
    protocol: Annotated[Literal["tcp", "udp"], msgspec.Meta(description="Transport protocol.")] = "tcp"
    until: Annotated[
        Instant | None,
        msgspec.Meta(
            description="When it ends: an instant in UTC (RFC 3339). The nodes end it themselves, by their own clocks, "
            "connections that are open then included. Left out: never.",
            examples=["2026-12-01T00:00:00Z"],
        ),
    ] = None


class Denial(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """Traffic on the mesh that no flow may allow."""

    name: Annotated[
        Name,
        msgspec.Meta(
            description="Name of the denial, unique in the policy; a DNS label (RFC 1123).",
            examples=["guests-to-databases"],
        ),
    ]
    from_: Annotated[
        Selector,
        msgspec.Meta(description="Labels of the nodes that must not open it; `{}` is every node.", examples=[{}]),
    ] = {}
    to: Annotated[
        Selector,
        msgspec.Meta(
            description="Labels of the nodes it must not go to; `{}` is every node.", examples=[{"role": "db"}]
        ),
    ] = {}
    ports: Annotated[
        list[Port | PortRange],
        msgspec.Meta(
            description="Destination ports: whole numbers and ranges, both ends included. Left out: every port.",
            examples=[[22]],
        ),
    ] = []
    protocol: Annotated[
        Literal["tcp", "udp"] | None, msgspec.Meta(description="Transport protocol. Left out: both.", examples=["tcp"])
    ] = None


class Network(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Default deny; flows are the exceptions."""

    flows: Annotated[
        list[Flow],
        msgspec.Meta(
            description="What is allowed on the mesh; everything else is denied.",
            examples=[[{"name": "metrics", "from": {"role": "head"}, "to": {}, "ports": [9100]}]],
        ),
    ] = []
    never: Annotated[
        list[Denial],
        msgspec.Meta(
            description="What no flow may allow, whoever adds one: a flow that allows any of it is an error.",
            examples=[[{"name": "no-ssh", "ports": [22], "protocol": "tcp"}]],
        ),
    ] = []


class SecurityPolicySpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What is allowed; whatever is not listed is denied."""

    network: Annotated[
        Network, msgspec.Meta(description="Network part: default deny, and the flows that are allowed.")
    ] = Network()


def instant(text: str) -> int:
    """Unix time in seconds of `2026-12-01T00:00:00Z`. Raises ValueError when there is no such instant."""
    return int(datetime.fromisoformat(text).timestamp())


def moment(seconds: int) -> str:
    """The same the other way round."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
