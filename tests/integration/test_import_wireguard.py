"""A mesh that runs without swarmctl is imported and taken over under traffic; and what runs then imports alike."""

from __future__ import annotations

import base64
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs
from tests.integration.traffic import Traffic
from tests.integration.underlay import Underlay

pytestmark = [pytest.mark.integration, pytest.mark.slow]

REKEY = 110.0
NODES = ("n-0", "n-1", "n-2")
POOL = """
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {name: n, labels: {role: worker}}
spec:
  region: eu-central
  lab: {count: 3}
"""
POLICY = """
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec:
  network:
    flows:
      - {name: traffic, from: {}, to: {}, ports: [7946], protocol: udp}
"""
PLACEHOLDER = """
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: backbone}
spec: {cidrs: [10.200.0.0/24]}
"""
UP = """
set -eu
umask 077
mkdir -p /etc/wireguard
ip link add wg0 type wireguard 2>/dev/null || exit 9
"""
CONFIGURE = """
set -eu
tries=0
until wg show wg0 >/dev/null 2>&1; do tries=$((tries + 1)); [ "$tries" -lt 100 ]; sleep 0.1; done
grep -v '^Address\\|^MTU' /etc/wireguard/wg0.conf | wg setconf wg0 /dev/stdin
for address in $(sed -n 's/^Address = //p' /etc/wireguard/wg0.conf | tr -d ,); do ip addr add "$address" dev wg0; done
ip link set wg0 mtu 1420 up
"""


