"""One connection to one server: its host key compared, the user's key shown, nothing else offered."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, nullcontext

from swarmctl.backends.ssh import certificates, keys
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
    name: str,
    address: Address,
    tunnel: asyncssh.SSHClientConnection | None,
    patience: float = PATIENCE,
    place: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
) -> asyncssh.SSHClientConnection:
    """A connection that is logged in; `name` is for errors.

    `place` is entered for the login itself: not while a server, reached without a tunnel, has said nothing so far.
    Waiting to enter it takes nothing of `patience`, in seconds. No configuration, agent or key of the user's is taken
    that isn't declared. Raises `HostUnreachable`, and `HostRefused` for what does not pass by itself.
    """
    seen = Seen()
    clock = asyncio.get_running_loop().time
    begun = clock()
    try:
        async with AsyncExitStack() as stack:
            unused = stack.enter_context(ExitStack())
            async with asyncio.timeout(patience):
                trusted = keys.host_keys(address)
                pairs = await keys.pairs(address, stack)
                spoken = None if tunnel else await _spoken(address, unused)
            left = patience - (clock() - begun)
            async with place(), asyncio.timeout(left):
                unused.pop_all()  # from here on it belongs to the connection
                return await _login(address, seen, trusted, pairs, spoken or tunnel, patience)
    except Exception as error:  # noqa: BLE001  every way in which it fails gets its words in one place
        if address.certificate and isinstance(error, asyncssh.PermissionDenied):
            seen.refusal = await asyncio.to_thread(certificates.refusal, address)
        raise connecting(name, address, error, seen, patience) from None


async def _login(
    address: Address,
    seen: Seen,
    trusted: Sequence[asyncssh.SSHKey],
    pairs: Sequence[asyncssh.SSHKeyPair],
    over: socket.socket | asyncssh.SSHClientConnection | None,
    patience: float,
) -> asyncssh.SSHClientConnection:
    sock, tunnel = (over, None) if isinstance(over, socket.socket) else (None, over)
    return await asyncssh.connect(
        address.host,
        address.port,
        sock=sock,
        tunnel=tunnel,
        config=None,
        username=address.user,
        known_hosts=(trusted, [], []),
        server_host_key_algs=keys.kinds(trusted),
        client_factory=lambda: _Login(seen),
        client_keys=pairs,
        agent_path=None,
        preferred_auth=("publickey", "keyboard-interactive", "password"),
        x509_trusted_certs=None,
        gss_host=None,
        compression_algs=None,
        login_timeout=patience,
        keepalive_interval=KEEPALIVE,
        keepalive_count_max=3,
    )


async def _spoken(address: Address, unused: ExitStack) -> socket.socket:
    """A TCP connection on which the server has begun to speak, as SSH's do unasked (RFC 4253, section 4.2), or has hung
    up. `unused` closes it. Raises OSError."""
    loop = asyncio.get_running_loop()
    failed: OSError | None = None
    for family, kind, protocol, _, place in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        sock = unused.enter_context(socket.socket(family, kind, protocol))
        sock.setblocking(False)
        try:
            await loop.sock_connect(sock, place)
        except OSError as error:
            sock.close()
            failed = failed or error
            continue
        await _readable(sock)
        return sock
    raise failed or OSError(errno.EHOSTUNREACH, os.strerror(errno.EHOSTUNREACH))


async def _readable(sock: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    heard = asyncio.Event()
    loop.add_reader(sock, heard.set)
    try:
        await heard.wait()
    finally:
        loop.remove_reader(sock)
