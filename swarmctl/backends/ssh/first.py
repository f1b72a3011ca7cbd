"""The first look at a server that nobody knows yet: which host key it shows. Nothing is trusted by that."""

from __future__ import annotations

import asyncio

from swarmctl.backends.base import HostUnreachable
from swarmctl.backends.ssh import keys, transport
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import Seen, connecting
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.backends.ssh.transport import Transport


def host_key(name: str, address: Address, through: Transport | None = None) -> str:
    """The key that the server identifies itself with now, as `KIND BASE64`; Ed25519 where it has one.

    Nobody logs in there. A jump host on the way is logged in to, by the keys that are pinned for it. Raises
    `HostUnreachable`.
    """
    connections = through or transport.shared()
    return connections.submit(_host_key(name, address, connections))


async def _host_key(name: str, address: Address, connections: Transport) -> str:
    tunnel = None
    if address.jump is not None:
        tunnel = await connections.connected(f"{name}: its jump host {address.jump}", address.jump)
    try:
        async with asyncio.timeout(connections.patience):
            found = await asyncssh.get_server_host_key(
                address.host, address.port, tunnel=tunnel, config=None, server_host_key_algs=keys.kinds([])
            )
    except Exception as error:  # noqa: BLE001  every way in which it fails gets its words in one place
        raise connecting(name, address, error, Seen(), connections.patience) from None
    if found is None:
        raise HostUnreachable(f"{name} ({address}) shows no host key", "see whether an SSH server listens there")
    kind, key = found.export_public_key("openssh").decode("ascii").split()[:2]
    return f"{kind} {key}"
