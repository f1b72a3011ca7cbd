"""Time servers that are neither an address nor a name."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Unknown
from swarmctl.diagnostics import Code, Diagnostic

SERVER = Code(
    "SW3721",
    "time server that is no address",
    """What ends in a number, or holds a colon, is an IP address: no name of a host ends so (RFC 1123, section 2.1;
WHATWG URL, "ends in a number"). One that is none would be looked up for ever, and the machine's clock would follow
nobody.

Wrong: `timeSync: {servers: [1.2.3.4.5]}`

Right: `timeSync: {servers: [192.0.2.4, time.example]}`
""",
)
_NUMBER = re.compile(r"(.*\.)?[0-9]+")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?")


def check(baseline: Declaration) -> Iterator[Diagnostic]:
    """Server by server."""
    for index, server in enumerate(baseline.spec.time_sync.servers if baseline.spec.time_sync is not None else ()):
        if isinstance(server, Unknown) or not (why := slip(server)):
            continue
        yield Diagnostic(
            SERVER,
            f"`{server}` {why}",
            baseline.value("spec", "timeSync", "servers", index),
            label="no time server",
            help="write an IP address, or the name of a host",
        )


def slip(server: str) -> str:
    """Why it is neither, as a clause; empty when it is one of them."""
    if ":" in server or _NUMBER.fullmatch(server):
        try:
            ipaddress.ip_address(server)
        except ValueError:
            return "is no IP address, and no name of a host"
        return ""
    return "" if all(map(_NAME.fullmatch, server.removesuffix(".").split("."))) else "is no name of a host"
