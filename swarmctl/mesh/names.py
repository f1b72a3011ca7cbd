"""Names and ports that a mesh uses beside those that are declared. Pure."""

from __future__ import annotations

_LENGTH = 13
"""Linux takes 15 characters for an interface; two are for the ending."""


def next_interface(interface: str) -> str:
    """The second interface of a node, which is there while its key is rotated: `wg0` → `wg0-n`."""
    return f"{interface[:_LENGTH]}-n"


def next_port(listen_port: int, declared: int | None = None) -> int:
    """The UDP port of the second interface: the declared one, else the one after `listen_port` (before the last)."""
    if declared is not None:
        return declared
    return listen_port + 1 if listen_port < 65535 else listen_port - 1
