"""What many SSH hosts cost: swarmctl's whole commands, plain `ssh` beside them, and pyinfra on the same hosts.

Each host is a real sshd at an address of its own in front of a network and a tree of its own (`bench/fleet/`), all of
them on this computer, in namespaces that are gone afterwards. All are in one mesh around a hub, behind a firewall, with
a user, a sysctl and a package declared. What the hosts themselves do, logins first of all, is part of every figure.

- `facts` and the first `plan` of all hosts: together at most 60 s, and 1 GB for all processes of swarmctl (resident
  memory, shared pages counted for each).
- `apply`, and another one, which must write nothing on any host: all files of all trees are compared.
- `ssh` that runs the script of `facts` on the same hosts, as many at a time as swarmctl logs in to: at most 1.3 times
  that for `facts`, whose own start and table are counted.
- pyinfra (a process of its own, since it needs gevent): facts alike, and the second run of operations alike, beside the
  second `apply`; of at most 100 hosts.

usage: hosts.py [HOSTS]    100 by default; the 60 s are for 1,000. Needs root
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path[:0] = [str(ROOT)]

from bench import fleet  # noqa: E402
from bench.spine import Measured, measure  # noqa: E402
from swarmctl.backends.ssh.transport import Limits  # noqa: E402
from swarmctl.hosts.system import READING  # noqa: E402

SECONDS, MEGABYTES, RATIO = 60.0, 1000.0, 1.3
DEFAULT = 100
BIN = Path(sys.executable).parent
_HUB = ", labels: {role: hub}"
_STACK = """\
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {{name: fleet}}
---
apiVersion: swarmctl/v1alpha1
kind: Cluster
metadata: {{name: core}}
spec: {{mesh: backbone, securityPolicy: baseline}}
---
apiVersion: swarmctl/v1alpha1
kind: Mesh
metadata: {{name: backbone}}
spec:
  cidrs: [10.88.0.0/16]
  topology: {{hubs: {{select: {{role: hub}}}}}}
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {{name: baseline}}
spec:
  network:
    flows: [{{name: web, from: {{}}, to: {{}}, ports: [8080]}}]
---
apiVersion: swarmctl/v1alpha1
kind: HostBaseline
metadata: {{name: all}}
spec:
  nodes: {{}}
  packages: {{curl: present}}
  sysctl: {{net.ipv4.tcp_keepalive_time: 600}}
  users: [{{name: bench-ops, shell: /bin/bash, authorizedKeys: [{public}]}}]
---
apiVersion: swarmctl/v1alpha1
kind: NodePool
metadata: {{name: metal}}
spec:
  cluster: core
  region: here
  ssh:
    user: root
    key: {key}
    hosts:
{hosts}"""
_DEPLOY = """\
from pyinfra.operations import apt, server

