"""Machines over SSH for a test: real sshd, each in namespaces and a tree of its own, on one switch; `swarmctl` runs
beside the switch. Gone afterwards, with everything that was done on them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.backends.ssh import servers, unpacked
from tests.integration import lab as labs

NETWORK = "10.201.7"
HERE = f"{NETWORK}.1"
"""Where swarmctl is, if it is not said to be elsewhere."""
CLUSTER = """\
apiVersion: swarmctl/v1alpha1
kind: Stack
metadata: {name: metal}
spec:
  defaults: {cluster: core, region: eu-central}
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
  cidrs: [10.88.0.0/16]
  confirmWithin: 20s
---
apiVersion: swarmctl/v1alpha1
kind: SecurityPolicy
metadata: {name: baseline}
spec:
  network:
    flows:
      - {name: traffic, from: {}, to: {}, ports: [7946]}
"""


@dataclass(frozen=True)
class Console:
    """A machine as root has it who sits in front of it."""

    way: tuple[str, ...]

    def run(
        self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 60
    ) -> subprocess.CompletedProcess[bytes]:
        """A command there, to its end."""
        return subprocess.run([*self.way, *argv], input=stdin, capture_output=True, check=False, timeout=timeout)


@dataclass
class Fleet(labs.Lab):
    """A stack of such machines."""

    switch: int = 0
    servers: dict[str, servers.Server] = field(default_factory=dict)
    key: Path = Path()
    program: tuple[str, ...] = ("-m", "swarmctl")
    """What Python runs as the command line."""

    def start(self, *args: str, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]:
        """See `Lab.start`; beside the switch."""
        command = [sys.executable, *self.program, "-C", str(self.stack), *args]
        return subprocess.Popen(
            ["nsenter", "-t", str(self.switch), "-n", "--", *command],
            env=self.env,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            cwd=self.root,
        )

    def host(self, name: str, **more: object) -> dict[str, object]:
        """The entry of a machine under `ssh.hosts`."""
        server = self.servers[name]
        return {"name": name, "address": server.address, "hostKeys": [server.host_key], **more}

    def declare(self, *hosts: Mapping[str, object], pool: Mapping[str, object] | None = None, **ssh: object) -> None:
        """Write the pool of these machines; `ssh` is what stands beside `hosts`, `pool` beside `ssh`."""
        spec = {**(pool or {}), "ssh": {"user": "worker", "key": str(self.key), **ssh, "hosts": list(hosts)}}
        document = {
            "apiVersion": "swarmctl/v1alpha1",
            "kind": "NodePool",
            "metadata": {"name": "metal", "labels": {"role": "worker"}},
            "spec": spec,
        }
        (self.stack / "pool.yaml").write_text(yaml.safe_dump(document, sort_keys=False))

    def inside(self, name: str, script: str, *, check: bool = True) -> str:
        """Run a script as root of the machine, by its console and not over SSH."""
        done = self.console(name).run(["sh", "-c", script])
        said = done.stdout.decode(errors="replace")
        assert not check or done.returncode == 0, f"{script}\n{said}\n{done.stderr.decode(errors='replace')}"
        return said

    def until_begun(self, running: subprocess.Popen[str], names: Sequence[str], within: float) -> None:
        """Wait so many seconds until the slow script of a package has begun on each of these, while a command runs."""
        deadline = time.monotonic() + within
        for name in names:
            while not self.inside(name, "ls /srv/began 2>/dev/null", check=False):
                assert running.poll() is None
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def console(self, name: str) -> Console:
        """That of a machine."""
        (child,) = self._child(self.servers[name].process.pid)
        return Console(("nsenter", "-t", str(child), "-a", "-r", "--wdns=/", "--"))

    @staticmethod
    def _child(pid: int) -> Sequence[int]:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]

    def left(self, name: str) -> str:
        """What of swarmctl's is on a machine."""
        return self.inside(
            name,
            "ls -d /etc/swarmctl /run/swarmctl /var/lib/swarmctl/* /var/log/swarmctl/* "
            "/etc/systemd/system/swarmctl-* 2>/dev/null; "
            "ip -br link | grep wg; nft list tables; ps -eo args | grep '^wireguard-go'",
            check=False,
        )


def require() -> None:
    """Skip where no such machines can be had."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "-mnpf", "true"], check=False).returncode:
        pytest.skip("namespaces of root can't be made here")
    try:
        unpacked.tree()
    except unpacked.Unavailable as error:
        pytest.skip(str(error))
    missing = [tool for tool in ("nft", "wg", "nsenter") if shutil.which(tool) is None]
    if missing:
        pytest.skip(f"not installed: {', '.join(missing)}")


@contextmanager
def fleet(root: Path, names: Sequence[str], *, systemd: Sequence[str] = (), here: str = HERE) -> Iterator[Fleet]:
    """Machines with these names, declared in one pool; swarmctl is at `here`, they are at .11 and so on."""
    require()
    key = root / "key"
    servers.keygen(key)
    lab = labs.make(root)
    shutil.rmtree(lab.stack)
    lab.stack.mkdir()
    (lab.stack / "cluster.yaml").write_text(CLUSTER)
    with ExitStack() as stack:
        switch = stack.enter_context(servers.switched(here))
        made = Fleet(lab.root, lab.stack, lab.env, switch=switch, key=key)
        for number, name in enumerate(names, 11):
            plug = servers.Plug(switch, name, f"{here.rpartition('.')[0]}.{number}")
            serving = servers.serving(root / name, systemd=name in systemd, plug=plug, key=key)
            made.servers[name] = stack.enter_context(serving)
        made.declare(*(made.host(name) for name in names))
        yield made
