"""The underlay: one bridge per region in the fabric's network namespace, one cable from each node to its region's.
What stands behind a router has a bridge of its own (`router.py`).

All of it lives in namespaces that belong to the lab; the machine's own network is never touched.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Interface
from typing import Any

from swarmctl.backends.lab import launch, marks
from swarmctl.backends.lab.launch import LabBroken
from swarmctl.processes import Process

PORT = "eth0"
_OBSERVE = 'read -r name </proc/sys/kernel/hostname; echo "$name"; exec ip -j -4 -force -batch -'


def bridge_name(address: str) -> str:
    """Of the network that an address such as `172.20.4.7/22` is in."""
    return f"r-{int(IPv4Interface(address).network.network_address):08x}"


def gateway(address: str) -> str:
    """The fabric's own address in the network of an address such as `172.20.4.7/22`."""
    return str(IPv4Interface(address).network.network_address + 1)


def cable_name(node: str) -> str:
    """The fabric's end of a node's cable; interface names have at most 15 characters."""
    return f"n-{hashlib.sha256(node.encode()).hexdigest()[:12]}"


def add_bridge(fabric: Process, tag: str, address: str, *, user: bool) -> None:
    """Make the bridge of the network that an address is in, anew where a crash left it half made.

    Its own MTU follows the smallest of its ports, so that what is routed into it is told when it is too large.
    """
    name, prefix = bridge_name(address), address.partition("/")[2]
    ip(fabric, tag, [f"link del {name}"], user=user, force=True)
    lines = [
        f"link add {name} type bridge forward_delay 0 mcast_snooping 0",
        f"addr add {gateway(address)}/{prefix} dev {name}",
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


def attach(fabric: Process, tag: str, inputs: dict[str, Any], *, user: bool) -> None:
    """Plug the fabric's end of a cable into its bridge, wherever it hung before, and set its MTU."""
    name = cable_name(inputs["node"])
    lines = [
        f"link set {name} mtu {inputs['mtu']}",
        f"link set {name} master {bridge_name(inputs['address'])}",
        f"link set {name} up",
    ]
    ip(fabric, tag, lines, user=user)


def bridges(fabric: Process) -> set[str]:
    """Those that are there, up, and have an address."""
    # A bridge has a route exactly then; the kernel shows them without entering anything.
    with open(f"/proc/{fabric.pid}/net/route") as stream:
        return {line.split()[0] for line in stream}


def plugged_in(fabric: Process, tag: str, inputs: Mapping[str, Any], *, user: bool) -> bool:
    """Whether the fabric's end of the node's cable is up, has its MTU and is in its bridge, and that bridge works.

    Raises ProcessLookupError when the fabric is gone.
    """
    bridge = bridge_name(inputs["address"])
    with launch.into(fabric, user=user, net=True) as (prefix, descriptors):
        argv = [*prefix, "ip", "-j", "-force", "-batch", "-"]
        lines = f"addr show dev {bridge}\nlink show dev {cable_name(inputs['node'])}\n"
        found = _json(argv, tag, descriptors, lines)
    links = {link.get("ifname"): link for link in found if "UP" in link.get("flags", ())}
    if bridge not in links:
        return False
    cable = links.get(cable_name(inputs["node"]), {})
    addresses = {item.get("local") for item in links[bridge].get("addr_info", ())}
    whole = cable.get("master") == bridge and cable.get("mtu") == inputs["mtu"]
    return whole and inputs["gateway"] in addresses


def observe(fabric: Process, node: Process, tag: str, *, user: bool) -> dict[str, Any]:
    """`address`, `gateway`, `mtu` and `hostname` as the node has them; empty and 0 where it has none.

    Raises ProcessLookupError when the node is gone.
    """
    found: dict[str, Any] = {"address": "", "gateway": "", "mtu": 0, "hostname": ""}
    with _inside(fabric, node, user=user) as (prefix, descriptors):
        lines = f"addr show dev {PORT}\nroute show default\n"
        done = call([*prefix, "sh", "-c", _OBSERVE], tag, descriptors, lines.encode())
    hostname, _, rest = done.stdout.decode(errors="replace").partition("\n")
    found["hostname"] = hostname
    entries = list(_documents(rest))
    links = [entry for entry in entries if "addr_info" in entry]
    routes = [entry for entry in entries if "dst" in entry]
    for link in links:
        if {"UP", "LOWER_UP"} <= set(link.get("flags", ())):
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
        done = call(argv, tag, descriptors, "\n".join(lines).encode())
    if done.returncode and not force:
        reason = done.stderr.decode(errors="replace").strip().splitlines()
        raise LabBroken(f"the lab's network can't be made: {'; '.join(reason)}", "see `swarmctl doctor`")


def rename(fabric: Process, node: Process, tag: str, name: str, *, user: bool) -> None:
    """Give the node its host name back. Raises `LabBroken`."""
    program = [sys.executable, "-I", "-S", "-c", "import socket, sys; socket.sethostname(sys.argv[1])", name]
    with _inside(fabric, node, user=user) as (prefix, descriptors):
        done = call([*prefix, *program], tag, descriptors, b"")
    if done.returncode:
        raise LabBroken(f"{name} can't be given its host name: {done.stderr.decode(errors='replace').strip()}")


@contextmanager
def _inside(fabric: Process, node: Process, *, user: bool) -> Iterator[tuple[list[str], list[int]]]:
    """As `launch.into`, for network and host name of a node.

    With the rights of the fabric's user namespace: the host name does not belong to the node's own.
    """
    with launch.into(fabric, user=user) as (prefix, descriptors), node.namespaces("net", "uts") as opened:
        spaces = [f"--{name}=/proc/self/fd/{descriptor}" for name, descriptor in opened.items()]
        yield [*prefix[:-1], *spaces, "--"], [*descriptors, *opened.values()]


def _json(argv: list[str], tag: str, descriptors: list[int], lines: str = "") -> list[dict[str, Any]]:
    return list(_documents(call(argv, tag, descriptors, lines.encode()).stdout.decode(errors="replace")))


def _documents(text: str) -> Iterator[dict[str, Any]]:
    """The entries of every list in the output of `ip -json -batch`, which has one for each command that worked."""
    decoder, text = json.JSONDecoder(), text.strip()
    while text:
        entries, end = decoder.raw_decode(text)
        yield from (entry for entry in entries if entry)
        text = text[end:].strip()


def call(argv: list[str], tag: str, descriptors: list[int], stdin: bytes) -> subprocess.CompletedProcess[bytes]:
    """Run a program of this machine for the lab. Raises `LabBroken` when it is missing or hangs."""
    try:
        return subprocess.run(
            argv,
            input=stdin,
            capture_output=True,
            env=launch.environment(tag),
            pass_fds=[*descriptors, *marks.held()],
            timeout=30,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabBroken(
            f"{error.filename} is missing", "install iproute2 and util-linux; see `swarmctl doctor`"
        ) from None
    except subprocess.TimeoutExpired:
        raise LabBroken(f"{argv[-1]} does not answer", "try again") from None
