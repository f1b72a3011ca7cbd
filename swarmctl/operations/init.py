"""`swarmctl init`: a first stack, small and whole, that validates as it is."""

from __future__ import annotations

import re
import uuid
from pathlib import Path

from swarmctl import assets
from swarmctl.errors import SwarmError, UsageError
from swarmctl.kinds.schema import BUNDLE
from swarmctl.operations.schema import schema

SCHEMA_FILE = f".swarmctl/{BUNDLE}"
"""Beside the declarations, so that editors find it without a network; the files' first line names it."""


def init(folder: Path, name: str = "") -> list[Path]:
    """Write a stack into `folder`, made when it is missing; `name` is by default made of the folder's.

    Returns the files in the order written. Raises UsageError, with nothing written, when the folder holds
    declarations already or the name is none; SwarmError when the folder can't be written.
    """
    stack = _name(folder, name)
    contents = {folder / path: text for path, text in _contents(stack).items()}
    _refuse_to_overwrite(folder, list(contents))
    written: list[Path] = []
    try:
        for path, text in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "x", encoding="utf-8") as stream:
                written.append(path)
                stream.write(text)
    except OSError as error:
        for path in written:
            path.unlink(missing_ok=True)
        raise SwarmError(
            f"cannot write {error.filename or folder}: {error.strerror or error}", "name a folder that can be written"
        ) from error
    return written


def _name(folder: Path, wanted: str) -> str:
    if wanted:
        if not re.fullmatch("[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", wanted):
            raise UsageError(
                f"not a name for a stack: {wanted!r}",
                "lower-case letters, digits and hyphens, a letter or digit at both ends, at most 63 characters",
            )
        return wanted
    made = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:63].strip("-")
    if not made:
        raise UsageError(f"the folder's name {folder.resolve().name!r} makes no name for a stack", "give one by --name")
    return made


def _contents(stack: str) -> dict[str, str]:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Not HTML, and a name is only letters, digits and hyphens: nothing is escaped.
    loader = FileSystemLoader(assets.folder("templates") / "init")
    templates = Environment(loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    # A name such as 007 or no is text only in quotes.
    plain = re.fullmatch(r"[a-z][a-z0-9-]+", stack) and stack not in ("yes", "no", "on", "off", "true", "false", "null")
    name = stack if plain else f'"{stack}"'
    texts = {
        file: templates.get_template(file).render(name=name, uid=str(uuid.uuid4()))
        for file in sorted(templates.list_templates(extensions=["yaml"]), reverse=True)
    }
    return {**texts, SCHEMA_FILE: schema()}


def _refuse_to_overwrite(folder: Path, files: list[Path]) -> None:
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is not a folder", "name a folder, or one that does not exist yet")
    there = {path for path in files if path.exists() or path.is_symlink()}
    if folder.is_dir():
        there.update(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml"))
    if there:
        names = ", ".join(sorted(str(path.relative_to(folder)) for path in there))
        raise UsageError(
            f"{folder} holds declarations already ({names}); nothing was written",
            "name a folder of its own, such as `swarmctl init my-stack`",
        )
