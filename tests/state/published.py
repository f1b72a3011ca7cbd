"""States and leases to test the store with: no engine, no other process."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from swarmctl.errors import LeaseLost
from swarmctl.state import lease_files
from swarmctl.state.checkpoint import SECRET, SIGNATURE
from swarmctl.state.holder import me
from swarmctl.state.lease_rules import Party, Record
from swarmctl.state.model import Holder
from swarmctl.state.passphrase import Crypter
from swarmctl.state.store import Store

BASE = "urn:pulumi:lab::swarmctl"


@dataclass
class Lease:
    """The lease of this very process, without heartbeat."""

    folder: Path
    token: int
    holder: Holder = field(default_factory=me)

    def take(self) -> Lease:
        with lease_files.locked(self.folder, create=True):
            lease_files.write(self.folder, Record(self.token, Party(str(self.token), self.holder)), sync=True)
        return self

    def give_back(self) -> None:
        with lease_files.locked(self.folder):
            lease_files.write(self.folder, Record(self.token), sync=True)

    def check(self) -> None:
        record = lease_files.read(self.folder)
        if record is None or record.token != self.token:
            raise LeaseLost("another run has taken the stack over")

    @contextlib.contextmanager
    def guard(self) -> Iterator[None]:
        with lease_files.locked(self.folder):
            self.check()
            yield


def leased(store: Store, token: int) -> Any:
    return Lease(store.folder, token).take()


def resource(name: str, **more: Any) -> dict[str, Any]:
    return {
        "urn": f"{BASE}::swarm:mesh:Peers::mesh/{name}",
        "custom": True,
        "id": f"mesh/{name}",
        "type": "swarm:mesh:Peers",
        "inputs": {"n": 1},
        "outputs": {"key": name},
        **more,
    }


def checkpoint(*resources: dict[str, Any], salt: str = "") -> dict[str, Any]:
    latest: dict[str, Any] = {"manifest": {"time": "2026-01-01T00:00:00Z"}, "resources": list(resources)}
    if salt:
        latest["secrets_providers"] = {"type": "passphrase", "state": {"salt": salt}}
    return {"version": 3, "checkpoint": {"stack": "organization/swarmctl/lab", "latest": latest}}


def secret(crypter: Crypter, value: Any) -> dict[str, Any]:
    return {SIGNATURE: SECRET, "ciphertext": crypter.encrypt(json.dumps(value))}


def names(store: Store) -> set[str]:
    return {address.removeprefix("mesh/") for address in store.snapshot().resources}
