"""The mesh's resources against real namespaces, real WireGuard and real nftables."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from ipaddress import IPv6Address
from typing import Any

import pytest

from swarmctl import toolchain
from swarmctl.graph.model import Graph, Ref, Resource
from swarmctl.kinds.mesh.resources import INTERFACE, PEERS
from swarmctl.kinds.security_policy.resources import FIREWALL
from tests.mesh.builder import FakeBackend, compiled, fake_backend, lab
from tests.mesh.namespaces import Namespace, Network, network, possible, until

__all__ = ["fake_backend"]

WIREGUARD_GO = toolchain.wireguard_go()

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(bool(possible()), reason=possible() or "possible"),
    pytest.mark.skipif(WIREGUARD_GO is None, reason="there is no wireguard-go, neither installed nor built"),
]


@pytest.fixture(scope="module", autouse=True)
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """wireguard-go on PATH, where it is only in swarmctl's cache."""
    folder = tmp_path_factory.mktemp("bin")
    (folder / "wireguard-go").symlink_to(str(WIREGUARD_GO))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", f"{os.environ['PATH']}:{folder}")
        yield


TYPES: Mapping[str, Any] = {
    "swarm:mesh:Interface": INTERFACE,
    "swarm:mesh:Peers": PEERS,
    "swarm:securitypolicy:Firewall": FIREWALL,
}


class World:
    """A miniature of the engine: applies a graph in its order, resolves references, remembers inputs and outputs."""

    def __init__(self, nodes: Network) -> None:
        self.nodes = nodes
        self.inputs: dict[str, Mapping[str, Any]] = {}
        self.outputs: dict[str, Mapping[str, Any]] = {}

    def resolve(self, value: Any) -> Any:
        if isinstance(value, Ref):
            return self.outputs[str(value.address)][value.property]
        if isinstance(value, Mapping):
            return {key: self.resolve(item) for key, item in value.items()}
        return value

    def apply(self, graph: Graph) -> None:
        self.outputs |= {str(r.address): {"identity": "x"} for r in graph.resources.values() if r.type not in TYPES}
        wanted = [r for r in graph.resources.values() if r.type in TYPES]
        for resource in sorted(wanted, key=lambda r: list(TYPES).index(r.type)):
            address, inputs = str(resource.address), self.resolve(resource.inputs)
            if address not in self.inputs:
                self.outputs[address] = TYPES[resource.type].create(self.nodes, inputs)
            else:
                self.outputs[address] = TYPES[resource.type].update(self.nodes, self.inputs[address], inputs)
            self.inputs[address] = inputs

    def drift(self, graph: Graph) -> dict[str, list[str]]:
        self.nodes.forget()
        found: dict[str, list[str]] = {}
        for resource in graph.resources.values():
            if resource.type in TYPES:
                seen = self.read(resource)
                wanted = self.resolve(resource.inputs)
                if seen is None:
                    found[str(resource.address)] = ["(gone)"]
                elif changes := TYPES[resource.type].diff(seen.inputs, wanted):
                    found[str(resource.address)] = [".".join(change.path) for change in changes]
        return found

    def read(self, resource: Resource) -> Any:
        return TYPES[resource.type].read(self.nodes, self.inputs[str(resource.address)])

    def writes(self) -> int:
        return sum(len(node.commands) for node in self.nodes.nodes.values())


NAMES = ["control-0", "workers-0", "workers-1"]


@pytest.fixture(scope="module")
def backend() -> Iterator[FakeBackend]:
    with pytest.MonkeyPatch.context() as patch:
        backend = FakeBackend()
        patch.setattr("swarmctl.backends.load", lambda name: backend)
        yield backend


@pytest.fixture(scope="module")
def graph(backend: FakeBackend) -> Graph:
    return compiled(lab(control=1, workers=2))


@pytest.fixture(scope="module")
def shared(graph: Graph) -> Iterator[World]:
    with network(NAMES) as nodes:
        world = World(nodes)
        world.apply(graph)
        yield world


@pytest.fixture
def world(shared: World, graph: Graph) -> World:
    """The applied mesh, healed from what the test before did to it."""
    shared.nodes.forget()
    shared.apply(graph)
    assert shared.drift(graph) == {}
    return shared


def on(world: World, name: str) -> Namespace:
    return world.nodes.nodes[name]


