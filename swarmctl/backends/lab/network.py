"""The underlay: one bridge per region in the fabric's network namespace, one cable from each node to its region's.

All of it lives in namespaces that belong to the lab; the machine's own network is never touched.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Sequence
from ipaddress import IPv4Interface
from typing import Any

from swarmctl.backends.lab import launch
from swarmctl.backends.lab.launch import LabBroken
from swarmctl.backends.lab.marks import Process

PORT = "eth0"


def bridge_name(address: str) -> str:
    """Of the region that an address such as `172.20.4.7/22` is in."""
    return f"r-{int(IPv4Interface(address).network.network_address):08x}"


def cable_name(node: str) -> str:
    """The fabric's end of a node's cable; interface names have at most 15 characters."""
    return f"n-{hashlib.sha256(node.encode()).hexdigest()[:12]}"


def add_bridge(fabric: Process, tag: str, inputs: dict[str, Any], *, user: bool) -> None:
    """Make the bridge of the machine's region, anew where a crash left it half made."""
    name, prefix = bridge_name(inputs["address"]), inputs["address"].partition("/")[2]
    ip(fabric, tag, [f"link del {name}"], user=user, force=True)
    lines = [
        f"link add {name} mtu {inputs['mtu']} type bridge forward_delay 0 mcast_snooping 0",
        f"addr add {inputs['gateway']}/{prefix} dev {name}",
        f"link set {name} up",
        "link set lo up",
    ]
    ip(fabric, tag, lines, user=user)


def connect(fabric: Process, node: Process, tag: str, inputs: dict[str, Any], *, user: bool) -> None:
    """Lay the node's cable, and give its end the address and the way out."""
    name, mtu = cable_name(inputs["node"]), inputs["mtu"]
    ip(fabric, tag, [f"link del {name}"], user=user, force=True)
    lines = [
        f"link add {name} mtu {mtu} type veth peer name {PORT} mtu {mtu} netns {node.pid}",
        f"link set {name} master {bridge_name(inputs['address'])}",
        f"link set {name} up",
    ]
    ip(fabric, tag, lines, user=user)
    configure(node, tag, inputs, user=user)


def configure(node: Process, tag: str, inputs: dict[str, Any], *, user: bool) -> None:
    """Set address, MTU and route of the node's end of the cable, whatever they were."""
    lines = [
        "link set lo up",
        f"addr flush dev {PORT} scope global",
        f"link set {PORT} mtu {inputs['mtu']} up",
        f"addr add {inputs['address']} dev {PORT}",
        f"route replace default via {inputs['gateway']} dev {PORT}",
    ]
    ip(node, tag, lines, user=user)


def disconnect(fabric: Process, tag: str, node: str, *, user: bool) -> None:
    """Take the cable away at once; by itself it would go some time after the node."""
    ip(fabric, tag, [f"link del {cable_name(node)}"], user=user, force=True)


def observe(node: Process, tag: str, *, user: bool) -> dict[str, Any]:
    """`address`, `gateway` and `mtu` as the node has them; empty and 0 where it has none.

    Raises ProcessLookupError when the node is gone.
    """
    found: dict[str, Any] = {"address": "", "gateway": "", "mtu": 0}
    with launch.into(node, user=user, net=True) as (prefix, descriptors):
        links = _json([*prefix, "ip", "-j", "-4", "addr", "show", "dev", PORT], tag, descriptors)
        routes = _json([*prefix, "ip", "-j", "-4", "route", "show", "default"], tag, descriptors)
    for link in links:
        if "UP" in link.get("flags", ()):
            found["mtu"] = link.get("mtu", 0)
            addresses = [
                f"{item['local']}/{item['prefixlen']}" for item in link["addr_info"] if item.get("scope") == "global"
            ]
            found["address"] = ",".join(sorted(addresses))
    found["gateway"] = ",".join(sorted(route.get("gateway", "") for route in routes if route.get("dev") == PORT))
    return found


def has_port(node: Process, tag: str, *, user: bool) -> bool:
    """Whether the node's end of its cable exists."""
    with launch.into(node, user=user, net=True) as (prefix, descriptors):
        return bool(_json([*prefix, "ip", "-j", "link", "show", "dev", PORT], tag, descriptors))


def ip(holder: Process, tag: str, lines: Sequence[str], *, user: bool, force: bool = False) -> None:
    """Run `ip` commands in the holder's network namespace; with `force`, errors don't matter. Raises `LabBroken`."""
    with launch.into(holder, user=user, net=True) as (prefix, descriptors):
        argv = [*prefix, "ip", *(["-force"] if force else []), "-batch", "-"]
        done = _call(argv, tag, descriptors, "\n".join(lines).encode())
    if done.returncode and not force:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise LabBroken(f"the lab's network can't be made: {'; '.join(reason)}", "see `swarmctl doctor`")


def _json(argv: list[str], tag: str, descriptors: list[int]) -> list[dict[str, Any]]:
    done = _call(argv, tag, descriptors, b"")
    if done.returncode or not done.stdout.strip():
        return []
    return [entry for entry in json.loads(done.stdout) if entry]


def _call(argv: list[str], tag: str, descriptors: list[int], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            env=launch.environment(tag),
            pass_fds=descriptors,
            timeout=30,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabBroken(
            f"{error.filename} is missing", "install iproute2 and util-linux; see `swarmctl doctor`"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabBroken(f"{argv[-1]} does not answer", "try again") from None
