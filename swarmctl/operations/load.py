"""Folder → a stack without errors: where every operation begins that goes on from there."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import msgspec

from swarmctl.declarations.declaration import Declaration, Inventory
from swarmctl.diagnostics import Diagnostic, Severity
from swarmctl.errors import InvalidDeclaration, SwarmError
from swarmctl.operations.validate import validate

if TYPE_CHECKING:
    from swarmctl.plans.signing import Signer


@dataclass(frozen=True, slots=True)
class LoadedStack:
    """A stack without errors."""

    folder: Path
    name: str
    identity: str
    """`NAME-UID`, or the name alone where the Stack has no uid."""
    state_url: str | None
    """`file://` and an absolute path; None: the store in the user's data directory."""
    inventory: Inventory
    diagnostics: tuple[Diagnostic, ...]
    """Warnings, and errors that it was loaded despite of."""
    sources: Mapping[str, str]
    signers: tuple[Signer, ...]
    """Whose plans are accepted, as declared."""
    digest: str
    """SHA-256 over what is declared: comments, layout, order, and how documents are spread over files don't count."""


def load_stack(folder: Path, despite: Collection[str] = ()) -> LoadedStack:
    """The stack declared in `folder`.

    Raises NoDocuments when there is none, InvalidDeclaration (with every diagnostic, and `sources`) when it has errors
    other than those with the codes `despite`, which are among its `diagnostics` then.
    """
    checked = validate(folder)
    wrong = [one for one in checked.diagnostics if one.severity is not Severity.WARNING]
    if any(one.code.id not in despite for one in wrong):
        raise InvalidDeclaration(checked.diagnostics, checked.sources)
    stack = checked.inventory.of("Stack")[0]
    uid = stack.metadata.uid
    return LoadedStack(
        folder=folder,
        name=stack.name,
        identity=f"{stack.name}-{uid}" if uid else stack.name,
        state_url=_state_url(stack.spec.state, folder),
        inventory=checked.inventory,
        diagnostics=(*wrong, *(one for one in checked.diagnostics if one.severity is Severity.WARNING)),
        sources=checked.sources,
        signers=_signers(stack),
        digest=digest(checked.inventory),
    )


def _signers(stack: Declaration) -> tuple[Signer, ...]:
    """Without the comments after the keys."""
    if not stack.spec.signers:
        return ()
    from swarmctl.plans.signing import Signer

    return tuple(Signer(one.name, " ".join(one.key.split()[:2])) for one in stack.spec.signers)


def digest(inventory: Inventory) -> str:
    """SHA-256 in hex over the declarations with their defaults filled in, in an order of their own."""
    plain = sorted(
        (_plain(declaration) for declaration in inventory), key=lambda one: (one["kind"], one["metadata"]["name"])
    )
    return hashlib.sha256(msgspec.json.encode(plain, order="deterministic")).hexdigest()


def _plain(declaration: Declaration) -> dict[str, Any]:
    metadata = declaration.metadata
    return {
        "kind": declaration.kind,
        "metadata": {
            "name": metadata.name,
            "labels": metadata.labels,
            "annotations": metadata.annotations,
            "uid": metadata.uid,
            "protect": metadata.protect,
        },
        "spec": msgspec.to_builtins(declaration.spec),
        "variant": declaration.variant,
        "variantSpec": msgspec.to_builtins(declaration.variant_spec),
    }


def _state_url(declared: str | None, folder: Path) -> str | None:
    """`file://` with an absolute path: `~/` is the home directory, a relative path starts at the stack's folder.

    Raises SwarmError when nobody knows where the home directory is.
    """
    if declared is None:
        return None
    try:
        path = folder.resolve() / Path(declared.removeprefix("file://")).expanduser()
    except (RuntimeError, OSError) as error:
        raise SwarmError(
            f"the state's folder {declared} cannot be worked out: {error}",
            "write an absolute path as `spec.state` of the Stack, such as `file:///srv/state`",
        ) from error
    return f"file://{quote(str(path))}"
