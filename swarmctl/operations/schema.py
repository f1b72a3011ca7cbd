"""`swarmctl schema`: the JSON Schema of one kind, or of all together, as shipped."""

from __future__ import annotations

from swarmctl import assets, kinds
from swarmctl.declarations.words import listing, nearest, sentences
from swarmctl.errors import UsageError
from swarmctl.kinds.schema import BUNDLE, file_name


def schema(kind: str = "") -> str:
    """The schema file of `kind`, or the one for files of any kinds. Raises UsageError when there is no such kind."""
    name = BUNDLE if not kind else file_name(resolve_kind(kind))
    return (assets.folder("schemas") / name).read_text("utf-8")


def resolve_kind(written: str) -> str:
    """The kind called `written` in any spelling of case and hyphens. Raises UsageError with what was meant."""
    names = kinds.registry()
    exact = {name.lower(): name for name in names}
    found = exact.get(written.lower().replace("-", "").replace("_", ""))
    if found:
        return found
    near = nearest(written, names)
    raise UsageError(
        f"no such kind: {written}", sentences(f"did you mean {near}?" if near else "", f"kinds: {listing(names)}")
    )
