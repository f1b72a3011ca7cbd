"""What the examples of kinds don't show: the edges of the rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.declarations.stacks import CLUSTER, HEAD, POOL, STACK, diagnose, spec, told


def mesh(cidrs: str, more: str = "") -> str:
    return spec("Mesh", "backbone", f"  cidrs: {cidrs}\n{more}")


@pytest.mark.parametrize("cidr", ["10.88.0.0/29", "10.88.0.0/28", '"fd88::/126"', "100.64.0.0/24"])
def test_networks_that_are_just_large_enough_pass(tmp_path: Path, cidr: str) -> None:
    assert diagnose(tmp_path, mesh(f"[{cidr}]"), without=("Mesh",)) == []


@pytest.mark.parametrize(
    ("cidr", "room"), [("10.88.0.0/30", 2), ("10.88.0.0/31", 2), ('"fd88::/127"', 2), ("10.1.0.1/32", 1)]
)
def test_networks_without_room_are_told_with_the_length_that_has_it(tmp_path: Path, cidr: str, room: int) -> None:
    (found,) = diagnose(tmp_path, mesh(f"[{cidr}]"), without=("Mesh",))

    assert found.code.id == "SW3106"
    assert f"has {room} usable address" in found.message
    assert found.help.startswith(f"widen it to /{125 if ':' in cidr else 29} ")


def test_machines_of_all_clusters_on_a_mesh_are_counted(tmp_path: Path) -> None:
    edge = HEAD + "kind: Cluster\nmetadata: {name: edge}\nspec: {mesh: backbone, securityPolicy: baseline}\n"
    pool = spec("NodePool", "edges", "  cluster: edge\n  lab: {count: 4}\n")
    (found,) = diagnose(tmp_path, mesh("[10.88.0.0/29]"), edge, pool, without=("Mesh",))

    assert (found.code.id, "has 7 machines" in found.message) == ("SW3106", True)


@pytest.mark.parametrize(
    "cidr",
    ["10.88.0.0/", "10.88.0.0/x", "10.88.0.0/-1", "10.88.0.0/33", "10.88.0.0/255.255.0.0", "010.0.0.0/8", "::/x"],
)
def test_what_is_no_network_is_told(tmp_path: Path, cidr: str) -> None:
    assert told(diagnose(tmp_path, mesh(f'["{cidr}"]'), without=("Mesh",))) == [("SW3101", 5, 11)]


@pytest.mark.parametrize(
    "cidr",
    [
        "127.0.0.0/8", "224.0.0.0/8", "fe80::/64", "::ffff:10.0.0.0/112", "ff02::/64", "0.0.0.0/8", "0.0.0.0/0",
        "240.0.0.0/4", "::1/128", "::/0", "169.254.0.0/16",
    ],
)  # fmt: skip
def test_ranges_with_a_meaning_of_their_own_are_errors(tmp_path: Path, cidr: str) -> None:
    (found,) = diagnose(tmp_path, mesh(f'["{cidr}"]'), without=("Mesh",))

    assert (found.code.id, found.severity) == ("SW3111", "error")
    assert cidr in found.message


@pytest.mark.parametrize(("cidr", "mend"), [("11.0.0.0/16", "10.0.0.0/8"), ("2001:db8::/64", "fd00::/8")])
def test_public_ranges_are_warned_of_in_their_own_family(tmp_path: Path, cidr: str, mend: str) -> None:
    (found,) = diagnose(tmp_path, mesh(f'["{cidr}"]'), without=("Mesh",))

    assert (found.code.id, found.severity) == ("SW3109", "warning")
    assert mend in found.help


@pytest.mark.parametrize("name", ["lo", "eth0", "all", "default", "tunl0"])
def test_interface_names_that_machines_have_are_errors(tmp_path: Path, name: str) -> None:
    (found,) = diagnose(tmp_path, mesh("[10.88.0.0/16]", f"  interface: {name}\n"), without=("Mesh",))

    assert found.code.id == "SW3112"


@pytest.mark.parametrize(
    ("memory", "fits"),
    [("16Mi", True), ("16383Ki", False), ("64Ti", True), ("68719476737Ki", False), ("999999999999999999Ti", False)],
)
def test_memory_is_compared_exactly(tmp_path: Path, memory: str, fits: bool) -> None:
    pool = spec("NodePool", "workers", f"  lab: {{count: 1}}\n  resources: {{memory: {memory}}}\n")

    assert [one.code.id for one in diagnose(tmp_path, pool, without=("NodePool",))] == ([] if fits else ["SW3205"])


def test_a_flow_to_wireguard_s_port_shows_both_places(tmp_path: Path) -> None:
    flows = "  network: {flows: [{name: a, ports: [5000-6000], protocol: udp}]}\n"
    policy = spec("SecurityPolicy", "baseline", flows)
    listening = mesh("[10.88.0.0/16]", "  listenPort: 5555\n")
    (found,) = diagnose(tmp_path, policy, listening, without=("SecurityPolicy", "Mesh"))

    assert (found.code.id, found.help) == ("SW3307", "write `ports: [5000-5554, 5557-6000]`")
    assert found.related[0].range.start.line == 12
    assert diagnose(tmp_path, policy.replace("udp", "tcp"), listening, without=("SecurityPolicy", "Mesh")) == []


def test_a_flow_to_the_port_of_a_rotation_shows_the_mesh(tmp_path: Path) -> None:
    flows = "  network: {flows: [{name: a, ports: [5556], protocol: udp}]}\n"
    listening = mesh("[10.88.0.0/16]", "  listenPort: 5555\n")
    policy = spec("SecurityPolicy", "baseline", flows)
    (found,) = diagnose(tmp_path, policy, listening, without=("SecurityPolicy", "Mesh"))
    assert found.code.id == "SW3307"
    assert found.message.endswith("while keys are rotated")
    assert diagnose(tmp_path, policy.replace("5556", "5557"), listening, without=("SecurityPolicy", "Mesh")) == []
    chosen = listening + "  keys: {rotationPort: 5557}\n"
    assert diagnose(tmp_path, policy, chosen, without=("SecurityPolicy", "Mesh")) == []
    (found,) = diagnose(tmp_path, policy.replace("5556", "5557"), chosen, without=("SecurityPolicy", "Mesh"))
    assert found.related[0].message == "WireGuard's port"


@pytest.mark.parametrize(
    ("flow", "denial", "ruled_out"),
    [
        ("from: {role: web}, ports: [22]", "", True),
        ("from: {role: web}, ports: [22]", "from: {site: a}", True),
        ("from: {role: db}, ports: [22]", "from: {site: a}", False),  # no machine is both
        ("to: {role: db}, ports: [22]", "to: {site: a}", False),
        ("to: {role: db}, ports: [22]", "from: {site: a}", True),
        ("ports: [10-30]", "ports: [30-40]", True),
        ("ports: [10-29]", "ports: [30-40]", False),
        ("ports: [22], protocol: udp", "protocol: tcp", False),
        ("ports: [22], protocol: udp", "protocol: udp", True),
        ('ports: [22], until: "2099-01-01T00:00:00Z"', "", True),
    ],
)
def test_a_denial_rules_out_what_flow_and_denial_both_take(
    tmp_path: Path, flow: str, denial: str, ruled_out: bool
) -> None:
    pools = [
        spec("NodePool", name, "  lab: {count: 1}\n").replace(
            f"metadata: {{name: {name}}}", f"metadata: {{name: {name}, labels: {labels}}}"
        )
        for name, labels in (("web", "{role: web, site: a}"), ("db", "{role: db, site: b}"))
    ]
    network = f"  network: {{flows: [{{name: a, {flow}}}], never: [{{name: b, {denial}}}]}}\n"
    found = diagnose(
        tmp_path, *pools, spec("SecurityPolicy", "baseline", network), without=("SecurityPolicy", "NodePool")
    )
    assert [it.code.id for it in found] == (["SW3311"] if ruled_out else [])


@pytest.mark.parametrize(
    ("first", "second", "lasting"),
    [
        ('until: "2098-01-01T00:00:00Z"', "protocol: tcp", "b"),
        ("protocol: tcp", 'until: "2098-01-01T00:00:00Z"', "a"),
        ('until: "2098-01-01T00:00:00Z"', 'until: "2099-01-01T00:00:00Z"', "b"),
    ],
)
def test_of_two_flows_the_one_that_lasts_longer_is_said_to_allow_it(
    tmp_path: Path, first: str, second: str, lasting: str
) -> None:
    flows = f"{{name: a, ports: [1], {first}}}, {{name: b, ports: [1], {second}}}"
    policy = spec("SecurityPolicy", "baseline", f"  network: {{flows: [{flows}]}}\n")
    (found,) = diagnose(tmp_path, policy, without=("SecurityPolicy",))
    assert (found.code.id, found.message.split("`")[1]) == ("SW3305", lasting)


@pytest.mark.parametrize(
    ("field", "near"),
    [
        ('name: "Node 1"', "did you mean `node-1`?"),
        ('address: "10.201.7.11; touch /tmp/x"', ""),
        ('address: "fe80::1%eth0"', ""),
        ('user: "-oProxyCommand=touch"', ""),
    ],
)
def test_of_what_is_no_name_no_name_is_proposed(tmp_path: Path, field: str, near: str) -> None:
    name, _, _ = field.partition(":")
    host = {"name": "name: n1", "address": "address: 203.0.113.1", name: field}
    metal = spec("NodePool", "metal", f"  region: eu\n  ssh: {{hosts: [{{{', '.join(host.values())}}}]}}\n")
    (found,) = [one for one in diagnose(tmp_path, metal, without=("NodePool",)) if one.code.id == "SW2105"]
    assert found.help.startswith(near or "it takes ")


def test_ipv6_host_bits_are_told_with_the_network(tmp_path: Path) -> None:
    (found,) = diagnose(tmp_path, mesh('["fd88::1/64"]'), without=("Mesh",))

    assert (found.code.id, found.help) == ("SW3102", "did you mean `fd88::/64`?")


def test_a_small_mtu_is_fine_without_ipv6(tmp_path: Path) -> None:
    assert diagnose(tmp_path, mesh("[10.88.0.0/16]", "  mtu: 1200\n"), without=("Mesh",)) == []


def test_a_hub_may_be_a_single_host_by_its_own_label(tmp_path: Path) -> None:
    pool = spec("NodePool", "workers", "  lab:\n    hosts: [{name: a, labels: {role: hub}}, {name: b}]\n")
    hubs = mesh("[10.88.0.0/16]", "  topology: {hubs: {select: {role: hub}}}\n")
    assert diagnose(tmp_path, pool, hubs, without=("Mesh", "NodePool")) == []


def test_labels_of_the_stack_are_labels_of_machines(tmp_path: Path) -> None:
    stack = STACK.replace("{cluster: core,", "{labels: {team: x}, cluster: core,")
    hubs = mesh("[10.88.0.0/16]", "  topology: {hubs: {select: {team: x}}}\n")
    assert diagnose(tmp_path, stack, hubs, without=("Mesh", "Stack")) == []


def test_pools_scaled_to_nothing_still_count_as_selected_by_flows(tmp_path: Path) -> None:
    policy = spec("SecurityPolicy", "baseline", "  network: {flows: [{name: a, to: {role: worker}, ports: [1]}]}\n")
    pool = POOL.replace("count: 3", "count: 0")
    assert diagnose(tmp_path, policy, pool, without=("SecurityPolicy", "NodePool")) == []


def test_one_port_in_two_flows_of_other_machines_is_no_clash(tmp_path: Path) -> None:
    flows = "  network:\n    flows:\n      - {name: a, to: {role: worker}, ports: [80]}\n"
    flows += "      - {name: b, ports: [80]}\n      - {name: c, ports: [80], protocol: udp}\n"
    assert diagnose(tmp_path, spec("SecurityPolicy", "baseline", flows), without=("SecurityPolicy",)) == []


def test_two_pools_whose_numbered_machines_meet_clash_once(tmp_path: Path) -> None:
    pools = [
        spec("NodePool", "a", "  lab:\n    hosts: [{name: b-0}, {name: b-1}]\n"),
        spec("NodePool", "b", "  lab: {count: 9}\n"),
    ]
    found = diagnose(tmp_path, *pools, without=("NodePool",))

    assert [one.code.id for one in found] == ["SW3203"]


def test_host_names_twice_in_one_pool_are_told_at_the_second(tmp_path: Path) -> None:
    pool = spec("NodePool", "workers", "  lab:\n    hosts: [{name: n1}, {name: n1}]\n")
    assert told(diagnose(tmp_path, pool, without=("NodePool",))) == [("SW3203", 6, 32)]


def test_nothing_is_called_unused_while_documents_have_mistakes(tmp_path: Path) -> None:
    found = diagnose(tmp_path, CLUSTER.replace("spec: {", "spec: {oops: 1, "), without=("Cluster",))

    assert [one.code.id for one in found] == ["SW2101"]


def test_rules_of_sound_documents_are_told_beside_mistakes_of_others(tmp_path: Path) -> None:
    found = diagnose(
        tmp_path, mesh("[10.88.0.1/16]"), POOL.replace("count: 3", "cuont: 3"), without=("Mesh", "NodePool")
    )

    assert [one.code.id for one in found] == ["SW3102", "SW2101"]
