"""What brings an interface and its peers back after a restart, as `hosts.startup` takes them. Pure.

Of keys there are only paths: they are read from their own files, on the node, when it starts.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.graph.model import Json
from swarmctl.hosts import startup
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import ChangeKind, Effect
from swarmctl.kinds.mesh import marks
from swarmctl.kinds.mesh.peer_commands import is_name
from swarmctl.kinds.mesh.preshared import files
from swarmctl.mesh.names import mesh_of


def interface(inputs: Mapping[str, Json], forwarding: list[str]) -> str:
    """The file of an interface; `forwarding`: the switches that let a hub pass packets on, where it is one."""
    name = inputs["interface"]
    lines = [
        f"alias {marks.ALIAS}{mesh_of(inputs['keyPath'])}",
        f"key {inputs['keyPath']}",
        f"port {int(inputs['listenPort'])}",
        f"mtu {int(inputs['mtu'])}",
        *(f"address {address}" for address in inputs["addresses"]),
        "state up",
    ]
    if inputs["forwarding"]:
        lines += [f"switch {key.replace('.', '/')} 1" for key in forwarding]
        lines += [f"switch net/ipv4/conf/{at}/send_redirects 0" for at in ("all", name)]
    return "\n".join([*lines, ""])


def peers(inputs: Mapping[str, Json]) -> str:
    """The file of its peers; see `hosts.startup_script` for its lines."""
    settings = inputs.get("presharedKeys")
    lines = []
    for peer in sorted(inputs["peers"].values(), key=lambda it: str(it["publicKey"])):
        key, endpoint = str(peer["publicKey"]), str(peer["endpoint"])
        secret = "-"
        if settings and "presharedKey" in peer:
            secret = files.path(settings["folder"], str(settings["publicKey"]), key)
        where = f"~{endpoint}" if is_name(endpoint) else endpoint or "-"
        networks = ",".join(peer["allowedIps"]) or "-"
        lines.append(f"{key} {secret} {int(peer['persistentKeepalive'])} {where} {networks}")
    return "\n".join([*lines, ""]) if lines else "\n"


def part(path: str) -> str:
    """As a part of a guarded change: what is not confirmed is not what a restart brings."""
    return f"file.startup-{path.removeprefix(f'{startup.FOLDER}/')}"


def put_peers(facts: Facts, inputs: Mapping[str, Json]) -> str:
    """The script that writes what differs of the file of the peers."""
    return startup.put(facts.startup, startup.peers(inputs["interface"]), peers(inputs))


def effects(what: str, old: Mapping[str, Json] | None, new: Mapping[str, Json] | None) -> list[Effect]:
    """A line where something was found wrong."""
    text = startup.mended(what, (old or {}).get(startup.PROPERTY)) if new is not None else ""
    return [Effect(ChangeKind.UPDATE, text)] if text else []
