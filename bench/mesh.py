"""How long a full mesh takes to compile, and in how much memory, against wg-meshconf for the same nodes.

Measured in a process of its own each time, after imports and after reading the files: declarations to the whole graph
(addresses, tunnels, firewalls) and its digest. wg-meshconf: `genconfig` from a database that is there already.
Seconds are of CPU time: both work in one thread and wait for nothing, and so a busy computer doesn't count.
Bounds for 1,000 nodes: at most 2 s and 300 MiB, everything that was imported included; the time per peer must not
grow with the mesh. By default wg-meshconf gets 300 nodes, with `--full` 1,000, which takes it a minute or two.

Then 10,000 nodes in 100 regions with two gateways and a relay each, every fifth node behind NAT: the same again, and
the plan as data of one more node: which of all resources change, and how. At most 5 s and 400 MiB, the graph that was
applied before included. wg-meshconf knows no regions; the same nodes as a full mesh would take it hours.
"""

from __future__ import annotations

import argparse
import csv
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

NODES = 1000
SECONDS, MEBIBYTES, GROWTH = 2.0, 300.0, 2.0
FLEET, REGIONS = 10_000, 100
FLEET_SECONDS, FLEET_MEBIBYTES = 5.0, 400.0
STACK = """\
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {{name: bench}}
spec: {{defaults: {{cluster: core, region: eu-central}}}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {{name: core}}
spec: {{mesh: backbone, securityPolicy: baseline}}
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {{name: workers, labels: {{role: worker}}}}
spec: {{lab: {{count: {nodes}}}}}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {{name: backbone}}
spec: {{cidrs: [10.88.0.0/16, "fd88:5b2a::/64"], persistentKeepalive: 25}}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {{name: baseline}}
spec: {{network: {{flows: [{{name: ray, ports: [6379]}}]}}}}
"""

FLEET_STACK = """\
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: bench}
spec: {defaults: {cluster: core}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {name: core}
spec: {mesh: backbone, securityPolicy: baseline}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {name: backbone}
spec:
  cidrs: [10.88.0.0/16, "fd88:5b2a::/64"]
  topology: {regions: {gateways: {role: gateway}}}
  relays: {role: relay}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec: {network: {flows: [{name: ray, ports: [6379]}]}}
"""
POOL = """\
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {{name: {role}-{region}, labels: {{role: {role}}}}}
spec: {{region: r{region}, lab: {{count: {count}, nat: {nat}}}}}
"""


def fleet(nodes: int) -> str:
    """Declarations of regions of a hundred nodes; those that are over are workers of the first."""
    regions = nodes * REGIONS // FLEET
    each = nodes // regions
    documents = [FLEET_STACK]
    for region in range(regions):
        hidden = each // 5
        more = nodes - regions * each if region == 0 else 0
        counts = {"gateway": 2, "relay": 1, "hidden": hidden, "worker": each - 3 - hidden + more}
        documents += [
            POOL.format(role=role, region=region, count=count, nat=str(role == "hidden").lower())
            for role, count in counts.items()
        ]
    return "".join(documents)


