"""The declared shape of `accelerators:`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Fingerprint = Annotated[
    str,
    msgspec.Meta(
        pattern="^[0-9A-F]{40}$",
        extra_json_schema={"patternErrorMessage": "the 40 hex digits of an OpenPGP key's fingerprint, in capitals"},
    ),
]
Url = Annotated[
    str,
    msgspec.Meta(
        pattern="^(https?://[A-Za-z0-9._~:/%+-]+|file:/[A-Za-z0-9._~/%+-]+)$",
        extra_json_schema={"patternErrorMessage": "an address such as https://mirror.example/cuda/repos"},
    ),
]
Profile = Annotated[
    str,
    msgspec.Meta(
        pattern="^[1-7]g\\.[1-9][0-9]{0,2}gb([+-][a-z.]{1,8})?$",
        extra_json_schema={"patternErrorMessage": "the name of a MIG profile, such as `1g.10gb`"},
    ),
]
Version = Annotated[
    str,
    msgspec.Meta(
        pattern="^[0-9]{1,6}(\\.[0-9]{1,6}){1,4}$",
        extra_json_schema={"patternErrorMessage": "a whole version, such as `580.173.02`"},
    ),
]
Model = Annotated[str, msgspec.Meta(min_length=1, max_length=60)]
Count = Annotated[int, msgspec.Meta(ge=1, le=64)]
Instances = Annotated[int, msgspec.Meta(ge=1, le=7)]


class Driver(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which driver runs the cards."""

    branch: Annotated[
        str,
        msgspec.Meta(
            description="Branch of the vendor's driver, or `auto`: the first one supported that drives every card of "
            "the machine. NVIDIA's have one number, AMD's two.",
            pattern="^(auto|[1-9][0-9]{2}|[1-9][0-9]\\.[0-9]{2})$",
            extra_json_schema={"patternErrorMessage": "`auto`, or a branch such as `580` or `30.30`, in quotes"},
            examples=["auto", "580", "30.30"],
        ),
    ] = "auto"
    version: Annotated[
        Version | None,
        msgspec.Meta(
            description="Exact version of the branch. Left out: the one that this swarmctl knows. The distribution's "
            "own archive needs it.",
            examples=["580.173.02"],
        ),
    ] = None


class Mirror(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A mirror of the vendor's repositories, laid out as these are."""

    url: Annotated[
        Url,
        msgspec.Meta(
            description="Address in whose place the vendor has `https://developer.download.nvidia.com/compute/cuda/"
            "repos`: below it come system and architecture, such as `ubuntu2404/x86_64`; or, for AMD's cards, "
            "`https://repo.radeon.com` with `amdgpu/30.30.4/ubuntu` and the others below it.",
            examples=["https://mirror.example/cuda/repos"],
        ),
    ]
    fingerprint: Annotated[
        Fingerprint,
        msgspec.Meta(
            description="Fingerprint of the key that signs it; a machine trusts no other key for these packages.",
            examples=["EB693B3035CD5710E231E123A4B469963BF863CC"],
        ),
    ]
    key: Annotated[
        Url | None,
        msgspec.Meta(
            description="Where a machine gets that key. Left out: the file `3bf863cc.pub` beside the packages (for dnf "
            "`D42D0685.pub`), or for AMD's cards `rocm/rocm.gpg.key` below the mirror, as the vendors have it.",
            examples=["https://mirror.example/cuda/key.asc"],
        ),
    ] = None


class Accelerator(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Cards of one vendor and model, in every machine of the pool."""

    vendor: Annotated[
        Literal["nvidia", "amd"], msgspec.Meta(description="Who makes the cards.", examples=["nvidia", "amd"])
    ]
    model: Annotated[
        Model | None,
        msgspec.Meta(
            description="The cards' model: its name, and of form and memory as much as one likes. Left out: whatever "
            "is there of the vendor's.",
            examples=["H100-SXM5-80GB", "L40S", "MI300X"],
        ),
    ] = None
    count: Annotated[
        Count | None,
        msgspec.Meta(description="Cards of that model in every machine. Left out: whatever is there.", examples=[8]),
    ] = None
    driver: Annotated[
        Driver, msgspec.Meta(description="Branch and version of the driver.", examples=[{"branch": "auto"}])
    ] = Driver()
    kernel_module: Annotated[
        Literal["auto", "open", "proprietary"],
        msgspec.Meta(description="Which kernel module drives the cards; `auto` follows from the cards and the branch."),
    ] = "auto"
    mig: Annotated[
        str | dict[Profile, Instances],
        msgspec.Meta(
            description="How each card of the model is divided: `none`, profiles with their number, `balanced`, or "
            "`all-PROFILE` for as many of one as fit. Cards of AMD's have no MIG.",
            examples=["none", {"1g.10gb": 7}, "all-1g.10gb"],
            extra_json_schema={
                "patternErrorMessage": "`none`, `balanced`, `all-1g.10gb` and the like, or profiles with their number, "
                "such as `{1g.10gb: 7}`"
            },
        ),
    ] = "none"
    persistence: Annotated[
        bool,
        msgspec.Meta(
            description="Whether the driver stays loaded while nothing uses it, as the vendor advises; AMD's always "
            "does."
        ),
    ] = True
    source: Annotated[
        Literal["vendor", "distribution", "mirror"],
        msgspec.Meta(
            description="Where packages come from: the vendor's repositories, the distribution's own archive, or a "
            "mirror of the vendor's."
        ),
    ] = "vendor"
    mirror: Annotated[
        Mirror | None,
        msgspec.Meta(
            description="Which mirror, with `source: mirror`.",
            examples=[
                {
                    "url": "https://mirror.example/cuda/repos",
                    "fingerprint": "EB693B3035CD5710E231E123A4B469963BF863CC",
                }
            ],
        ),
    ] = None
