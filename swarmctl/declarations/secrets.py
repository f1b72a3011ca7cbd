"""How a secret is declared: by where it is found, never by what it is."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

# What is called SWARMCTL_… is handed on to the engine in its environment, which /proc shows.
Variable = Annotated[
    str,
    msgspec.Meta(
        pattern="^(?!SWARMCTL_|PULUMI_)[A-Za-z_][A-Za-z0-9_]{0,127}$",
        extra_json_schema={
            "patternErrorMessage": "the name of an environment variable: letters, digits and `_`, no digit first, at "
            "most 128 characters; `SWARMCTL_` and `PULUMI_` are not for secrets"
        },
    ),
]


class SecretRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A secret, by the place it is read from: exactly one of `env` and `file`. What it is can't be written here."""

    ONE_OF: ClassVar[tuple[str, ...]] = ("env", "file")

    env: Annotated[
        Variable | None,
        msgspec.Meta(
            description="Environment variable of the swarmctl that plans and applies, which holds the secret.",
            examples=["REGISTRY_TOKEN"],
        ),
    ] = None
    file: Annotated[
        Annotated[str, msgspec.Meta(min_length=1, max_length=4096)] | None,
        msgspec.Meta(
            description="File that holds the secret, as text; a path that is not absolute starts at the stack's "
            "folder. One line break at the end is not part of the secret.",
            examples=["secrets/registry-token"],
        ),
    ] = None

    def plain(self) -> dict[str, Any]:
        """As it is written."""
        return {"env": self.env} if self.env is not None else {"file": self.file}
