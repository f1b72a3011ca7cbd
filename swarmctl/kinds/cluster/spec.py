"""The declared shape of a Cluster."""

from __future__ import annotations

from typing import Annotated

import msgspec


class ClusterSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What the machines of the cluster's pools share."""

    mesh: Annotated[
        str,
        msgspec.Meta(
            description="Mesh that connects all nodes of the cluster. Clusters that name the same mesh reach each "
            "other, as far as their security policies let them.",
            examples=["backbone"],
            extra_json_schema={"x-swarmctl-ref": "Mesh"},
        ),
    ]
    security_policy: Annotated[
        str,
        msgspec.Meta(
            description="Security policy that holds on every node of the cluster.",
            examples=["baseline"],
            extra_json_schema={"x-swarmctl-ref": "SecurityPolicy"},
        ),
    ]