def mesh_addresses(world: World, name: str) -> list[str]:
    return [address.partition("/")[0] for address in world.inputs[f"mesh/backbone[{name}]"]["addresses"]]


def pings(world: World, source: str, target: str) -> bool:
    return on(world, source).run(["ping", "-n", "-c1", "-W2", target], check=False).returncode == 0


def handshakes(world: World, name: str) -> dict[str, tuple[int, int]]:
    world.nodes.forget()
    peers = world.nodes.facts({"node": name}).wireguard["wg0"].peers
    return {key: (peer.latest_handshake, peer.received) for key, peer in peers.items()}


def test_every_node_reaches_every_other_over_both_families(world: World) -> None:
    for source in NAMES:
        for target in NAMES:
            for address in mesh_addresses(world, target):
                assert pings(world, source, address), f"{source} → {address}"
    assert all(latest > 0 for latest, _ in handshakes(world, "control-0").values())


def test_applying_again_writes_nothing_to_any_node(world: World, graph: Graph) -> None:
    world.nodes.forget()
    before = world.writes()
    world.apply(graph)
    assert world.writes() == before


def test_the_private_key_stays_in_its_file(world: World) -> None:
    for name in NAMES:
        node = on(world, name)
        key = node.sh("cat /etc/swarmctl/mesh/backbone/private.key").strip()
        assert node.sh("stat -c %a /etc/swarmctl/mesh/backbone /etc/swarmctl/mesh/backbone/private.key") == "700\n600\n"
        assert key not in repr((node.commands[:-2], node.inputs, world.outputs, world.inputs))
        assert key not in node.run(["sh", "-c", "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null; :"]).text


