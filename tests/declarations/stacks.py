"""Stacks written on the spot, and what validate says to them."""

from __future__ import annotations

from pathlib import Path

from swarmctl.diagnostics import Diagnostic
from swarmctl.operations.validate import validate

HEAD = "apiVersion: swarmctl/v1alpha1\n"
STACK = HEAD + "kind: Stack\nmetadata: {name: example}\nspec: {defaults: {cluster: core, region: eu-central}}\n"
CLUSTER = HEAD + "kind: Cluster\nmetadata: {name: core}\nspec: {mesh: backbone, securityPolicy: baseline}\n"
POOL = HEAD + "kind: NodePool\nmetadata: {name: workers, labels: {role: worker}}\nspec: {lab: {count: 3}}\n"
MESH = HEAD + "kind: Mesh\nmetadata: {name: backbone}\nspec: {cidrs: [10.88.0.0/16]}\n"
POLICY = HEAD + "kind: SecurityPolicy\nmetadata: {name: baseline}\nspec: {}\n"
BASE = {"Stack": STACK, "Cluster": CLUSTER, "NodePool": POOL, "Mesh": MESH, "SecurityPolicy": POLICY}


def diagnose(folder: Path, *documents: str, without: tuple[str, ...] = ()) -> list[Diagnostic]:
    """What validate says to `documents` in one file, with a valid document of every kind but `without` beside them."""
    (folder / "a.yaml").write_text("---\n".join(documents), "utf-8")
    for kind, text in BASE.items():
        if kind not in without:
            (folder / f"z-{kind}.yaml").write_text(text, "utf-8")
    return list(validate(folder).diagnostics)


def told(diagnostics: list[Diagnostic]) -> list[tuple[str, int, int]]:
    """Code, line and column of each."""
    return [(found.code.id, found.range.start.line, found.range.start.column) for found in diagnostics if found.range]


def spec(kind: str, name: str, body: str) -> str:
    """A document whose spec is `body`, indented by two."""
    return f"{HEAD}kind: {kind}\nmetadata: {{name: {name}}}\nspec:\n{body}"
