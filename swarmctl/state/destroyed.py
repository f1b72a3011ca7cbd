"""When a stack was destroyed, kept outside of its store, which is gone then: a plan made before that is none any more.

Which plans were carried out is part of the state. Without this, one that made the stack would be good again after a
destroy, since it was made from nothing, and nothing is there again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from swarmctl import paths
from swarmctl.errors import SwarmError
from swarmctl.state import files

KEPT = timedelta(days=31)
"""For longer than any plan is good (`plans.saved.LONGEST`)."""


def note(store: Path, now: datetime | None = None) -> None:
    """Keep it that the stack whose store is the folder `store` is destroyed now; what is kept of others for long enough
    is removed. Raises DiskFull, ReadOnly, SwarmError."""
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    place = _place(store)
    try:
        with files.told(place.parent):
            files.folder(place.parent)
            files.write(place, f"{moment.isoformat(timespec='milliseconds')}\n".encode())
            for other in place.parent.iterdir():
                if (then := _read(other)) is not None and then < moment - KEPT:
                    other.unlink(missing_ok=True)
    except OSError as error:
        raise SwarmError(
            f"{place}, when the stack was destroyed, cannot be written: {error.strerror}",
            "mend that, then run the same command again; its state is still there",
        ) from error


def last(store: Path) -> datetime | None:
    """When the stack was last destroyed, in UTC; None when it never was, as far as that is kept.

    Raises SwarmError when it can't be read.
    """
    place = _place(store)
    try:
        content = place.read_text("utf-8", "replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SwarmError(f"{place}, when the stack was destroyed, cannot be read: {error.strerror}") from error
    found = _time(content)
    if found is None:
        raise SwarmError(
            f"{place} does not say when the stack was destroyed",
            "no saved plan from before that must be applied; when there is none, remove this file",
        )
    return found


def _place(store: Path) -> Path:
    """Beside the folder with all stores; where that was chosen, in it: everyone who uses it is to know."""
    usual = store.parent == paths.stack_dir(store.name).parent
    return (paths.data_home() / "destroyed" if usual else store.parent / ".destroyed") / store.name


def _read(file: Path) -> datetime | None:
    try:
        return _time(file.read_text("utf-8", "replace"))
    except (FileNotFoundError, IsADirectoryError):  # another run has removed it; it is none
        return None


def _time(text: str) -> datetime | None:
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found.astimezone(UTC) if found.tzinfo else None