def listening(world: World, name: str, port: int) -> Any:
    """Something on `name` that answers on a TCP port, all addresses."""
    program = (
        "import socket,sys\n"
        f"s=socket.create_server(('::',{port}),family=socket.AF_INET6,dualstack_ipv6=True)\n"
        "print('ready',flush=True)\n"
        "while True:\n c=s.accept()[0]; c.sendall(b'hello'); c.close()\n"
    )
    process = subprocess.Popen(on(world, name).argv([sys.executable, "-c", program]), stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def hears(world: World, source: str, address: str, port: int) -> bool:
    words = f"exec 3<>/dev/tcp/{address}/{port} && timeout 1 cat <&3"
    return on(world, source).run(["timeout", "1", "bash", "-c", words], check=False).text == "hello"


def test_only_declared_flows_are_open_and_only_on_the_mesh(world: World) -> None:
    declared, undeclared = listening(world, "control-0", 6379), listening(world, "control-0", 6380)
    try:
        for address in mesh_addresses(world, "control-0"):
            assert hears(world, "workers-0", address, 6379)
            assert not hears(world, "workers-0", address, 6380)
        assert not hears(world, "workers-0", "172.30.0.1", 6379)
        assert not hears(world, "workers-0", "fd30::1", 6379)
    finally:
        for process in (declared, undeclared):
            process.terminate()
            process.wait()
            process.stdout.close()


def test_a_flow_is_open_to_the_nodes_it_names_and_to_no_other(world: World) -> None:
    server = listening(world, "workers-1", 9100)  # metrics: from heads only
    try:
        address = mesh_addresses(world, "workers-1")[0]
        assert hears(world, "control-0", address, 9100)
        assert not hears(world, "workers-0", address, 9100)
    finally:
        server.terminate()
        server.wait()
        server.stdout.close()


def sent_in_clear(world: World, name: str, target: str) -> int:
    """Packets that `name` puts on its eth0 for `target` while it pings it."""
    node = on(world, name)
    node.sh("nft 'add table inet seen; add chain inet seen out { type filter hook postrouting priority 300; }'")
    family = "ip6" if ":" in target else "ip"
    node.sh(f"nft 'add rule inet seen out oifname eth0 {family} daddr {target} counter'")
    try:
        subprocess.run(node.argv(["ping", "-n", "-c2", "-i0.1", "-W1", target]), capture_output=True, check=False)
        counted = node.sh("nft list chain inet seen out")
        return int(counted.partition("counter packets ")[2].split()[0])
    finally:
        node.sh("nft delete table inet seen")


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_what_is_meant_for_the_mesh_never_leaves_in_clear(world: World, family: str) -> None:
    node = on(world, "workers-0")
    target = mesh_addresses(world, "control-0")[family == "ip6"]
    way = f"ip -6 route add {target}/128 via fd30::1 dev eth0" if family == "ip6" else ""
    node.sh(way or f"ip route add {target}/32 via 172.30.0.1 dev eth0")
    assert "eth0" in node.sh(f"ip route get {target}")
    try:
        assert sent_in_clear(world, "workers-0", target) == 0
    finally:
        node.sh(f"ip route del {target} dev eth0")
    assert pings(world, "workers-0", target)


def test_a_router_advertisement_of_a_neighbour_is_not_heard(world: World) -> None:
    node = on(world, "workers-0")
    node.sh("echo 2 >/proc/sys/net/ipv6/conf/eth0/accept_ra")
    target = mesh_addresses(world, "control-0")[1]
    prefix = ":".join(str(IPv6Address(target).exploded).split(":")[:5])
    program = (
        "import socket,struct\n"
        # RFC 4861: a router advertisement with one on-link, autonomous prefix, /80 and so more specific than wg0's.
        f"p=socket.inet_pton(socket.AF_INET6,'{prefix}::')\n"
        "ra=struct.pack('!BBHBBHII',134,0,0,64,0,1800,0,0)+struct.pack('!BBBBIII',3,4,80,0xc0,3600,3600,0)+p\n"
        "s=socket.socket(socket.AF_INET6,socket.SOCK_RAW,58)\n"
        "s.setsockopt(socket.IPPROTO_IPV6,socket.IPV6_MULTICAST_HOPS,255)\n"
        "[s.sendto(ra,('ff02::1',0,0,socket.if_nametoindex('eth0'))) for _ in range(3)]\n"
    )
    on(world, "control-0").run([sys.executable, "-c", program])
    time.sleep(0.3)
    assert "proto ra" not in node.sh("ip -6 route show")
    assert "dev wg0" in node.sh(f"ip route get {target}")


def test_floods_are_cut_to_the_declared_rate(world: World) -> None:
    for address in mesh_addresses(world, "control-0"):
        assert pings(world, "workers-0", address)
        printed = on(world, "workers-0").sh(
            f"for one in 1 2 3 4 5 6; do ping -n -q -i0.001 -c300 -W1 {address} & done; wait"
        )
        received = [int(line.split()[3]) for line in printed.splitlines() if "received" in line]
        assert len(received) == 6
        assert 100 <= sum(received) < 900, printed  # of 1800


def test_a_change_of_one_peer_leaves_the_other_session_as_it_is(world: World, graph: Graph) -> None:
    for name in NAMES[1:]:
        assert pings(world, "control-0", mesh_addresses(world, name)[0])
    before = handshakes(world, "control-0")
    peers = world.inputs["mesh/backbone[control-0/peers]"]
    fewer = {**peers, "peers": {name: peer for name, peer in peers["peers"].items() if name != "workers-1"}}
    PEERS.update(world.nodes, peers, fewer)
    kept = peers["peers"]["workers-0"]["publicKey"]
    after = handshakes(world, "control-0")
    assert set(after) == {kept}
    assert after[kept][0] == before[kept][0]
    assert after[kept][1] >= before[kept][1] > 0
    PEERS.update(world.nodes, fewer, peers)
    assert handshakes(world, "control-0")[kept][0] == before[kept][0]
    assert set(handshakes(world, "control-0")) == set(before)


DRIFTS = {
    "the MTU": ("ip link set wg0 mtu 1300", {"mesh/backbone[workers-0]": ["mtu"]}),
    "the port": ("wg set wg0 listen-port 51999", {"mesh/backbone[workers-0]": ["listenPort"]}),
    "another key": (
        "wg genkey >/tmp/swarmctl-test-key; wg set wg0 private-key /tmp/swarmctl-test-key; rm /tmp/swarmctl-test-key",
        {"mesh/backbone[workers-0]": ["key"]},
    ),
    "the mode of the key": (
        "chmod 644 /etc/swarmctl/mesh/backbone/private.key",
        {"mesh/backbone[workers-0]": ["keyMode"]},
    ),
    "an address more": ("ip addr add 10.88.9.9/16 dev wg0", {"mesh/backbone[workers-0]": ["addresses"]}),
    "the interface set down": ("ip link set wg0 down", {"mesh/backbone[workers-0]": ["addresses", "state"]}),
    "a peer deleted": (
        "wg set wg0 peer $(wg show wg0 peers | head -1) remove",
        {"mesh/backbone[workers-0/peers]": ["peers.*"]},
    ),
    "a peer nobody declared": (
        "wg set wg0 peer $(wg genkey | wg pubkey) allowed-ips 10.88.7.7/32",
        {"mesh/backbone[workers-0/peers]": ["peers.*"]},
    ),
    "allowed addresses of a peer": (
        "wg set wg0 peer $(wg show wg0 peers | head -1) allowed-ips 10.88.7.7/32",
        {"mesh/backbone[workers-0/peers]": ["peers.*.allowedIps"]},
    ),
    "the keepalive of a peer": (
        "wg set wg0 peer $(wg show wg0 peers | head -1) persistent-keepalive off",
        {"mesh/backbone[workers-0/peers]": ["peers.*.persistentKeepalive"]},
    ),
    "a rule more": (
        "nft add rule inet swarmctl input tcp dport 22 accept",
        {"securitypolicy/baseline[workers-0]": ["rules.unnamed:1"]},
    ),
    "a policy that accepts": (
        "nft chain inet swarmctl input '{ policy accept; }'",
        {"securitypolicy/baseline[workers-0]": ["chains.input"]},
    ),
    "a chain flushed": (
        "nft flush chain inet swarmctl forward; nft add rule inet swarmctl forward accept comment '\"all\"'",
        {"securitypolicy/baseline[workers-0]": ["rules.all"]},
    ),
    "the route of the mesh": ("ip route del 10.88.0.0/16 dev wg0", {"mesh/backbone[workers-0]": ["routes"]}),
    "the route of the mesh, IPv6": (
        "ip -6 route del fd88:5b2a::/64 dev wg0",
        {"mesh/backbone[workers-0]": ["routes"]},
    ),
    "a black hole in the mesh": ("ip route add blackhole 10.88.7.7", {"mesh/backbone[workers-0]": ["routes"]}),
    "a route past the mesh": (
        "ip -6 route add fd88:5b2a::7/128 via fd30::1 dev eth0 table 7",
        {"mesh/backbone[workers-0]": ["routes"]},
    ),
    "a preshared key": (
        "wg genpsk >/tmp/swarmctl-test-psk; wg set wg0 peer $(wg show wg0 peers | head -1) "
        "preshared-key /tmp/swarmctl-test-psk; rm /tmp/swarmctl-test-psk",
        {"mesh/backbone[workers-0/peers]": ["peers.*.presharedKey"]},
    ),
    "a mark": ("wg set wg0 fwmark 0x1234", {"mesh/backbone[workers-0]": ["fwmark"]}),
    "IPv6 switched off": (
        "echo 1 >/proc/sys/net/ipv6/conf/wg0/disable_ipv6",
        {"mesh/backbone[workers-0]": ["addresses"]},
    ),
    "the table switched off": (
        "nft add table inet swarmctl '{ flags dormant; }'",
        {"securitypolicy/baseline[workers-0]": ["rules.flags"]},
    ),
    "the table deleted": ("nft flush ruleset", {"securitypolicy/baseline[workers-0]": ["(gone)"]}),
}


@pytest.mark.parametrize("what", DRIFTS)
def test_drift_is_found_per_property_and_healed(world: World, graph: Graph, what: str) -> None:
    command, expected = DRIFTS[what]
    on(world, "workers-0").sh(command)
    found = world.drift(graph)
    assert found.keys() == expected.keys()
    for address, paths in expected.items():
        assert len(found[address]) == len(paths)
        for path, pattern in zip(found[address], paths, strict=True):
            parts = zip(path.split("."), pattern.split("."), strict=True)
            assert all(want in ("*", part) for part, want in parts), (path, pattern)
    world.nodes.forget()
    world.apply(graph)
    assert world.drift(graph) == {}


def test_a_killed_wireguard_process_shows_and_comes_back_with_its_key(world: World, graph: Graph) -> None:
    key = world.outputs["mesh/backbone[workers-0]"]["publicKey"]
    node = on(world, "workers-0")
    if not node.services():
        pytest.skip("this kernel has WireGuard")
    node.kill_service("wireguard-wg0")
    assert until(lambda: "state" in world.drift(graph).get("mesh/backbone[workers-0]", []))
    resource = next(r for r in graph.resources.values() if str(r.address) == "mesh/backbone[workers-0]")
    seen = world.read(resource)
    lines = [effect.text for effect in INTERFACE.effects(seen.inputs, world.resolve(resource.inputs))]
    assert lines == ["interface wg0: is gone and is started again with the same key"]
    world.nodes.forget()
    world.apply(graph)
    assert world.outputs["mesh/backbone[workers-0]"]["publicKey"] == key
    assert pings(world, "workers-0", mesh_addresses(world, "control-0")[0])


def test_a_stopped_wireguard_process_is_seen_soon_and_comes_back_with_its_key(world: World, graph: Graph) -> None:
    key = world.outputs["mesh/backbone[workers-0]"]["publicKey"]
    node = on(world, "workers-0")
    if not node.services():
        pytest.skip("this kernel has WireGuard")
    node.stop_process("wireguard-wg0")
    started = time.monotonic()
    assert world.drift(graph)["mesh/backbone[workers-0]"] == ["state"]
    assert time.monotonic() - started < 10
    resource = next(r for r in graph.resources.values() if str(r.address) == "mesh/backbone[workers-0]")
    seen = world.read(resource)
    lines = [effect.text for effect in INTERFACE.effects(seen.inputs, world.resolve(resource.inputs))]
    assert lines == ["interface wg0: does not answer and is started again with the same key"]
    world.apply(graph)
    assert world.outputs["mesh/backbone[workers-0]"]["publicKey"] == key
    assert world.drift(graph) == {}
    assert pings(world, "workers-0", mesh_addresses(world, "control-0")[0])


def test_a_lost_key_means_the_interface_is_made_anew(world: World, graph: Graph) -> None:
    on(world, "workers-1").sh("rm /etc/swarmctl/mesh/backbone/private.key")
    old = world.outputs["mesh/backbone[workers-1]"]["publicKey"]
    assert world.drift(graph)["mesh/backbone[workers-1]"] == ["(gone)"]
    del world.inputs["mesh/backbone[workers-1]"]
    world.apply(graph)
    assert world.outputs["mesh/backbone[workers-1]"]["publicKey"] != old
    assert world.drift(graph) == {}
    assert pings(world, "workers-1", mesh_addresses(world, "control-0")[0])


def test_nothing_is_left_after_everything_is_deleted(graph: Graph) -> None:
    with network(NAMES) as nodes:
        before = {name: node.sh("ls /sys/class/net") for name, node in nodes.nodes.items()}
        world = World(nodes)
        world.apply(graph)
        for resource in reversed(list(graph.resources.values())):
            if resource.type in TYPES:
                for _ in range(2):  # the second time there is nothing to delete, and that is no error
                    TYPES[resource.type].delete(nodes, world.inputs[str(resource.address)])
        for name, node in nodes.nodes.items():
            assert node.sh("ls /sys/class/net") == before[name]
            assert node.sh("nft list ruleset") == ""
            assert node.sh("ls /etc/swarmctl/mesh 2>/dev/null; ls /run/wireguard", check=False) == ""
            assert node.services() == []


def test_spokes_reach_each_other_through_the_hub(backend: FakeBackend) -> None:
    graph = compiled(lab(control=1, workers=2, mesh={"topology": {"hubs": {"select": {"role": "head"}}}}))
    with network(NAMES) as nodes:
        world = World(nodes)
        world.apply(graph)
        assert world.drift(graph) == {}
        for address in mesh_addresses(world, "workers-1"):
            assert pings(world, "workers-0", address)
        assert len(handshakes(world, "workers-0")) == 1
        node = on(world, "control-0")
        node.sh("echo 0 >/proc/sys/net/ipv4/ip_forward")
        assert world.drift(graph) == {"mesh/backbone[control-0]": ["forwarding"]}
        world.apply(graph)
        assert node.sh("cat /proc/sys/net/ipv4/ip_forward") == "1\n"


def test_a_stranger_of_the_same_name_is_not_touched(graph: Graph) -> None:
    from swarmctl.kinds.mesh.interface import TakenByOther

    with network(NAMES) as nodes:
        nodes.nodes["control-0"].sh("ip link add wg0 type bridge")
        resource = next(r for r in graph.resources.values() if str(r.address) == "mesh/backbone[control-0]")
        with pytest.raises(TakenByOther, match="control-0 already has an interface wg0"):
            INTERFACE.create(nodes, resource.inputs)
        assert "bridge" in nodes.nodes["control-0"].sh("ip -d link show wg0")