def fleet_once(nodes: int) -> dict[str, Any]:
    """Runs in the child: a fleet compiled, its digest, and the plan of one node more than was applied."""
    from swarmctl.engine.changes import Context, changes, places
    from swarmctl.engine.events import Gathered, Moment, Op, State, Step
    from swarmctl.graph.canonical import digests
    from swarmctl.graph.model import Address
    from swarmctl.kinds import expansion_order, resource_type
    from swarmctl.kinds.base import load
    from swarmctl.kinds.compile import compile_graph

    before, after = _load(fleet(nodes)), _load(fleet(nodes + 1))
    for kind in expansion_order():
        if kind.expand:
            load(kind.expand)
    applied = compile_graph(before.inventory, before.identity, lambda address: None)
    known = digests(applied)
    recorded = {address: resource.inputs for address, resource in applied.resources.items()}
    started = time.process_time()
    graph = compile_graph(after.inventory, after.identity, recorded.get)
    compiled = time.process_time() - started
    differing = [address for address, found in digests(graph).items() if known.get(address) != found]
    seconds = time.process_time() - started
    steps: dict[str, Step] = {}
    seen = _Seen(recorded)
    for address in differing:  # what the engine would tell; no work of ours
        resource = graph.resources[Address.parse(address)]
        old = recorded.get(resource.address)
        states = [State(seen(inputs), {}) if inputs else None for inputs in (old, resource.inputs)]
        steps[address] = Step(Moment.END, Op.UPDATE if old else Op.CREATE, address, resource.type, *states)
    started = time.process_time()
    plan = changes(Gathered(steps=steps), Context(resource_type, graph, places(graph, {})))
    seconds += time.process_time() - started
    return {
        "seconds": seconds,
        "compiled": compiled,
        "peak": _peak(),
        "changes": len(plan),
        "lines": sum(len(change.effects) for change in plan),
        "resources": len(graph.resources),
        "peers": sum(len(r.inputs["peers"]) for r in graph.resources.values() if r.type == "swarm:mesh:Peers"),
    }


class _Seen:
    """Inputs as the engine shows them: with the outputs of what is there, and unknown ones of what will be."""

    def __init__(self, recorded: Mapping[Any, Any]) -> None:
        self.recorded = recorded
        self.known: dict[int, Any] = {}
        """What stands in many inputs is replaced once."""

    def __call__(self, value: Any) -> Any:
        from swarmctl.graph.model import Ref
        from swarmctl.kinds.base import UNKNOWN

        if isinstance(value, Ref):
            return f"{value.address}.{value.property}" if value.address in self.recorded else UNKNOWN
        if not isinstance(value, (dict, list)):
            return value
        if id(value) not in self.known:
            mapping = isinstance(value, dict)
            self.known[id(value)] = {key: self(item) for key, item in value.items()} if mapping else [*map(self, value)]
        return self.known[id(value)]


def _load(text: str) -> Any:
    from swarmctl.operations.load import load_stack

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "stack.yaml").write_text(text)
        return load_stack(Path(folder))


def compile_once(nodes: int) -> dict[str, Any]:
    """Runs in the child: one compilation."""
    from swarmctl.graph.canonical import digest
    from swarmctl.kinds import expansion_order
    from swarmctl.kinds.base import load
    from swarmctl.kinds.compile import compile_graph

    stack = _load(STACK.format(nodes=nodes))
    for kind in expansion_order():
        if kind.expand:
            load(kind.expand)
    before = _peak()
    started = time.process_time()
    graph = compile_graph(stack.inventory, stack.identity, lambda address: None)
    compiled = time.process_time() - started
    digest(graph)
    seconds = time.process_time() - started
    peers = sum(len(r.inputs["peers"]) for r in graph.resources.values() if r.type == "swarm:mesh:Peers")
    if peers != nodes * (nodes - 1):
        raise AssertionError(f"{peers} peers")
    return {"seconds": seconds, "compiled": compiled, "peak": _peak(), "before": before}


