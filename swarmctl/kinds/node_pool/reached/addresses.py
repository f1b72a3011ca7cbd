"""What can't be the address of a machine, though it is written like one. Pure."""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import NamedTuple


class Wrong(NamedTuple):
    """Why an address leads nowhere."""

    why: str
    label: str
    mend: str


def wrong(text: str) -> Wrong | None:
    """What is wrong with an address or DNS name; None where nothing is, as far as can be told without asking."""
    try:
        found = ip_address(text)
    except ValueError:
        return _name(text)
    if isinstance(found, IPv6Address) and found.is_link_local:
        return Wrong(
            "it is good on one link only, and which one that is differs from computer to computer",
            "a link-local address",
            "write an address of the machine that other networks know, too, or its DNS name",
        )
    return None


def _name(text: str) -> Wrong | None:
    host, colon, port = text.rpartition(":")
    if ":" in host:
        return Wrong("it is no IPv6 address", "not an address", "write it like `2001:db8::10`, without brackets")
    if colon and port.isdigit() and 1 <= int(port) <= 65535 and wrong(host) is None:
        return Wrong("a port has a place of its own", "address and port", f"`address: {host}`, `port: {port}`")
    if colon:
        return Wrong("no name has a colon", "not a name", "write an address or a DNS name; a port goes into `port`")
    if text.rpartition(".")[2].isdigit():
        return Wrong("no name ends in a number, and it is no address", "not an address", _numbers(text.split(".")))
    return None


def _numbers(parts: list[str]) -> str:
    """How to mend what has dots between its parts, of which the last is a number."""
    if not all(part.isdigit() for part in parts):
        return "write the whole DNS name, or an address"
    if len(parts) != 4:
        return "write all four numbers"
    if large := [part for part in parts if len(part.lstrip("0")) > 3 or int(part) > 255]:
        return f"each of the four numbers is 255 at most, and {' and '.join(large)} {'are' if large[1:] else 'is'} not"
    # Some read 010 as eight, and so it is nobody's address.
    return f"write the numbers without zeros before them: `{'.'.join(str(int(part)) for part in parts)}`"
