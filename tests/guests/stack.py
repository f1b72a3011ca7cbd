"""A stack with a guest and a machine in namespaces, on one switch: the real command line, over SSH, to both."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from tests.integration import fleet
from tests.integration.fleet import Fleet

from . import lan, machine, patient
from .machine import Guest

HERE = "198.51.100.2"
"""Where swarmctl is; the guest has .1 (`image.LAN`)."""
NAME, OTHER = "metal", "n1"
"""The guest's node, and the one beside it, which has no systemd."""
CONFIRM = ("confirmWithin: 20s", "confirmWithin: 2m")
"""A guarded change itself takes longer than 20 s where the guest is emulated, and would be undone in the middle."""


class Stack:
    """Both machines, and swarmctl."""

    def __init__(self, made: Fleet, guest: Guest) -> None:
        self.guest = guest
        self.fleet = made

    def entry(self, **more: Any) -> dict[str, Any]:
        """The guest's entry under `ssh.hosts`: not root's, but of one who may use sudo."""
        key = {"hostKeys": [machine.host_key(self.guest.image)], "user": "ops", "key": str(self.guest.image / "key")}
        return {"name": NAME, "address": "198.51.100.1", "labels": {"real": "true"}, **key, **more}

    def declare(self, *, pool: dict[str, Any] | None = None, **more: Any) -> None:
        """Both machines in one pool; `more` of the guest's entry."""
        self.fleet.declare(self.fleet.host(OTHER), self.entry(**more), pool=pool)

    def write_pool(self, name: str, spec: dict[str, Any]) -> None:
        """One more pool."""
        head = {"apiVersion": "swarmctl/v1alpha1", "kind": "NodePool"}
        document = {**head, "metadata": {"name": name, "labels": {"role": "worker"}}, "spec": spec}
        self.write(f"{name}.yaml", yaml.safe_dump(document, sort_keys=False))

    def write(self, name: str, text: str) -> None:
        """One more file of the declaration."""
        (self.fleet.stack / name).write_text(text)

    def on_other(self, script: str) -> str:
        """As root of the machine beside the guest."""
        return self.fleet.inside(OTHER, script)

    def beside(self, *command: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """A command where swarmctl is."""
        words = ["nsenter", "-t", str(self.fleet.switch), "-n", *command]
        return subprocess.run(words, capture_output=True, text=True, check=False, timeout=timeout)


@contextmanager
def together(root: Path, guest: Guest) -> Iterator[Stack]:
    """A pool of the guest and one more, not applied yet."""
    with fleet.fleet(root, [OTHER], here=HERE) as made, lan.plugged(made.switch, guest.lan, bridge="br0"):
        made.program = ("-P", patient.__file__)
        made.edit("cluster.yaml", *CONFIRM)
        stack = Stack(made, guest)
        stack.declare()
        yield stack