def meshconf_once(nodes: int) -> dict[str, Any]:
    """Runs in the child: `wg-meshconf genconfig` for as many nodes."""
    from wg_meshconf.database_manager import KEY_TYPE

    program = Path(sys.executable).with_name("wg-meshconf")
    with tempfile.TemporaryDirectory() as folder:
        database = Path(folder) / "database.csv"
        with database.open("w", newline="") as file:
            writer = csv.DictWriter(file, KEY_TYPE.keys(), quoting=csv.QUOTE_ALL)
            writer.writeheader()
            for number in range(nodes):
                high, low = divmod(number + 1, 250)
                key = subprocess.run(["wg", "genkey"], capture_output=True, check=True, text=True).stdout.strip()
                writer.writerow(
                    {
                        "Name": f"workers-{number}",
                        "Address": f"10.88.{high}.{low}/16",
                        "Endpoint": f"172.20.{high}.{low}",
                        "ListenPort": 51820,
                        "PrivateKey": key,
                        "PersistentKeepalive": 25,
                    }
                )
        (Path(folder) / "out").mkdir()
        started = _children()
        subprocess.run(
            [program, "-d", database, "genconfig", "-o", Path(folder) / "out"], check=True, stdout=subprocess.DEVNULL
        )
        seconds = _children() - started
        written = len(list((Path(folder) / "out").iterdir()))
    if written != nodes:
        raise AssertionError(f"{written} files")
    return {"seconds": seconds, "peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024}


def _children() -> float:
    """CPU seconds of the processes that this one waited for."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _peak() -> float:
    """Peak resident memory of this process so far, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def child(what: str, nodes: int) -> dict[str, Any]:
    """One measurement in a process of its own."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", what, str(nodes)], stdout=subprocess.PIPE, check=True, text=True
    )
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def best(nodes: int, rounds: int = 3, what: str = "swarmctl") -> dict[str, Any]:
    """The quickest of some rounds: the others were disturbed."""
    return min((child(what, nodes) for _ in range(rounds)), key=lambda found: found["seconds"])


def whole_fleet() -> bool:
    """Print the figures of the fleet in regions; whether it keeps its bounds."""
    found = best(FLEET, what="fleet")
    ok = found["seconds"] <= FLEET_SECONDS and found["peak"] <= FLEET_MEBIBYTES
    print(
        f"{FLEET:,} nodes in {REGIONS} regions with relays: {found['seconds']:.2f} s (graph {found['compiled']:.2f} s, "
        f"then digests and the plan of one more node), peak {found['peak']:.0f} MiB: "
        f"at most {FLEET_SECONDS:.0f} s and {FLEET_MEBIBYTES:.0f} MiB: {'ok' if ok else 'OVER'}"
    )
    print(
        f"  {found['resources']:,} resources with {found['peers']:,} peers; "
        f"one more node changes {found['changes']:,}, told in {found['lines']:,} lines"
    )
    return ok


def main() -> int:
    """Print the ratios; 1 when a bound is broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--full", action="store_true", help="1,000 nodes for wg-meshconf too")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        what, nodes = arguments.child
        run = {"swarmctl": compile_once, "fleet": fleet_once, "wg-meshconf": meshconf_once}[what]
        print(json.dumps(run(int(nodes))))
        return 0

    whole = best(NODES)
    ok = whole["seconds"] <= SECONDS and whole["peak"] <= MEBIBYTES
    print(
        f"full mesh of {NODES:,} nodes: {whole['seconds']:.2f} s (graph {whole['compiled']:.2f} s, digest the rest), "
        f"peak {whole['peak']:.0f} MiB of which {whole['before']:.0f} before: "
        f"at most {SECONDS:.0f} s and {MEBIBYTES:.0f} MiB: {'ok' if ok else 'OVER'}"
    )

    per_peer = {n: best(n)["seconds"] / (n * (n - 1)) for n in (250, 500)} | {
        NODES: whole["seconds"] / (NODES * (NODES - 1))
    }
    growth = per_peer[NODES] / per_peer[250]
    figures = ", ".join(f"{n:,} nodes {seconds * 1e6:.2f} µs" for n, seconds in per_peer.items())
    print(f"per peer of a node: {figures}: ratio {growth:.2f} (at most {GROWTH:.0f}) ", end="")
    print("ok" if growth <= GROWTH else "OVER")

    compared = NODES if arguments.full else 300
    if shutil.which("wg") is None:
        print("wg-meshconf is not compared: `wg` is not installed")
    else:
        other, own = child("wg-meshconf", compared), whole if compared == NODES else best(compared)
        print(
            f"wg-meshconf, {compared:,} nodes: {other['seconds']:.1f} s, peak {other['peak']:.0f} MiB; "
            f"swarmctl {own['seconds']:.2f} s, {own['peak']:.0f} MiB: ratio {other['seconds'] / own['seconds']:.0f}"
        )
    return 0 if whole_fleet() and ok and growth <= GROWTH else 1


if __name__ == "__main__":
    sys.exit(main())
