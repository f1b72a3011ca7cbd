"""The JSON document of `swarmctl status`, version 1. Fields are added, never renamed, within a version."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmctl.kinds.security_policy.spec import moment
from swarmctl.mesh.nft import Counter
from swarmctl.operations.flow_probes import Untried
from swarmctl.operations.flow_traffic import FlowTraffic, total
from swarmctl.operations.status_model import FlowResult, Link, Node, Status


def to_json(status: Status) -> dict[str, Any]:
    """`swarmctl/status/v1`. Ages are in whole seconds, times in milliseconds, null is "not measured" or "none"."""
    return {
        "schema": "swarmctl/status/v1",
        "stack": status.stack,
        "applied": status.applied,
        "probed": status.probed,
        "healthy": status.healthy,
        "nodes": [_node(node) for node in status.nodes],
        "links": [_link(link) for link in status.links],
        "flows": [_flow(flow) for flow in status.flows],
        "untried": [_untried(flow) for flow in status.untried],
        "traffic": [_traffic(flow) for flow in status.traffic.flows],
        "denied": _counted(status.traffic.denied),
    }


def _node(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "ready": node.ready,
        "exists": node.exists,
        "state": node.state or None,
        "reasons": list(node.reasons),
        "cluster": node.cluster,
        "pool": node.pool,
        "region": node.region,
        "addresses": list(node.addresses),
        "underlay": list(node.underlay),
        "tunnels": node.tunnels,
        "handshakes": node.handshakes,
        "received": node.received,
        "sent": node.sent,
        "managed": {"ports": list(node.managed_ports), "from": list(node.managed_from)} if node.managed_ports else None,
    }


def _link(link: Link) -> dict[str, Any]:
    return {
        "from": link.sender,
        "to": link.target,
        "reachable": link.reachable,
        "handshakeAge": link.handshake_age,
        "rttMs": link.rtt,
        "mesh": link.mesh,
        "tunnel": link.tunnel,
        "established": link.established,
        "received": link.received,
        "sent": link.sent,
        "via": list(link.via),
        "cutBy": list(link.cut_by),
        "addresses": [
            {"address": address, "reachable": ping.reachable, "rttMs": ping.rtt} for address, ping in link.pings.items()
        ],
    }


def _flow(flow: FlowResult) -> dict[str, Any]:
    probe = flow.probe
    return {
        "policy": probe.policy,
        "flow": probe.flow,
        "from": probe.sender,
        "to": probe.target,
        "protocol": probe.port.protocol,
        "port": probe.port.number,
        "expected": probe.expected.value,
        "observed": flow.observed.value,
        "ok": flow.ok,
        "address": probe.port.address,
        "over": probe.over.value,
    }


def _untried(flow: Untried) -> dict[str, Any]:
    return {"policy": flow.policy, "flow": flow.flow, "until": moment(flow.until), "reason": flow.why}


def _traffic(flow: FlowTraffic) -> dict[str, Any]:
    return {
        "policy": flow.policy,
        "flow": flow.flow,
        "until": None if flow.until is None else moment(flow.until),
        **_counted(flow.nodes),
    }


def _counted(nodes: Mapping[str, Counter]) -> dict[str, Any]:
    every = [{"node": name, "packets": one.packets, "bytes": one.bytes} for name, one in nodes.items()]
    return {"packets": total(nodes).packets, "bytes": total(nodes).bytes, "nodes": every}
