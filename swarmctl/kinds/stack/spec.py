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


SignerName = Annotated[
    str,
    msgspec.Meta(
        pattern="^[A-Za-z0-9][A-Za-z0-9._@+-]{0,62}$",
        extra_json_schema={
            "patternErrorMessage": "letters, digits, `.`, `_`, `@`, `+` and `-`, beginning with a letter or digit, at "
            "most 63 characters"
        },
    ),
]
PublicKey = Annotated[
    str,
    msgspec.Meta(
        # 51 bytes in base64: two lengths, the algorithm's name, and the 32 bytes of the key. Its first two bits are
        # those that follow the fixed part, so whatever matches is a key of the right length. A key on hardware has the
        # name of its application behind that.
        pattern="^(ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI[A-P][A-Za-z0-9+/]{42}|sk-ssh-ed25519@openssh\\.com "
        "AAAAGnNrLXNzaC1lZDI1NTE5QG9wZW5zc2guY29tAAAAI[A-P][A-Za-z0-9+/]{42}AAAA[A-Za-z0-9+/]{4,88}={0,2})( [!-~ ]*)?$",
        extra_json_schema={
            "patternErrorMessage": "the public half of an Ed25519 key in one line, as in `id_ed25519.pub`: "
            "`ssh-ed25519 AAAAC3…`, 68 characters after the space, or `sk-ssh-ed25519@openssh.com AAAAGn…`"
        },
    ),
]
MovedAddress = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z]+/[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\[[a-z0-9/.-]+\])?$",
        extra_json_schema={
            "patternErrorMessage": "an address as plans show it: `nodepool/gpu` for all of a NodePool, or "
            "`nodepool/gpu[0]` for one machine"
        },
    ),
]


class Signer(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Somebody whose saved plans are applied."""

    name: Annotated[
        SignerName, msgspec.Meta(description="Who or what signs, unique in the stack.", examples=["ci", "alice"])
    ]
    key: Annotated[
        PublicKey,
        msgspec.Meta(
            description="Public Ed25519 key in OpenSSH's form, one on hardware too; a comment after it is ignored.",
            examples=["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY0R1cPpdVHKBfVJX2QK0m8jRzUiHVhhPAnXcv6tPPS ci"],
        ),
    ]


class Moved(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"from_": "from"}):
    """One thing that has another name now."""

    from_: Annotated[
        MovedAddress,
        msgspec.Meta(description="Address that it had; nothing may be declared there.", examples=["nodepool/workers"]),
    ]
    to: Annotated[
        MovedAddress,
        msgspec.Meta(description="Address that it has now; it must be declared.", examples=["nodepool/gpu"]),
    ]


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
    signers: Annotated[
        list[Signer],
        msgspec.Meta(
            description="Whose signatures on saved plans count. Left out: the key kept with the state, which makes "
            "tampering with a saved plan evident, and no more.",
            examples=[
                [
                    {
                        "name": "ci",
                        "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY0R1cPpdVHKBfVJX2QK0m8jRzUiHVhhPAnXcv6tPPS",
                    }
                ]
            ],
        ),
    ] = []
    moved: Annotated[
        list[Moved],
        msgspec.Meta(
            description="What got another name and is still the same: instead of being removed and made anew it stays, "
            "with its keys and addresses. Machines keep the node name they were made with. An entry may be removed "
            "once it has been applied everywhere.",
            examples=[[{"from": "nodepool/workers", "to": "nodepool/gpu"}]],
        ),
    ] = []
