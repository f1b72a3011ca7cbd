"""The declared shape of a NodePool, without the backend's part: that comes from the backend (see `Kind.variants`)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from swarmctl.declarations.declaration import Name

Cpus = Annotated[float, msgspec.Meta(ge=0.01, le=4096)]
Memory = Annotated[
    str,
    msgspec.Meta(
        pattern="^[1-9][0-9]{0,17}(Ki|Mi|Gi|Ti)$",
        extra_json_schema={"patternErrorMessage": "a whole number and Ki, Mi, Gi or Ti, such as `512Mi` or `80Gi`"},
    ),
]


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What each machine may use at most."""

    cpus: Annotated[
        Cpus | None,
        msgspec.Meta(description="CPUs each machine may use, such as 2 or 0.5. Left out: no limit.", examples=[0.5, 2]),
    ] = None
    memory: Annotated[
        Memory | None,
        msgspec.Meta(
            description="Memory each machine may use: a whole number with `Ki`, `Mi`, `Gi` or `Ti` (powers of 1024 "
            "bytes), at most 64Ti; machines of the lab need 16Mi. Left out: no limit.",
            examples=["512Mi", "80Gi"],
        ),
    ] = None


class NodePoolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the machines belong and what they may use; exactly one backend key says what they are."""

    cluster: Annotated[
        str | None,
        msgspec.Meta(
            description="Cluster the machines belong to. Left out: `defaults.cluster` of the stack.",
            examples=["core"],
            extra_json_schema={"x-swarmctl-ref": "Cluster"},
        ),
    ] = None
    region: Annotated[
        Name | None,
        msgspec.Meta(
            description="Region the machines stand in; machines of one region share an underlay subnet. "
            "Left out: `defaults.region` of the stack.",
            examples=["eu-central"],
        ),
    ] = None
    resources: Annotated[Resources, msgspec.Meta(description="Limits of each machine. Left out: none.")] = Resources()
