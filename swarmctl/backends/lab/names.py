"""Names of the nodes of a lab, which every node can look up: `NODE.lab.swarm`.

One file for all of them, in a folder that is laid over each node read-only; `/etc/hosts` of a node leads there. A file
of its own in every node would have to be written everywhere when one machine comes.
"""

from __future__ import annotations

from pathlib import Path

from swarmctl.backends.lab.marks import Lab

DOMAIN = "lab.swarm"
FOLDER = "run/lab"
"""Of a node, relative to its root."""
_LOCAL = "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n"


def folder(lab: Lab) -> Path:
    """Where the file stands on this machine."""
    return lab.folder / "names"


def add(lab: Lab, node: str, address: str) -> None:
    """Let a node be found at an address, or elsewhere than before. The caller holds the lab's lock."""
    table = _read(lab)
    bare = address.partition("/")[0]
    if table.get(node) != bare or not (folder(lab) / "hosts").exists():
        _write(lab, {**table, node: bare})


def drop(lab: Lab, node: str) -> None:
    """Let a node be found no more. The caller holds the lab's lock."""
    table = _read(lab)
    if table.pop(node, None) is not None:
        _write(lab, table)


def _read(lab: Lab) -> dict[str, str]:
    """Address by node, also where the file was lost."""
    try:
        lines = (folder(lab) / "hosts").read_text().splitlines()
    except FileNotFoundError:
        recorded = {name: lab.record(name).get("inputs", {}) for name in lab.names()}
        return {name: inputs["address"].partition("/")[0] for name, inputs in recorded.items() if inputs}
    rows = [line.split() for line in lines[_LOCAL.count("\n") :]]
    return {row[2]: row[0] for row in rows if len(row) == 3}


def _write(lab: Lab, table: dict[str, str]) -> None:
    where = folder(lab)
    where.mkdir(mode=0o755, exist_ok=True)
    text = _LOCAL + "".join(f"{address} {node}.{DOMAIN} {node}\n" for node, address in table.items())
    new = where / ".hosts.new"
    new.write_text(text)
    new.chmod(0o644)
    new.replace(where / "hosts")
