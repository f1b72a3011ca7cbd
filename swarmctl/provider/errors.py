"""What went wrong in a resource, as text for the user: a sentence and how to mend it, never a traceback."""

from __future__ import annotations

from swarmctl.errors import SwarmError
from swarmctl.kinds.secrets import redact

LIMIT = 4000
"""Characters of one error; what hosts print may be long."""

HELP = "help: "
"""Before the hint of an error in what the engine is told."""


def describe(error: Exception) -> str:
    """One error as text. Our own errors speak for themselves; of others only the type is known to be harmless.

    The message of a foreign exception may quote the values it stumbled over, and a value may be a secret; so of those
    only errors of the operating system tell more than their type: their text is fixed. Whatever is told, the secrets
    that the provider knows are taken out of it, before it is cut: half a secret would be found by nobody.
    """
    return redact(_text(error))[:LIMIT]


def _text(error: Exception) -> str:
    if isinstance(error, SwarmError):
        return "\n".join([error.message, *error.details, *([f"{HELP}{error.hint}"] if error.hint else [])])
    if isinstance(error, OSError):
        return f"{error.strerror or type(error).__name__}{f': {error.filename}' if error.filename else ''}"
    place = _place(error)
    return f"this is a bug in swarmctl: {type(error).__name__}{f' at {place}' if place else ''}"


def _place(error: Exception) -> str:
    """Where in our own code it happened, as `module:line`."""
    trace, place = error.__traceback__, ""
    while trace is not None:
        module = trace.tb_frame.f_globals.get("__name__", "")
        if module.startswith("swarmctl.") and not module.startswith("swarmctl.provider"):
            place = f"{module}:{trace.tb_lineno}"
        trace = trace.tb_next
    return place
