"""Where a machine is reached, as whom, and by which host keys it is known. Plain data; imports no SSH."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

PORT = 22


@dataclass(frozen=True, slots=True)
class Address:
    """One SSH server and the way to log in there; also the key under which its connection is kept."""

    host: str
    """Name or address."""
    user: str
    host_keys: tuple[str, ...]
    """What the server may identify itself with, in OpenSSH's form (`ssh-ed25519 AAAA…`); any other key is refused."""
    port: int = PORT
    key: str = ""
    """File of the private key. Empty: the keys of the SSH agent; a `.pub` file: that one of the agent's keys."""
    certificate: str = ""
    """File of the OpenSSH certificate that goes with the key."""
    agent: str = ""
    """Socket of the agent; empty for `$SSH_AUTH_SOCK`."""
    jump: Address | None = None
    """The server that the connection goes through; it logs in by its own rules and sees only ciphertext."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}" + ("" if self.port == PORT else f":{self.port}")

    @property
    def jumps(self) -> tuple[Address, ...]:
        """The servers on the way, the nearest first."""
        return () if self.jump is None else (*self.jump.jumps, self.jump)

    @classmethod
    def load(cls, data: Mapping[str, Any]) -> Address:
        """From a machine's `host` input. Raises KeyError without `address`, `user` or `hostKeys`."""
        jump = data.get("jump")
        return cls(
            host=data["address"],
            user=data["user"],
            host_keys=tuple(data["hostKeys"]),
            port=data.get("port", PORT),
            key=data.get("key", ""),
            certificate=data.get("certificate", ""),
            agent=data.get("agent", ""),
            jump=None if jump is None else cls.load(jump),
        )
