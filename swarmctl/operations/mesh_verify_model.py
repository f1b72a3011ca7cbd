"""What `mesh verify` finds out: pairs of nodes, and checks with their findings. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, unique

from swarmctl.errors import ExitCode
from swarmctl.hosts.mesh_probes import Echo

CIPHER = "ChaCha20-Poly1305"
"""WireGuard has no other, and no other handshake than Noise_IKpsk2 (its white paper, 5.4)."""


@unique
class Verdict(StrEnum):
    """What became of a check."""

    OK = "ok"
    FAILED = "failed"
    UNMEASURED = "not measured"
    """Nothing is known to be wrong, and nothing is proved either."""


@unique
class Name(StrEnum):
    """The checks, in their order."""

    NODES = "nodes"
    TUNNELS = "tunnels"
    REACHABILITY = "reachability"
    LOSS = "loss"
    PATH_MTU = "pathMtu"
    CIPHER = "cipher"
    KEY_AGE = "keyAge"
    PRESHARED_KEYS = "presharedKeys"
    KEY_FILES = "keyFiles"
    PEERS = "peers"
    PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is wrong, or could not be measured, on one node."""

    node: str
    text: str
    """A clause that names the other end where there is one."""
    verdict: Verdict = Verdict.FAILED


@dataclass(frozen=True, slots=True)
class Check:
    """One question, asked of a whole mesh."""

    name: Name
    measured: int
    """How many things were looked at: nodes, pairs or interfaces."""
    said: str
    """What was measured, as a clause."""
    findings: tuple[Finding, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """FAILED when anything is, UNMEASURED when anything, or everything, was not measured."""
        verdicts = {finding.verdict for finding in self.findings}
        if Verdict.FAILED in verdicts:
            return Verdict.FAILED
        return Verdict.UNMEASURED if verdicts or not self.measured else Verdict.OK


@dataclass(frozen=True, slots=True)
class Way:
    """The way to one address of a node."""

    address: str
    family: int
    echo: Echo
    """Of packets as large as the mesh's MTU; small ones where none of those came back."""
    mtu: int | None
    """The largest packet that came through, in bytes; None where that is not known."""


@dataclass(frozen=True, slots=True)
class Pair:
    """The way from one node to another over the mesh."""

    sender: str
    target: str
    tunnel: bool
    """Whether a tunnel of its own is declared."""
    via: tuple[str, ...]
    """The nodes that pass the traffic on, as declared; empty where there is a tunnel."""
    handshake_age: int | None
    """Seconds, of its tunnel."""
    ways: tuple[Way, ...]
    """By address of the target; empty where nothing was measured."""


@dataclass(frozen=True, slots=True)
class MeshReport:
    """One mesh."""

    name: str
    mtu: int
    nodes: tuple[str, ...]
    pairs: tuple[Pair, ...]
    checks: tuple[Check, ...]
    key_ages: Mapping[str, int]
    """Seconds by node, of those that could be read."""
    rotate_every: int
    """Seconds after which keys are due, 0: never."""
    captured: int
    """Packets of WireGuard that the captures saw."""


@dataclass(frozen=True, slots=True)
class Verification:
    """Everything that `mesh verify` shows."""

    stack: str
    applied: bool
    meshes: tuple[MeshReport, ...]
    unreadable: bool = False
    """Whether a machine exists and could not be read."""
    seconds: float = 0.0

    @property
    def verified(self) -> bool:
        """Whether every check of every mesh was made and found nothing."""
        return bool(self.meshes) and all(check.verdict is Verdict.OK for mesh in self.meshes for check in mesh.checks)

    @property
    def exit_code(self) -> ExitCode:
        """WORLD_UNREADABLE when a machine could not be read, FAILED when anything is wrong or not proved, else OK."""
        if self.unreadable:
            return ExitCode.WORLD_UNREADABLE
        return ExitCode.OK if self.verified else ExitCode.FAILED
