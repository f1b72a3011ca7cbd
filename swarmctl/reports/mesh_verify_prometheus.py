"""What `swarmctl mesh verify` measured as Prometheus text format 0.0.4, for a textfile collector or a scrape by script.

Written by hand: the format is a line per sample, and prometheus_client keeps registries of a process that lives, which
nothing here does. What was not measured has no sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from swarmctl.operations.mesh_verify_model import MeshReport, Pair, Verdict, Verification, Way

Labels = tuple[tuple[str, str], ...]
Sample = tuple[Labels, float]
PREFIX = "swarmctl_mesh_"


def render(found: Verification) -> str:
    """All metrics, each with its help and type."""
    stack = (("stack", found.stack),)
    own: list[tuple[str, str, Sequence[Sample]]] = [
        ("verified", "Whether every check was made and found nothing", [(stack, float(found.verified))]),
        ("verify_duration_seconds", "How long measuring took", [(stack, found.seconds)]),
    ]
    meshes = [((*stack, ("mesh", mesh.name)), mesh) for mesh in found.meshes]
    lines = [line for name, text, samples in [*own, *_of_meshes(meshes)] for line in _metric(name, text, samples)]
    return "\n".join(lines) + "\n"


def _of_meshes(meshes: Sequence[tuple[Labels, MeshReport]]) -> Iterator[tuple[str, str, Sequence[Sample]]]:
    checks = [((*labels, ("check", check.name.value)), check) for labels, mesh in meshes for check in mesh.checks]
    yield (
        "check_ok",
        "Whether a check was made and found nothing",
        [(labels, float(check.verdict is Verdict.OK)) for labels, check in checks],
    )
    yield (
        "check_measured",
        "Whether a check could be made everywhere, or found something wrong",
        [(labels, float(check.verdict is not Verdict.UNMEASURED)) for labels, check in checks],
    )
    yield (
        "check_findings",
        "What a check found wrong or could not measure",
        [(labels, float(len(check.findings))) for labels, check in checks],
    )
    yield (
        "wireguard_packets_captured",
        "Packets of WireGuard that captures on the underlay saw while measuring",
        [(labels, float(mesh.captured)) for labels, mesh in meshes],
    )
    yield (
        "key_age_seconds",
        "Age of a node's private key",
        [((*labels, ("node", node)), float(age)) for labels, mesh in meshes for node, age in mesh.key_ages.items()],
    )
    pairs = [(_ends(labels, pair), pair) for labels, mesh in meshes for pair in mesh.pairs]
    yield (
        "handshake_age_seconds",
        "Time since the last handshake of a tunnel, before measuring",
        [(labels, float(pair.handshake_age)) for labels, pair in pairs if pair.handshake_age is not None],
    )
    ways = [((*labels, ("family", f"ipv{way.family}")), way) for labels, pair in pairs for way in pair.ways]
    yield (
        "pair_reachable",
        "Whether any echo came back",
        [(labels, float(way.echo.received > 0)) for labels, way in ways],
    )
    yield (
        "pair_loss_ratio",
        "Share of the echoes that did not come back",
        [(labels, (way.echo.sent - way.echo.received) / way.echo.sent) for labels, way in ways if way.echo.sent],
    )
    for word, times in _times(ways):
        yield f"pair_rtt_{word}_seconds", f"Round trip of an echo, {word} of a few", times
    yield (
        "pair_mtu_bytes",
        "The largest packet that came back, up to the MTU of the mesh",
        [(labels, float(way.mtu)) for labels, way in ways if way.mtu is not None],
    )


def _ends(labels: Labels, pair: Pair) -> Labels:
    return (*labels, ("from", pair.sender), ("to", pair.target))


def _times(ways: list[tuple[Labels, Way]]) -> Iterator[tuple[str, list[Sample]]]:
    for word, times in (
        ("min", [(labels, way.echo.least) for labels, way in ways]),
        ("avg", [(labels, way.echo.mean) for labels, way in ways]),
        ("max", [(labels, way.echo.most) for labels, way in ways]),
    ):
        yield word, [(labels, time / 1000) for labels, time in times if time is not None]


def _metric(name: str, text: str, samples: Iterable[Sample]) -> Iterator[str]:
    """HELP and TYPE come before the samples, which stay together."""
    told = list(samples)
    if told:
        yield f"# HELP {PREFIX}{name} {text}."
        yield f"# TYPE {PREFIX}{name} gauge"
        yield from (f"{PREFIX}{name}{{{_labels(labels)}}} {value:.9g}" for labels, value in told)


def _labels(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels)


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
