"""Finds schemas/, templates/, stacks/ and toolchain/: inside the wheel, or in the checkout of an editable install."""

from __future__ import annotations

from pathlib import Path


def folder(name: str) -> Path:
    """The folder `name`. Raises FileNotFoundError when the installation is incomplete."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "_assets" / name, package.parent / name):
        if candidate.is_dir():
            return candidate
    raise FileNotFoundError(f"{name}/ is missing from this installation of swarmctl")
