"""What swarmctl made, as its nodes would show it in files of wg-quick, is imported as the same mesh."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml

from swarmctl.graph.model import Address, Resource
from swarmctl.operations.import_wireguard import import_wireguard
from swarmctl.operations.nodes import Declared, declared
from tests.operations.test_import_wireguard import private, public

STACK = """
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: lab, uid: 0b0e3c02-3a59-4b8e-9c55-0a4f54a6bb01}
spec: {defaults: {cluster: core, region: local}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: backbone, securityPolicy: baseline}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec: {network: {flows: []}}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: hub, labels: {role: gateway}}
spec: {lab: {count: 2}}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: n}
spec: {lab: {count: 3, nat: NAT}}
"""
MESH = """
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: backbone}
spec:
"""
SPECS = {
    "full": "  cidrs: [10.88.0.0/16, 'fd88::/64']\n",
    "full, everything else": "  cidrs: [10.88.0.0/24]\n  listenPort: 7000\n  mtu: 1380\n  persistentKeepalive: 20\n"
    "  endpoints: [{node: n-0, host: vpn.example.net, port: 700}, {node: hub-1, host: 203.0.113.7}]\n",
    "hubs": "  cidrs: [10.88.0.0/16]\n  topology: {hubs: {select: {role: gateway}}}\n",
    "hubs and NAT": "  cidrs: [10.88.0.0/16]\n  topology: {hubs: {select: {role: gateway}}}\n",
    "links": "  cidrs: [10.88.0.0/16, 'fd88::/64']\n  topology:\n    links:\n"
    "      - {between: [{node: hub-0}, {pool: n}]}\n"
    "      - {between: [{node: n-0}, {node: n-1}]}\n"
    "      - {between: [{node: n-2}, {node: hub-1}]}\n",
}


def shown(resources: Mapping[Address, Resource], node: str, keys: Mapping[str, int]) -> str:
    """A node's interface as `wg showconf` and `ip addr` tell of it."""
    interface = resources[Address("mesh", "backbone", node)].inputs
    lines = [
        "[Interface]",
        f"PrivateKey = {private(keys[node])}",
        f"Address = {', '.join(interface['addresses'])}",
        f"ListenPort = {interface['listenPort']}",
        f"MTU = {interface['mtu']}",
    ]
    for name, peer in resources[Address("mesh", "backbone", f"{node}/peers")].inputs["peers"].items():
        lines += ["[Peer]", f"PublicKey = {public(keys[name])}", f"AllowedIPs = {', '.join(peer['allowedIps'])}"]
        if peer["endpoint"]:
            lines.append(f"Endpoint = {peer['endpoint']}")
        if peer["persistentKeepalive"]:
            lines.append(f"PersistentKeepalive = {peer['persistentKeepalive']}")
    return "\n".join([*lines, ""])


def compared(stack: Declared) -> dict[str, object]:
    """All resources of the mesh, but for what only says how it came about."""
    explains = ("adopt", "notes")
    return {
        str(address): {name: value for name, value in resource.inputs.items() if name not in explains}
        for address, resource in stack.resources.items()
        if address.kind == "mesh"
    }


@pytest.mark.parametrize("name", SPECS)
def test_a_mesh_of_swarmctl_is_imported_as_itself(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    folder = tmp_path / "stack"
    folder.mkdir()
    (folder / "stack.yaml").write_text(STACK.replace("NAT", str("NAT" in name).lower()))
    (folder / "mesh.yaml").write_text(MESH + SPECS[name])
    before = declared(folder, lambda _: None)
    nodes = [machine.name for machine in before.machines]
    keys = {node: number for number, node in enumerate(nodes, start=1)}
    files = []
    for node in nodes:
        files.append(tmp_path / f"{node}.conf")
        files[-1].write_text(shown(before.resources, node, keys))
        files[-1].chmod(0o600)

    (folder / "mesh.yaml").unlink()
    found = import_wireguard(files, folder, out=folder)
    assert [one.message for one in found.diagnostics] == []
    assert yaml.safe_load(found.files["mesh.yaml"])["spec"]["adopt"] is True
    assert compared(declared(folder, lambda _: None)) == compared(before)
