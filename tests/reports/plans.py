"""Plans to draw: every sort of change there is."""

from __future__ import annotations

from swarmctl.plans.model import Action, Change, DriftedProperty, HostEffect, Plan, PropertyDiff

KEY = "dGhpcyBpcyBhIHB1YmxpYyBrZXkgZm9yIGEgdGVzdCE="


def peers(node: str, pool: str, *effects: tuple[str, str], action: Action = Action.UPDATE) -> Change:
    """A node's peers change."""
    return Change(
        f"mesh/backbone[{node}/peers]",
        "swarm:mesh:Peers",
        action,
        node,
        "core",
        pool,
        properties=(
            PropertyDiff("peers.workers-3.endpoint", "add", after="10.201.2.13:51820"),
            PropertyDiff("peers.workers-3.publicKey", "add", after={"unknown": "mesh/backbone[workers-3].publicKey"}),
        ),
        effects=tuple(HostEffect(action, text) for action, text in effects),
    )


def machine(node: str, pool: str, action: Action, region: str, last: int) -> Change:
    """A machine comes or goes."""
    text = f"machine {node} in {region} at 10.201.2.{last}"
    return Change(
        f"nodepool/{pool}[{node.rpartition('-')[2]}]",
        "swarm:nodepool:Machine",
        action,
        node,
        "core",
        pool,
        effects=(HostEffect("add" if action is Action.CREATE else "delete", text),),
        impact="everything that runs on it" if action is Action.DELETE else "",
    )


def sources(without: int, *more: str) -> str:
    """A rule that lists every other gate."""
    addresses = [f"172.22.86.{number}" for number in range(5) if number != without]
    return f"iifname != wg0 ip saddr {{ {', '.join([*addresses, *more])} }} udp dport 51820 accept"


NEW_PEER = ("add", "peer workers-3 10.201.2.13:51820, allows 10.88.0.6/32, fd88:5b2a::6/128")

EVERYTHING = Plan(
    "lab-5b2a9a52",
    (
        machine("workers-3", "workers", Action.CREATE, "us-east", 13),
        machine("workers-4", "workers", Action.CREATE, "us-east", 14),
        peers("control-0", "control", NEW_PEER),
        peers("control-1", "control", NEW_PEER),
        peers("workers-0", "workers", NEW_PEER),
        Change(
            "nodepool/control[1]",
            "swarm:nodepool:Machine",
            Action.REPLACE,
            "control-1",
            "core",
            "control",
            properties=(
                PropertyDiff(
                    "region", "update", "eu-central", "us-east", replaces=True, reason="the region decides the subnet"
                ),
                PropertyDiff("underlay", "update", ["10.201.1.11"], {"unknown": "nodepool/control[1].underlay"}),
            ),
            effects=(HostEffect("delete", "machine control-1"), HostEffect("add", "machine control-1 in us-east")),
            impact="everything that runs on control-1",
        ),
        Change(
            "securitypolicy/baseline[workers-0]",
            "swarm:securitypolicy:Firewall",
            Action.UPDATE,
            "workers-0",
            "core",
            "workers",
            properties=(
                PropertyDiff("flows.ray-head.ports", "update", [6379], [6379, "10001-10010"]),
                PropertyDiff("token", "update", {"secret": True}, {"secret": True}),
                PropertyDiff("comment", "update", "quiet", "bell \x07 and \x1b[31mred\nline \u202e"),
                PropertyDiff("legacy", "delete", before=True),
            ),
            effects=(HostEffect("update", "rule ray-head: tcp 6379 → 6379, 10001-10010"),),
            drifted=True,
        ),
        machine("edge-0", "edge", Action.DELETE, "us-east", 20),
        Change("stack/lab", "swarm:stack:Mark", Action.UPDATE, properties=(PropertyDiff("a", "update", 1, 2),)),
    ),
    same=12,
    drift=(
        DriftedProperty("securitypolicy/baseline[workers-0]", "t", "workers-0", "policy", "drop", "accept"),
        DriftedProperty("mesh/backbone[workers-0]", "t", "workers-0", "mtu", 1420, 1300),
        DriftedProperty("mesh/backbone[control-1]", "t", "control-1", "", {"mtu": 1420}, None),
    ),
    notes=("another run is changing this stack",),
)

PART = Plan(
    "lab-5b2a9a52",
    (
        Change(
            "mesh/backbone[workers-0]",
            "swarm:mesh:Interface",
            Action.ADOPT,
            "workers-0",
            "core",
            "workers",
            properties=(PropertyDiff("mtu", "update", 1300, 1420),),
            effects=(HostEffect("update", "mtu 1300 → 1420"),),
            timeout=90,
        ),
        Change("nodepool/workers[0]", "swarm:nodepool:Machine", Action.ADOPT, "workers-0", "core", "workers"),
        Change(
            "nodepool/workers[1]",
            "swarm:nodepool:Machine",
            Action.CREATE,
            "workers-1",
            "core",
            "workers",
            effects=(HostEffect("add", "machine workers-1"),),
            timeout=1800,
        ),
    ),
    same=4,
    partial=("nodepool/workers[0]", "nodepool/workers[1]"),
    world_read=False,
    unfenced=("cloud",),
)
"""With everything that a plan may leave out, or can't promise."""

NOTHING = Plan("lab-5b2a9a52", (), 20)

MANY = Plan(
    "prod",
    (
        *(peers(f"workers-{number}", "workers", NEW_PEER) for number in range(248)),
        *(
            Change(
                f"securitypolicy/baseline[workers-{number}]",
                "swarm:securitypolicy:Firewall",
                Action.UPDATE,
                f"workers-{number}",
                "core",
                "workers",
                properties=(
                    PropertyDiff("name", "update", f"firewall of workers-{number}", f"wall of workers-{number}"),
                ),
            )
            for number in range(12)
        ),
        *(
            Change(
                f"securitypolicy/baseline[gate-{number}]",
                "swarm:securitypolicy:Firewall",
                Action.UPDATE,
                f"gate-{number}",
                "core",
                "gates",
                properties=(PropertyDiff("rules.wireguard", "update", sources(number), sources(number, "10.9.9.9")),),
                effects=(HostEffect("update", "rule wireguard: sources +10.9.9.9"),),
            )
            for number in range(5)
        ),
        *(
            Change(
                f"mesh/backbone[new-{number}/peers]",
                "swarm:mesh:Peers",
                Action.CREATE,
                f"new-{number}",
                "core",
                "new",
                effects=tuple(
                    HostEffect("add", f"peer workers-{other} 10.201.2.{other}:51820, allows 10.88.0.{other}/32")
                    for other in range(60)
                ),
            )
            for number in range(3)
        ),
    ),
    same=500,
)
