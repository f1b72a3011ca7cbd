"""Where flows and denials stand in a declaration, and ports as spans."""

from __future__ import annotations

from swarmctl.mesh.firewall import span

FLOWS = ("spec", "network", "flows")
DENIALS = ("spec", "network", "never")
LAST_PORT = 65535


def is_range(port: int | str) -> bool:
    first, last = span(port)
    return first <= last <= LAST_PORT


def common(one: int | str, other: int | str) -> str:
    """The ports that two items share, in words; empty when there is none."""
    first, last = max(span(one)[0], span(other)[0]), min(span(one)[1], span(other)[1])
    if first > last:
        return ""
    return f"port {first}" if first == last else f"ports {first} to {last}"
