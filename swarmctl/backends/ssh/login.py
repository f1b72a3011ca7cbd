"""One connection to one server: its host key compared, the user's key shown, nothing else offered."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from swarmctl.backends.ssh import keys
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import Seen, connecting
from swarmctl.backends.ssh.library import asyncssh

PATIENCE = 20.0
"""Seconds that a connection may take to come about, login included."""
KEEPALIVE = 15.0
"""Seconds without a word after which the server is asked for one; after three of them it counts as gone."""

asyncssh.set_log_level("CRITICAL")  # whatever matters comes as an error; what servers say is not for the terminal


class _Login(asyncssh.SSHClient):
    """Notices what the server does and asks for, and never gives it more than a key."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen

    def validate_host_public_key(self, host: str, addr: str, port: int, key: asyncssh.SSHKey) -> bool:
        self._seen.host_key = f"{key.get_algorithm()} {key.get_fingerprint()}"
        return False

    def public_key_auth_requested(self) -> None:
        self._seen.keys_tried += 1  # the server does take keys; those there were have all been shown

    def password_auth_requested(self) -> None:
        self._seen.asks.add("password")

    def kbdint_auth_requested(self) -> None:
        self._seen.asks.add("password")


async def connect(
    name: str, address: Address, tunnel: asyncssh.SSHClientConnection | None, patience: float = PATIENCE
) -> asyncssh.SSHClientConnection:
    """A connection that is logged in; `name` is for errors.

    No configuration, agent or key of the user's is taken that isn't declared. Raises `HostUnreachable`, and
    `HostRefused` for what does not pass by itself.
    """
    seen = Seen()
    try:
        async with AsyncExitStack() as stack, asyncio.timeout(patience):
            trusted = keys.host_keys(address)
            return await asyncssh.connect(
                address.host,
                address.port,
                tunnel=tunnel,
                config=None,
                username=address.user,
                known_hosts=(trusted, [], []),
                server_host_key_algs=keys.kinds(trusted),
                client_factory=lambda: _Login(seen),
                client_keys=await keys.pairs(address, stack),
                agent_path=None,
                preferred_auth=("publickey", "keyboard-interactive", "password"),
                x509_trusted_certs=None,
                gss_host=None,
                compression_algs=None,
                login_timeout=patience,
                keepalive_interval=KEEPALIVE,
                keepalive_count_max=3,
            )
    except Exception as error:  # noqa: BLE001  every way in which it fails gets its words in one place
        raise connecting(name, address, error, seen, patience) from None
