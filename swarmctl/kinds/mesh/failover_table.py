"""The table from which a node's failover agent works, and where it is kept. Pure.

Nothing in it is secret: public keys, addresses of the mesh and names. What stands in it was made or checked here, so
that the agent, which is a shell's program, can take its words as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from hashlib import sha256
from ipaddress import ip_address, ip_network

from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json

FOLDER = "/etc/swarmctl/failover"
"""On nodes: one folder per interface with `table` and `agent.sh`."""
STATE = "/run/swarmctl/failover"
"""On nodes: one file per interface, in which the agent tells what it has decided."""
_WORD = re.compile(r"[A-Za-z0-9+/][A-Za-z0-9+/=._-]{0,252}")


class NotAWord(SwarmError):
    """A value from a node or a declaration that can't stand in a table or a configuration."""


def path(interface: str) -> str:
    """Where the table is on a node."""
    return f"{FOLDER}/{interface}/table"


def render(interface: str, groups: Sequence[Mapping[str, Json]]) -> str:
    """The table, for groups as `swarm:mesh:Failover` takes them. Raises `NotAWord`."""
    numbers: dict[str, int] = {}
    lines = [f"interface {word(interface, 'interface')}"]
    movable = {network for group in groups for network in group["networks"]}
    for group in groups:
        for one in group["via"]:
            if one["name"] not in numbers:
                numbers[one["name"]] = len(numbers) + 1
                lines.append(f"candidate {numbers[one['name']]} {_candidate(one, movable)}")
    for number, group in enumerate(groups, start=1):
        via = " ".join(str(numbers[one["name"]]) for one in group["via"])
        lines.append(f"group {number} {_networks(group['networks'])} {via}")
    return "\n".join([*lines, "end", ""])


def digest(table: str) -> str:
    """By which one tells whether a node has this table."""
    return sha256(table.encode()).hexdigest()


def word(value: str, what: str) -> str:
    """`value`, when it is one word without meaning to a shell or a configuration. Raises `NotAWord`."""
    if not _WORD.fullmatch(value):
        raise NotAWord(f"{what} {value[:80]!r} is not a word", "see what the node that it comes from prints")
    return value


def _candidate(one: Mapping[str, Json], movable: set[str]) -> str:
    address = ip_address(one["address"])
    own = f"{address}/{address.max_prefixlen}"
    stays = [network for network in one["allowedIps"] if network not in movable]
    return " ".join(
        (
            word(one["name"], "peer"),
            word(one["publicKey"], f"the public key of {one['name']}"),
            str(address),
            str(int(one["persistentKeepalive"])),
            _networks(stays) or "-",
            "-" if own in stays else own,
        )
    )


def _networks(networks: Iterable[str]) -> str:
    return ",".join(str(ip_network(network)) for network in networks)
