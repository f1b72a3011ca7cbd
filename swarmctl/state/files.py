"""Writes files of the store."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path


def write(file: Path, content: bytes) -> None:
    """Write a file so that it has the old content or the new one, whatever happens; nobody else may read it."""
    temporary = file.with_name(f"{file.name}.{os.getpid()}.new")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, file)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
        raise
