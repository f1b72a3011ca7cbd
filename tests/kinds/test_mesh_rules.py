"""What the examples of Mesh don't show: the edges of its rules."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.diagnostics import Diagnostic
from tests.declarations.stacks import HEAD, diagnose, spec


def mesh(more: str, cidrs: str = "[10.88.0.0/16]") -> str:
    return spec("Mesh", "backbone", f"  cidrs: {cidrs}\n{more}")


def pool(name: str, role: str, lab: str, region: str = "eu") -> str:
    head = f"{HEAD}kind: NodePool\nmetadata: {{name: {name}, labels: {{role: {role}}}}}\n"
    return head + f"spec: {{region: {region}, lab: {{{lab}}}}}\n"


def say(folder: Path, *documents: str) -> list[Diagnostic]:
    return diagnose(folder, *documents, without=("Mesh", "NodePool"))


def ids(found: list[Diagnostic]) -> list[str]:
    return [one.code.id for one in found]


WORKERS = pool("workers", "worker", "count: 3")
NAT = pool("office", "office", "count: 2, nat: true")


@pytest.mark.parametrize(
    ("topology", "pools", "fine"),
    [
        ("full: {}", (NAT, WORKERS), False),
        ("hubs: {select: {role: worker}}", (NAT, WORKERS), True),
        ("hubs: {select: {role: office}}", (NAT, WORKERS), False),
        ("regions: {gateways: {role: worker}}", (NAT, WORKERS), True),
        ("links: [{between: [{pool: office}, {pool: workers}]}]", (NAT, WORKERS), True),
        ("links: [{between: [{node: office-0}, {node: office-1}]}, {between: [{pool: workers}, {select: {}}]}]",
         (NAT, WORKERS), True),
        ("links: [{between: [{node: office-0}, {node: office-1}]}, {between: [{node: office-0}, {pool: workers}]}]",
         (NAT, WORKERS), False),
        ("combine: [{select: {role: worker}, full: {}}, {hubs: {select: {role: worker}}}]", (NAT, WORKERS), True),
        ("combine: [{full: {}}, {hubs: {select: {role: worker}}}]", (NAT, WORKERS), True),
        ("full: {}", (pool("office", "office", "count: 1, nat: true"), WORKERS), True),
    ],
)  # fmt: skip
def test_a_relay_is_asked_for_exactly_where_nobody_else_joins_two_nodes_behind_nat(
    tmp_path: Path, topology: str, pools: tuple[str, ...], fine: bool
) -> None:
    found = say(tmp_path, mesh(f"  topology: {{{topology}}}\n"), *pools)

    assert ids(found) == ([] if fine else ["SW3125"])
    relayed = mesh(f"  relays: {{role: relay}}\n  topology: {{{topology}}}\n")
    for region in ("eu", "us"):
        if region in "".join(pools):
            pools = (*pools, pool(f"relay-{region}", "relay", "count: 1", region))
    if "gateways" not in topology and "links" not in topology:
        assert ids(say(tmp_path, relayed, *pools)) == []


def test_a_node_behind_nat_with_an_endpoint_is_reached_like_any_other(tmp_path: Path) -> None:
    endpoint = "  endpoints: [{node: office-1, host: vpn.example.net}]\n"
    assert say(tmp_path, mesh(endpoint), NAT, WORKERS) == []


@pytest.mark.parametrize(
    ("address", "more", "pool", "fine"),
    [
        ("203.0.113.5", "", "", True),
        ("10.88.0.5", "", "", False),
        ("n5.example.net", "", "", True),
        ("10.88.0.5", "  endpoints: [{node: n5, host: 203.0.113.5}]\n", "", True),  # managed through the mesh itself
        ("10.88.0.5", "", "nat: true, ", True),
    ],
)
def test_the_address_of_a_machine_is_an_endpoint_unless_another_is_declared(
    tmp_path: Path, address: str, more: str, pool: str, fine: bool
) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPbWJd8HUj1RMQWXRoHgfQvyhoWfhSgDMEvAJ3xYU5jl"
    hosts = f"[{{name: n5, address: {address}, hostKeys: [{key}]}}]"
    metal = spec("NodePool", "metal", f"  region: eu\n  ssh: {{{pool}hosts: {hosts}}}\n")
    found = say(tmp_path, mesh(more), metal, WORKERS)
    assert ids(found) == ([] if fine else ["SW3131"])
    if not fine:
        assert "`10.88.0.5` is an address of the Mesh `backbone` itself" in found[0].message


def test_a_relay_that_cannot_be_reached_is_a_warning_beside_one_that_can(tmp_path: Path) -> None:
    pools = (NAT, pool("relay", "relay", "count: 2"))
    one = "  relays: {role: relay}\n  endpoints: [{node: relay-0, host: none}]\n"
    both = one.replace("}]", "}, {node: relay-1, host: none}]")
    assert [(one.code.id, one.severity) for one in say(tmp_path, mesh(one), *pools)] == [("SW3134", "warning")]
    assert [(one.code.id, one.severity) for one in say(tmp_path, mesh(both), *pools)] == [("SW3134", "error")]


@pytest.mark.parametrize(
    "host",
    ["203.0.113.7", "2001:db8::7", "2001:DB8:0::7", "vpn.example.net", "vpn", "a-1.b2.example", "VPN.Example.NET",
     "none", "10.0.0.1", f"{'a' * 63}.example"],
)  # fmt: skip
def test_addresses_and_names_that_lead_somewhere_are_taken(tmp_path: Path, host: str) -> None:
    found = say(tmp_path, mesh(f'  endpoints: [{{node: workers-0, host: "{host}"}}]\n'), WORKERS)
    assert ids(found) == (["SW3137"] if ":" in host else [])  # it is an address, which machines of the lab can't use


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "0.0.0.0", "::", "::1", "fe80::1", "fe80::1%eth0", "224.0.0.1", "ff02::1", "::ffff:10.0.0.1",
     "203.0.113.300", "203.0.113", "-a.example", "a..example", "vpn_1.example", "vpn.example.", "a b", "$(reboot)",
     f"{'a' * 64}.example", "example.7", "vpn.example:51820", "[2001:db8::7]:51820", "http://vpn.example",
     "vpn.exämple"],
)  # fmt: skip
def test_what_leads_nowhere_is_no_endpoint(tmp_path: Path, host: str) -> None:
    assert ids(say(tmp_path, mesh(f'  endpoints: [{{node: workers-0, host: "{host}"}}]\n'), WORKERS)) == ["SW3130"]


def test_the_port_of_an_endpoint_has_a_field_of_its_own(tmp_path: Path) -> None:
    (found,) = say(tmp_path, mesh('  endpoints: [{node: workers-0, host: "[2001:db8::7]:7"}]\n'), WORKERS)
    assert found.help == "write `host: 2001:db8::7` and `port: 7`"


def test_one_endpoint_for_nodes_of_two_meshes_is_a_conflict_unless_ports_differ(tmp_path: Path) -> None:
    other = spec("Mesh", "other", "  cidrs: [10.99.0.0/16]\n  endpoints: [{node: edges-0, host: vpn.example.net}]\n")
    edge = HEAD + "kind: Cluster\nmetadata: {name: edge}\nspec: {mesh: other, securityPolicy: baseline}\n"
    edges = spec("NodePool", "edges", "  {cluster: edge, region: eu, lab: {count: 2}}\n")
    mine = mesh("  endpoints: [{node: workers-0, host: vpn.example.net}]\n")
    (found,) = say(tmp_path, mine, WORKERS, other, edge, edges)

    assert (found.code.id, found.related[0].message) == ("SW3132", "the endpoint of `workers-0`")
    apart = mine.replace("example.net}", "example.net, port: 7}")
    assert say(tmp_path, apart, WORKERS, other, edge, edges) == []
    (elsewhere,) = say(tmp_path, mine.replace("workers-0", "edges-1"), WORKERS, other, edge, edges)
    assert (elsewhere.code.id, elsewhere.message) == ("SW3126", "the node `edges-1` is not on the Mesh `backbone`")
    linked = mesh("  topology: {combine: [{full: {}}, {links: [{between: [{pool: edges}, {pool: workers}]}]}]}\n")
    assert ids(say(tmp_path, linked, WORKERS, other, edge, edges)) == ["SW3127"]


@pytest.mark.parametrize(
    ("more", "lab", "told"),
    [
        ("  mtu: 1440\n", "count: 2", []),
        ("  mtu: 8940\n", "count: 2, mtu: 9000", []),
        ("  mtu: 8941\n", "count: 2, mtu: 9000", ["SW3135"]),
        ("  mtu: 1440\n", "count: 2, mtu: 1450", ["SW3135"]),
        ("  mtu: 1440\n  endpoints: [{node: workers-0, host: '2001:db8::7'}]\n", "count: 2", ["SW3135", "SW3137"]),
        ("  mtu: 1440\n  endpoints: [{node: workers-0, host: vpn.example.net}]\n", "count: 2", []),
        ("  mtu: 9000\n", "count: 0", []),
        ("", "count: 2, mtu: 600", []),
        ("  mtu: 100\n", "count: 2, mtu: 600", ["SW2104"]),
    ],
)
def test_a_declared_mtu_fits_what_the_underlay_certainly_carries(
    tmp_path: Path, more: str, lab: str, told: list[str]
) -> None:
    assert ids(say(tmp_path, mesh(more), pool("workers", "worker", lab))) == told


def test_the_pool_with_the_smallest_underlay_is_shown_where_it_is_declared(tmp_path: Path) -> None:
    (found,) = say(tmp_path, mesh("  mtu: 1440\n"), pool("small", "x", "count: 1, mtu: 1450"), WORKERS)
    assert found.label == "more than 1390: 1450 of the underlay of small, the least, less 60 for WireGuard over IPv4"
    assert found.related[0].message == "machines of the NodePool `small` have 1450"


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("10.88.9.1-20", "did you mean `10.88.9.1-10.88.9.20`?"),
        ("10.88.9.20-10.88.9.1", "did you mean `10.88.9.1-10.88.9.20`?"),
        ("10.88.0.7/24", "did you mean `10.88.0.0/24`?"),
        ("gateway", "write for example"),
        ("10.88.0.1-fd88::1", "write for example"),
    ],
)
def test_slips_in_reserved_ranges_are_mended(tmp_path: Path, text: str, hint: str) -> None:
    (found,) = say(tmp_path, mesh(f'  reserved: ["{text}"]\n'), WORKERS)
    assert (found.code.id, found.help.startswith(hint)) == ("SW3120", True)


def test_reserved_ranges_may_reach_into_both_networks_but_not_beyond(tmp_path: Path) -> None:
    both = '[10.88.0.0/16, "fd88::/64"]'
    fine = '  reserved: [10.88.0.0/24, "fd88::1-fd88::ffff", 10.88.255.255]\n'
    assert say(tmp_path, mesh(fine, both), WORKERS) == []
    (found,) = say(tmp_path, mesh("  reserved: [10.88.255.0-10.89.0.5]\n", both), WORKERS)
    assert (found.code.id, "only partly" in found.message) == ("SW3121", True)


def test_nothing_is_said_of_ranges_while_the_networks_are_not_known(tmp_path: Path) -> None:
    assert ids(say(tmp_path, mesh("  reserved: [10.99.0.0/24]\n", "[10.88.0.5/16]"), WORKERS)) == ["SW3102"]


def test_one_region_needs_no_gateway_and_an_empty_pool_is_no_mistake(tmp_path: Path) -> None:
    regions = mesh("  topology: {regions: {gateways: {role: gateway}}}\n")
    assert say(tmp_path, regions, WORKERS, pool("later", "worker", "count: 0", "us")) == []


def test_an_end_of_a_link_that_has_no_machines_yet_is_a_warning(tmp_path: Path) -> None:
    links = mesh("  topology: {links: [{between: [{pool: workers}, {pool: workers}]}, "
                 "{between: [{pool: later}, {pool: workers}]}]}\n")  # fmt: skip
    (found,) = say(tmp_path, links, WORKERS, pool("later", "worker", "count: 0"))
    assert (found.code.id, found.severity) == ("SW3127", "warning")


def test_a_second_interface_needs_a_name_too(tmp_path: Path) -> None:
    assert say(tmp_path, mesh("  interface: wg-n\n"), WORKERS) == []
    assert ids(say(tmp_path, mesh("  interface: abcdefghijklm-n\n"), WORKERS)) == ["SW3112"]


@pytest.mark.parametrize(
    "topology",
    ["{full: {}, links: []}", "{}", "{links: [{between: [{pool: workers}]}]}", "{links: [{between: [{}, {}]}]}",
     "{combine: []}", "{combine: [{select: {a: b}}]}", "{combine: [{combine: []}]}", "{regions: {}}", "{hubs: {}}",
     "{links: [{between: [{node: 7}, {pool: [x]}]}]}", "{regions: {gateways: {}}}", "[]", "full"],
)  # fmt: skip
def test_topologies_of_the_wrong_shape_are_told_by_the_schema_alone(tmp_path: Path, topology: str) -> None:
    found = say(tmp_path, mesh(f"  topology: {topology}\n"), NAT, WORKERS)
    assert found
    assert all(one.startswith("SW2") for one in ids(found))


SIX = "  endpoints: [{node: workers-0, host: '2001:db8::7'}%s]\n"


@pytest.mark.parametrize(
    ("more", "pools", "severity", "message"),
    [
        ("", (WORKERS,), "error", "nobody can send to the endpoint of `workers-0`, `2001:db8::7`: it is IPv6"),
        (", {node: workers-1, host: '2001:db8::8'}", (WORKERS,), "warning",
         "the endpoints of `workers-0`, `workers-1` are IPv6, and `workers-2` can't send there"),
        (", {node: workers-1, host: '2001:db8::8'}, {node: workers-2, host: '2001:db8::9'}", (WORKERS,), "warning",
         "the endpoints of `workers-0`, `workers-1`, `workers-2` are IPv6, which machines of `lab` don't have by "
         "themselves"),
        (", {node: workers-1, host: '2001:db8::8'}, {node: workers-2, host: none}", (WORKERS,), "error",
         "`workers-0` and `workers-2` can't have a tunnel: the endpoint `2001:db8::7` is IPv6"),
    ],
    ids=["nobody", "one can", "all are said to have it", "left without a tunnel"],
)  # fmt: skip
def test_an_endpoint_of_a_family_that_others_lack_is_never_silent(
    tmp_path: Path, more: str, pools: tuple[str, ...], severity: str, message: str
) -> None:
    found = say(tmp_path, mesh(SIX % more), *pools)[0]  # an error is told of the other end, too
    assert (found.code.id, found.severity, found.message) == ("SW3137", severity, message)
    assert found.range is not None
    assert (found.range.start.line, found.range.start.column) == (6, 39)
    assert "machines of `lab` have IPv4 alone" in found.label


def test_only_those_that_should_have_a_tunnel_to_an_endpoint_are_asked_for_its_family(tmp_path: Path) -> None:
    six = SIX % ", {node: hubs-0, host: '2001:db8::8'}"
    hubs = "  topology: {hubs: {select: {role: hub}}}\n"
    found = say(tmp_path, mesh(hubs + six), pool("hubs", "hub", "count: 1"), WORKERS)
    assert [(one.severity, one.message.partition(",")[0]) for one in found] == [
        ("warning", "the endpoint of `workers-0` is IPv6"),  # its hub has it
        ("warning", "the endpoint of `hubs-0` is IPv6"),  # and its other spokes don't
    ]
    assert "`workers-1`, `workers-2` can't" in found[1].message
