"""An imported mesh as declarations: YAML as people would write it."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence

from swarmctl.graph.names import natural
from swarmctl.mesh.names import next_port
from swarmctl.mesh.wgquick.draft import NOWHERE, PORT, Draft

HUB = {"role": "hub"}
"""Label of hubs, where the import makes the pools."""
_API = "apiVersion: swarmctl/v1alpha1\n"
_PLAIN = re.compile(r"[a-z][a-z0-9-]*(\.[a-z0-9-]+)*|[0-9]+(\.[0-9]+){3}")
_WORDS = ("yes", "no", "on", "off", "true", "false", "null", "y", "n", "none")


def mesh(draft: Draft, hubs: dict[str, str]) -> str:
    """The Mesh; `hubs` are labels that the hubs have and no other node."""
    lines = [
        "# Imported from WireGuard configurations. Keys stay on the nodes: by `adopt` each copies its own, from the",
        f"# interface that runs, into a file below /etc/swarmctl/mesh/{draft.name}.",
        f"{_API}kind: Mesh",
        f"metadata: {{name: {word(draft.name)}}}",
        "spec:",
        f"  cidrs: {_list(draft.cidrs)}",
        "  adopt: true",
        "  topology:",
        *_topology(draft, hubs),
        *([f"  listenPort: {draft.port}"] if draft.port != PORT else []),
        f"  mtu: {draft.mtu}",
        *([f"  persistentKeepalive: {draft.keepalive}"] if draft.keepalive else []),
        *(["  keys: {presharedKeys: generated}"] if draft.preshared else []),
        *([f"  interface: {word(draft.interface)}"] if draft.interface != "wg0" else []),
        "  addresses:",
        *(
            f"    - {{node: {word(node)}, addresses: {_list(draft.addresses[node])}}}"
            for node in sorted(draft.addresses, key=natural)
            if draft.addresses[node]
        ),
        *(["  endpoints:"] if draft.endpoints else []),
    ]
    for node in sorted(draft.endpoints, key=natural):
        host, port = draft.endpoints[node]
        more = f", port: {port}" if host != NOWHERE and port != draft.port else ""
        lines.append(f"    - {{node: {word(node)}, host: {'none' if host == NOWHERE else word(host)}{more}}}")
    return "\n".join([*lines, ""])


def _topology(draft: Draft, hubs: dict[str, str]) -> list[str]:
    if draft.hubs and hubs:
        labels = ", ".join(f"{word(key)}: {word(value)}" for key, value in hubs.items())
        return [f"    hubs: {{select: {{{labels}}}}}"]
    links = draft.links or [(hub, node) for hub in draft.hubs for node in draft.addresses if node not in draft.hubs]
    links += [(one, other) for one in draft.hubs for other in draft.hubs if one < other and not draft.links]
    if not links:
        return ["    full: {}"]
    pairs = (f"      - {{between: [{{node: {word(one)}}}, {{node: {word(other)}}}]}}" for one, other in links)
    return ["    links:", *pairs]


def stack(draft: Draft, name: str) -> str:
    """Stack, Cluster, and a SecurityPolicy that lets TCP and UDP through on the mesh, as before the import."""
    return f"""# One folder is one stack. `swarmctl explain Stack` says what else can stand here.
{_API}kind: Stack
metadata:
  name: {word(name)}
  uid: {uuid.uuid4()}  # whose things these are; never change it
spec:
  defaults: {{cluster: {word(draft.name)}, region: local}}
---
{_API}kind: Cluster
metadata: {{name: {word(draft.name)}}}
spec:
  mesh: {word(draft.name)}
  securityPolicy: as-before
---
# All TCP and UDP between nodes of the mesh, as before. Not let through: other protocols, and whatever comes in from
# outside of the mesh, also to manage the machines. Write down what is needed, then narrow it.
{_API}kind: SecurityPolicy
metadata: {{name: as-before}}
spec:
  network:
    flows:
      - {{name: every-tcp, from: {{}}, to: {{}}, ports: [1-65535]}}
      - {{name: every-udp, from: {{}}, to: {{}}, ports: [{", ".join(_free(draft.port))}], protocol: udp}}
"""


def _free(port: int) -> Iterator[str]:
    """All ports but those that WireGuard itself listens on, as ranges."""
    first = 1
    for taken in (*sorted({port, next_port(port, None)}), 65536):
        if first < taken:
            yield f"{first}-{taken - 1}" if first < taken - 1 else str(first)
        first = taken + 1


def pools(draft: Draft) -> str:
    """The machines: pools by count where names are numbered so, else one pool with names."""
    numbered: dict[str, set[int]] = {}
    for node in draft.addresses:
        stem, dash, number = node.rpartition("-")
        if stem and dash and number.isdigit() and str(int(number)) == number:
            numbered.setdefault(stem, set()).add(int(number))
    documents, rest = [], set(draft.addresses)
    for stem, numbers in sorted(numbered.items()):
        members = {f"{stem}-{number}" for number in numbers}
        alike = members <= set(draft.hubs) or members.isdisjoint(draft.hubs)
        if numbers == set(range(len(numbers))) and alike:
            documents.append(_pool(stem, f"{{count: {len(numbers)}}}", hub=members <= set(draft.hubs)))
            rest -= members
    if rest:
        hosts = "\n".join(
            f"      - {{name: {word(node)}{', labels: {role: hub}' if node in draft.hubs else ''}}}"
            for node in sorted(rest, key=natural)
        )
        taken = {stem for stem in numbered if f"{stem}-0" not in rest}
        pool = next(name for name in ("nodes", "machines", "imported") if name not in taken)
        documents.append(_pool(pool, f"\n    hosts:\n{hosts}", hub=False))
    return "# Machines. `lab` makes them in small on this computer.\n" + "---\n".join(documents)


def _pool(name: str, backend: str, *, hub: bool) -> str:
    labels = ", labels: {role: hub}" if hub else ""
    space = "" if backend.startswith("\n") else " "
    return f"{_API}kind: NodePool\nmetadata: {{name: {word(name)}{labels}}}\nspec:\n  lab:{space}{backend}\n"


def word(text: str) -> str:
    """A scalar that YAML takes for nothing but this text."""
    return text if _PLAIN.fullmatch(text) and text not in _WORDS else json.dumps(text, ensure_ascii=False)


def _list(items: Sequence[str]) -> str:
    return f"[{', '.join(item if ':' not in item else json.dumps(item) for item in items)}]"
