"""The declared shape of a Stack."""

from __future__ import annotations

from typing import Annotated

import msgspec

FileUrl = Annotated[str, msgspec.Meta(pattern="^file://.+")]


class Defaults(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What node pools of this stack take when they leave it out."""

    cluster: Annotated[
        str | None,
        msgspec.Meta(description="Cluster of pools that name none.", extra_json_schema={"x-swarmctl-ref": "Cluster"}),
    ] = None
    region: Annotated[str | None, msgspec.Meta(description="Region of pools that name none.")] = None
    labels: Annotated[
        dict[str, str], msgspec.Meta(description="Labels that every pool gets; a pool's own labels win.")
    ] = {}


class StackSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Spec of a Stack."""

    state: Annotated[
        FileUrl | None,
        msgspec.Meta(
            description="State store: `file://` and a folder, absolute or relative to this file. "
            "Left out: a folder of the stack's own in the user's data directory.",
        ),
    ] = None
    defaults: Annotated[Defaults, msgspec.Meta(description="What node pools take when they leave it out.")] = Defaults()