server.user(name="user", user="bench-ops", shell="/bin/bash", public_keys=[{public!r}])
apt.packages(packages=["curl"])
server.sysctl(key="net.ipv4.tcp_keepalive_time", value=600, persist=True, persist_file="/etc/sysctl.d/bench.conf")
"""
_FACTS = ("server.LinuxDistribution", "server.Kernel", "hardware.Cpus", "hardware.Memory", "hardware.BlockDevices")


def main(arguments: Sequence[str]) -> int:
    """Measure, print, judge."""
    fleet.enter()
    count = int(arguments[0]) if arguments else DEFAULT
    with fleet.serving(count) as hosts, tempfile.TemporaryDirectory(prefix="swarmctl-bench-") as name:
        folder = Path(name)
        ours = _ours(folder, hosts)
        beside = _ssh(hosts)
        print(f"{'ssh, the script of facts':34}{beside:8.1f} s", flush=True)
        theirs = _pyinfra(folder, hosts) if count <= DEFAULT else {}
    missed = []
    looked = ours["facts"].seconds + ours["plan"].seconds
    if looked > SECONDS and count == fleet.MOST:
        missed.append(f"facts and plan {looked:.1f} s, target {SECONDS:.0f} s")
    if (most := max(one.together for one in ours.values())) > MEGABYTES:
        missed.append(f"{most:.0f} MB, target {MEGABYTES:.0f} MB")
    ratio = ours["facts"].seconds / beside
    print(f"\nfacts beside plain ssh: {ratio:.2f} (at most {RATIO})")
    if ratio > RATIO:
        missed.append(f"facts take {ratio:.2f} times as long as plain ssh, target {RATIO}")
    for what, seconds in theirs.items():
        print(f"{what} beside pyinfra: {ours[what].seconds / seconds:.2f}")
    for line in missed:
        print(f"missed: {line}")
    return int(bool(missed))


def _ours(folder: Path, hosts: fleet.Fleet) -> dict[str, Measured]:
    """Each step by its name. Raises AssertionError when the second apply has written anything anywhere."""
    (folder / "stack").mkdir()
    lines = [
        f"      - {{name: h{number}, address: {address}, hostKeys: [{key}]{_HUB if number == 0 else ''}}}\n"
        for number, (address, key) in enumerate(zip(hosts.addresses, hosts.host_keys, strict=True))
    ]
    (folder / "stack/stack.yaml").write_text(
        _STACK.format(key=hosts.key, public=hosts.public, hosts="".join(lines)), "utf-8"
    )
    environment = os.environ | {"XDG_DATA_HOME": str(folder / "data")}
    found: dict[str, Measured] = {}
    before: dict[str, dict[str, tuple[int, int]]] = {}
    for step, command in {
        "facts": ["facts", "--refresh", "--format", "json"],
        "plan": ["plan"],
        "apply": ["apply", "--yes"],
        "second apply": ["apply", "--yes"],
    }.items():
        found[step] = measure([str(BIN / "swarmctl"), "-C", str(folder / "stack"), *command], environment, folder)
        print(f"{step:34}{found[step].seconds:8.1f} s{found[step].together:8.0f} MB", flush=True)
        written = {address: hosts.written(address) for address in hosts.addresses}
        for one in written.values():
            one.pop("run", None)  # a call's input lies there until it has all arrived; files that stay are seen
        if step == "second apply":
            moved = {address: sorted(written[address].items() ^ before[address].items()) for address in hosts.addresses}
            assert not any(moved.values()), f"the second apply has written: {next(filter(None, moved.values()))}"
        before = dict(written)
    return found


def _ssh(hosts: fleet.Fleet) -> float:
    """Seconds for `ssh` to run the script of facts everywhere."""
    known = hosts.folder / "known_hosts"
    known.write_text("".join(f"{one} {key}\n" for one, key in zip(hosts.addresses, hosts.host_keys, strict=True)))
    options = ["-F", "none", "-o", f"UserKnownHostsFile={known}", "-o", "BatchMode=yes", "-i", str(hosts.key)]
    script = READING.argv[2].encode()

    def one(address: str) -> int:
        command = ["ssh", *options, f"root@{address}", "sh -s"]
        done = subprocess.run(command, input=script, capture_output=True, check=True)
        return len(done.stdout)

    started = time.perf_counter()
    with ThreadPoolExecutor(Limits().logins) as pool:
        printed = list(pool.map(one, hosts.addresses))
    assert min(printed) > 1000, "every host has told what it is"
    return time.perf_counter() - started


def _pyinfra(folder: Path, hosts: fleet.Fleet) -> dict[str, float]:
    """Seconds by the step of ours that stands beside it; empty where pyinfra is not installed."""
    program = BIN / "pyinfra"
    if not program.exists():
        print("pyinfra is not installed (scripts/setup bench): left out")
        return {}
    about = {"ssh_user": "root", "ssh_key": str(hosts.key), "ssh_known_hosts_file": str(hosts.folder / "known_hosts")}
    inventory, deploy = folder / "inventory.py", folder / "deploy.py"
    inventory.write_text(f"hosts = [(name, {about!r}) for name in {list(hosts.addresses)!r}]\n")
    deploy.write_text(_DEPLOY.format(public=hosts.public))
    common = [str(program), "--parallel", str(Limits().commands), "-y", str(inventory)]
    found = {}
    for step, words in (("facts", ["fact", *_FACTS]), ("", [str(deploy)]), ("second apply", [str(deploy)])):
        measured = measure([*common, *words], dict(os.environ), folder)
        print(
            f"{'pyinfra, ' + (step or 'first run'):34}{measured.seconds:8.1f} s{measured.together:8.0f} MB", flush=True
        )
        if step:
            found[step] = measured.seconds
    return found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