@pytest.fixture
def lab(tmp_path: Path, engine: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[labs.Lab]:
    made = labs.make(tmp_path)
    (made.stack / "pools.yaml").write_text(POOL)
    (made.stack / "network.yaml").write_text(POLICY)
    (made.stack / "mesh.yaml").write_text(PLACEHOLDER)
    monkeypatch.setenv("XDG_DATA_HOME", made.env["XDG_DATA_HOME"])
    try:
        yield made
    finally:
        made("destroy", "--yes")
        labs.assert_nothing_left(made)


def by_hand(underlay: Underlay) -> dict[str, str]:
    """Bring a mesh up as wg-quick would, every key made on its node; returns the files by node."""
    public: dict[str, str] = {}
    for node in NODES:
        made = underlay.host(node).run(["sh", "-c", UP], check=False)
        if made.returncode:
            assert made.returncode == 9, made.stderr
            argv = ["env", "WG_PROCESS_FOREGROUND=1", "wireguard-go", "-f", "wg0"]
            underlay.host(node).start_service("somebody-elses", argv)
        script = "umask 077; wg genkey >/etc/wireguard/key; wg pubkey </etc/wireguard/key"
        public[node] = underlay.host(node).run(["sh", "-c", script]).text.strip()
    for number, node in enumerate(NODES):
        peers = "".join(
            f"\n[Peer]\nPublicKey = {public[other]}\nAllowedIPs = 10.99.0.{place}/32, fd99::{place}/128\n"
            f"Endpoint = {underlay.address(other)}:51820\n"
            for place, other in enumerate(NODES, start=1)
            if other != node
        )
        own = f"Address = 10.99.0.{number + 1}/24, fd99::{number + 1}/64\nListenPort = 51820\n{peers}"
        script = 'umask 077; { printf "[Interface]\\nPrivateKey = %s\\n" "$(cat /etc/wireguard/key)"; cat; } >'
        script += "/etc/wireguard/wg0.conf; rm /etc/wireguard/key"
        underlay.host(node).run(["sh", "-c", script], stdin=own.encode())
        underlay.host(node).run(["sh", "-c", CONFIGURE])
    return {node: underlay.host(node).run(["cat", "/etc/wireguard/wg0.conf"]).text for node in NODES}


def store(folder: Path, files: dict[str, str]) -> list[str]:
    folder.mkdir()
    for node, text in files.items():
        with open(os.open(folder / f"{node}.conf", os.O_WRONLY | os.O_CREAT, 0o600), "w") as file:
            file.write(text)
    return [str(folder / f"{node}.conf") for node in files]


def seen(underlay: Underlay, field: str) -> dict[str, list[str]]:
    """What `wg show` says of a field; WireGuard prints peers in no order."""
    return {node: sorted(underlay.host(node).run(["wg", "show", "wg0", field]).text.splitlines()) for node in NODES}


def test_a_running_mesh_is_taken_over_without_losing_a_packet(lab: labs.Lab, tmp_path: Path) -> None:
    lab("apply", "--yes", "--target", "nodepool/n")
    (lab.stack / "mesh.yaml").unlink()
    underlay = Underlay.of(lab)
    files = store(tmp_path / "files", by_hand(underlay))

    imported = lab("import", "wireguard", *files, "--out", str(lab.stack))
    assert "warning" not in imported.err
    assert "endpoints" not in (lab.stack / "mesh.yaml").read_text()  # the machines' own addresses
    addresses = {node: f"10.99.0.{number}" for number, node in enumerate(NODES, start=1)}
    before = seen(underlay, "public-key")
    for one, other in (("n-0", "n-1"), ("n-0", "n-2"), ("n-1", "n-2")):
        # Where both ends begin at once, WireGuard needs some seconds, whoever set the mesh up.
        underlay.host(one).run(["ping", "-c", "1", "-W", "5", addresses[other]])
    began = time.monotonic()
    with Traffic(underlay, addresses) as traffic:
        traffic.measure(3.0)
        plan = lab("plan", "--format", "json").json
        mesh = {change["address"]: change for change in plan["changes"] if change["address"].startswith("mesh/")}
        adopted = [f"mesh/backbone[{node}{part}]" for node in NODES for part in ("", "/peers")]
        assert [mesh[address]["action"] for address in adopted] == ["adopt"] * 6
        assert [mesh[address]["properties"] for address in adopted] == [[]] * 6
        assert not any(change["impact"] for change in mesh.values())
        firewalls = [it["impact"] for it in plan["changes"] if it["address"].startswith("securitypolicy/")]
        assert firewalls == [f"{node} begins to drop what no rule lets in, on all its networks" for node in NODES]
        handshakes = seen(underlay, "latest-handshakes")
        lab("apply", "--yes")
        # The same sessions: nobody had to shake hands anew, but for those that WireGuard renews every 120 s.
        assert seen(underlay, "latest-handshakes") == handshakes or time.monotonic() - began > REKEY
        report = traffic.stop()
    print(report)
    assert report.lost == 0, report.losing()
    assert seen(underlay, "public-key") == before
    modes = [
        underlay.host(node).run(["stat", "-c", "%a", "/etc/swarmctl/mesh/backbone/private.key"]).text for node in NODES
    ]
    assert modes == ["600\n"] * 3
    lab("plan", "--detailed-exitcode", code=0)
    # How old these keys are nobody knows, and not that they are as young as their files.
    assert lab("mesh", "verify", "--format", "json").json["meshes"][0]["keyAges"] == {}

    # No private key came along: not into the state, the plans, the logs.
    secrets = [
        line.split(" = ")[1] for text in files for line in Path(text).read_text().splitlines() if "Private" in line
    ]
    kept = [
        path for path in [*lab.data.rglob("*"), *lab.stack.rglob("*")] if path.is_file() and "/lab/" not in str(path)
    ]
    for secret in secrets:
        forms = (secret.strip().encode(), base64.b64decode(secret))
        assert not [path for path in kept if any(form in path.read_bytes() for form in forms)]
        assert secret.strip() not in "".join(run.out + run.err for run in lab.runs)

    # And back: what runs now, imported anew, declares the very same.
    again = {}
    for node in NODES:
        shown = underlay.host(node).run(["sh", "-c", "wg showconf wg0; ip -o addr show dev wg0 scope global"]).text
        own = [line.split()[3] for line in shown.splitlines() if " wg0 " in line]
        conf = "\n".join(line for line in shown.splitlines() if " wg0 " not in line)
        again[node] = conf.replace("[Interface]", f"[Interface]\nAddress = {', '.join(own)}\nMTU = 1420", 1)
    mesh_before = (lab.stack / "mesh.yaml").read_text()
    (lab.stack / "mesh.yaml").unlink()
    lab("import", "wireguard", *store(tmp_path / "again", again), "--out", str(lab.stack))
    assert (lab.stack / "mesh.yaml").read_text() == mesh_before
    lab("plan", "--detailed-exitcode", code=0)
