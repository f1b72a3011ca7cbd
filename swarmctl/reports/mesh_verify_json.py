"""The JSON document of `swarmctl mesh verify`, version 1. Fields are added, never renamed, within a version."""

from __future__ import annotations

from typing import Any

from swarmctl.operations.mesh_verify_model import Check, MeshReport, Pair, Verification


def to_json(found: Verification) -> dict[str, Any]:
    """`swarmctl/mesh-verify/v1`. Ages are in whole seconds, times in milliseconds, null is "not measured" or "none"."""
    return {
        "schema": "swarmctl/mesh-verify/v1",
        "stack": found.stack,
        "applied": found.applied,
        "verified": found.verified,
        "seconds": round(found.seconds, 3),
        "meshes": [_mesh(mesh) for mesh in found.meshes],
    }


def _mesh(mesh: MeshReport) -> dict[str, Any]:
    return {
        "name": mesh.name,
        "mtu": mesh.mtu,
        "nodes": list(mesh.nodes),
        "checks": [_check(check) for check in mesh.checks],
        "pairs": [_pair(pair) for pair in mesh.pairs],
        "keyAges": dict(mesh.key_ages),
        "rotateEvery": mesh.rotate_every or None,
        "wireguardPackets": mesh.captured,
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "name": check.name.value,
        "verdict": check.verdict.value,
        "measured": check.measured,
        "said": check.said,
        "findings": [
            {"node": finding.node, "text": finding.text, "verdict": finding.verdict.value} for finding in check.findings
        ],
    }


def _pair(pair: Pair) -> dict[str, Any]:
    return {
        "from": pair.sender,
        "to": pair.target,
        "tunnel": pair.tunnel,
        "via": list(pair.via),
        "handshakeAge": pair.handshake_age,
        "addresses": [
            {
                "address": way.address,
                "family": way.family,
                "sent": way.echo.sent,
                "received": way.echo.received,
                "minMs": way.echo.least,
                "avgMs": way.echo.mean,
                "maxMs": way.echo.most,
                "mtu": way.mtu,
            }
            for way in pair.ways
        ],
    }
