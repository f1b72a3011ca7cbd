"""The router of a pool: between the bridge of its machines and the one of its region, translating addresses.

It is an address on the region's bridge and one nftables table, both in the fabric's network namespace, where they end
with the lab. What its machines send leaves with its address; what belongs to their connections comes back; all else
that is meant for it or for them is dropped, so that a machine behind it answers only those it has contacted itself.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from ipaddress import IPv4Interface
from typing import Any

from swarmctl import packages
from swarmctl.backends.lab import launch, network
from swarmctl.backends.lab.launch import LabBroken
from swarmctl.processes import Process

_RULES = 3


def address(inputs: Mapping[str, Any]) -> str:
    """Its own address without prefix length."""
    return str(inputs["router"]).partition("/")[0]


def add(fabric: Process, tag: str, inputs: Mapping[str, Any], *, user: bool) -> None:
    """Make the machine's router, anew where it was half made. Both bridges are there. Raises `LabBroken`."""
    outer = address(inputs)
    bridge = network.bridge_name(inputs["address"])
    _nft(fabric, tag, rules(bridge, str(IPv4Interface(inputs["address"]).network), outer), user=user)
    lines = [f"addr replace {outer}/32 dev {network.bridge_name(inputs['router'])}"]
    network.ip(fabric, tag, lines, user=user)


def remove(fabric: Process, tag: str, bridge: str, router: str, *, user: bool) -> None:
    """Take away the router of the network with this bridge, so that another thing can have its address."""
    _nft(fabric, tag, f"table ip {bridge}\ndelete table ip {bridge}\n", user=user)
    lines = [f"addr del {router.partition('/')[0]}/32 dev {network.bridge_name(router)}"]
    network.ip(fabric, tag, lines, user=user, force=True)


def stands(fabric: Process, tag: str, inputs: Mapping[str, Any], *, user: bool) -> bool:
    """Whether all of the machine's router is there. Raises ProcessLookupError when the fabric is gone."""
    outer, bridge = address(inputs), network.bridge_name(inputs["address"])
    script = 'ip -j addr show dev "$1"; echo; exec nft -j list table ip "$2"'
    words = ["sh", "-c", script, "sh", network.bridge_name(inputs["router"]), bridge]
    with launch.into(fabric, user=user, net=True) as (prefix, descriptors):
        done = network.call([*prefix, *words], tag, descriptors, b"")
    links, _, table = done.stdout.decode(errors="replace").partition("\n")
    try:
        addresses = {item.get("local") for link in json.loads(links) for item in link.get("addr_info", ())}
        entries = json.loads(table)["nftables"]
    except (ValueError, KeyError):
        return False
    return outer in addresses and sum("rule" in entry for entry in entries) == _RULES


def rules(bridge: str, inside: str, outer: str) -> str:
    """The nftables table of the router of a network; `nft -f` puts it in the place of what was there."""
    return f"""table ip {bridge}
delete table ip {bridge}
table ip {bridge} {{
  chain leave {{
    type nat hook postrouting priority srcnat
    ip saddr {inside} oifname != {bridge} snat to {outer}
  }}
  chain pass {{
    type filter hook forward priority filter
    iifname != {bridge} oifname {bridge} ct state != {{ established, related }} drop
  }}
  chain enter {{
    type filter hook input priority filter
    ip daddr {outer} drop
  }}
}}
"""


def _nft(fabric: Process, tag: str, script: str, *, user: bool) -> None:
    if packages.which("nft") is None:
        raise LabBroken("a pool behind a router (`nat: true`) needs nft", packages.how_to_install(["nft"]))
    with launch.into(fabric, user=user, net=True) as (prefix, descriptors):
        done = network.call([*prefix, "nft", "-f", "-"], tag, descriptors, script.encode())
    if done.returncode:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise LabBroken(
            f"the router of a pool (`nat: true`) can't be made: {reason[0][:300] if reason else 'nft failed'}",
            "see `swarmctl doctor`, or leave out `nat`",
        )
