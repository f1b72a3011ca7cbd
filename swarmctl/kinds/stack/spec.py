"""The declared shape of a Stack."""

from __future__ import annotations

from typing import Annotated

import msgspec

from swarmctl.declarations.declaration import LabelKey, LabelValue, Name

FileUrl = Annotated[
    str,
    msgspec.Meta(
        # A colon, `@`, `?`, `#` or `%` would make it the URL of something else: a host, a user, a query.
        pattern=r"^file://(~/)?[^\x00-\x1f\x7f~:@?#%\\][^\x00-\x1f\x7f:@?#%\\]*$",
        extra_json_schema={
            "patternErrorMessage": "`file://` and a folder: absolute (`file:///srv/state`), in the home directory "
            "(`file://~/state`) or relative to the stack's folder (`file://state`), without host, query or `%`"
        },
    ),
]


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What node pools of this stack take when they leave it out."""

    cluster: Annotated[
        str | None,
        msgspec.Meta(
            description="Cluster of pools that name none.",
            examples=["core"],
            extra_json_schema={"x-swarmctl-ref": "Cluster"},
        ),
    ] = None
    region: Annotated[
        Name | None, msgspec.Meta(description="Region of pools that name none.", examples=["eu-central"])
    ] = None
    labels: Annotated[
        dict[LabelKey, LabelValue],
        msgspec.Meta(
            description="Labels that every machine gets; those of its pool and its own win.",
            examples=[{"team": "inference"}],
        ),
    ] = {}


class StackSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What holds for the whole stack; everything in it may be left out."""

    state: Annotated[
        FileUrl | None,
        msgspec.Meta(
            description="Where the engine keeps the state: `file://` and a folder, absolute, under `~/`, or relative "
            "to the stack's folder. Left out: a folder of the stack's own in the user's data directory.",
            examples=["file://~/swarm-state", "file:///srv/swarm/state"],
        ),
    ] = None
    defaults: Annotated[Defaults, msgspec.Meta(description="What node pools take when they leave it out.")] = Defaults()
