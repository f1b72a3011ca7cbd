"""The user's own keys: used here or by the agent, never copied, and shown to nobody."""

from __future__ import annotations

import asyncio
import errno
import os
import stat
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.hosts import public_keys


async def pairs(address: Address, stack: AsyncExitStack) -> Sequence[asyncssh.SSHKeyPair]:
    """What to log in with; keys of an agent work for as long as `stack` is open. Raises `HostRefused`."""
    certificate = None
    if address.certificate:
        certificate = await asyncio.to_thread(_certificate, address.certificate)
    if address.key and not address.key.endswith(".pub"):
        private = await asyncio.to_thread(_private, address.key)
        found: Sequence[asyncssh.SSHKeyPair] = asyncssh.load_keypairs([private])
    else:
        found = await _of_agent(address, stack)
    if certificate is None:
        return found
    for pair in found:
        if pair.key_public_data == certificate.key.public_data:
            pair.set_certificate(certificate)
            return [pair]
    raise HostRefused(
        f"the certificate {address.certificate} is for another key than {address.key or 'those of the SSH agent'}",
        "declare the certificate and the key that belong together",
    )


_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_HOST_KEYS = ("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", *_RSA)


def kinds(pinned: Sequence[asyncssh.SSHKey]) -> list[str]:
    """The kinds of host key to ask for: those that are pinned before all others, which are asked for so that the error
    can say what the server has."""
    own = [kind for key in pinned for kind in (_RSA if key.get_algorithm() == "ssh-rsa" else (key.get_algorithm(),))]
    return list(dict.fromkeys([*own, *_HOST_KEYS]))


def host_keys(address: Address) -> list[asyncssh.SSHKey]:
    """The pinned ones. Raises `HostRefused` for what is no public key."""
    try:
        return [asyncssh.import_public_key(key) for key in address.host_keys]
    except asyncssh.KeyImportError:
        raise HostRefused(
            f"{address}: a declared host key is no public key",
            "declare it as `ssh-keyscan` prints it without the name: `ssh-ed25519 AAAA…`",
        ) from None


def _read(path: str) -> tuple[bytes, int]:
    """What is in a file of keys, and its mode. Raises OSError; never waits, as for whoever writes to a pipe."""
    try:
        file = Path(path).expanduser()
    except RuntimeError:
        raise OSError(errno.ENOENT, "no such home folder") from None
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):  # looked at first: of a folder no stream can be made, and nobody would close it
            raise OSError(errno.EINVAL, "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file")
        with open(descriptor, "rb", closefd=False) as stream:
            return stream.read(1 << 16), mode
    finally:
        os.close(descriptor)


def _private(path: str) -> asyncssh.SSHKey:
    try:
        text, mode = _read(path)
        # What is no key is another's file: nobody should be told to change its rights.
        if stat.S_IMODE(mode) & 0o077 and public_keys.may_be_private(text):
            raise HostRefused(f"the private key {path} can be read by others", f"`chmod 600 {path}`")
        return asyncssh.import_private_key(text)
    except OSError as error:
        raise HostRefused(f"the private key {path} can't be read: {error.strerror}", "declare where it is") from None
    except (asyncssh.KeyEncryptionError, asyncssh.KeyImportError) as error:
        if "assphrase" in str(error):
            raise HostRefused(
                f"the private key {path} has a passphrase",
                f"add it to the SSH agent with `ssh-add {path}`, and declare {path}.pub as the key",
            ) from None
        raise HostRefused(f"{path} is no private key", "declare the file that `ssh-keygen` made") from None


def _public(path: str) -> bytes:
    try:
        return asyncssh.import_public_key(_read(path)[0]).public_data
    except OSError as error:
        raise HostRefused(f"the public key {path} can't be read: {error.strerror}", "declare where it is") from None
    except asyncssh.KeyImportError:
        raise HostRefused(f"{path} is no public key", "declare the `.pub` file that `ssh-keygen` made") from None


def _certificate(path: str) -> asyncssh.SSHCertificate:
    try:
        return asyncssh.import_certificate(_read(path)[0])
    except OSError as error:
        raise HostRefused(f"the certificate {path} can't be read: {error.strerror}", "declare where it is") from None
    except (asyncssh.KeyImportError, ValueError):
        raise HostRefused(f"{path} is no OpenSSH certificate", "declare the `-cert.pub` file") from None


async def _of_agent(address: Address, stack: AsyncExitStack) -> Sequence[asyncssh.SSHKeyPair]:
    path = address.agent or os.environ.get("SSH_AUTH_SOCK", "")
    if not path:
        raise HostRefused(
            f"there is no SSH agent to log in to {address} with",
            "start one and `ssh-add` the key, or declare a key file",
        )
    wanted = None
    if address.key:
        wanted = await asyncio.to_thread(_public, address.key)
    try:
        agent = await stack.enter_async_context(await asyncssh.connect_agent(path))
        found = [pair for pair in await agent.get_keys() if wanted in (None, pair.key_public_data)]
    except (OSError, ValueError, asyncssh.Error):
        raise HostRefused(f"the SSH agent at {path} does not answer", "start it, or declare a key file") from None
    if not found:
        missing = f"the key {address.key}" if address.key else "no key"
        raise HostRefused(
            f"the SSH agent {'does not have' if address.key else 'has'} {missing}",
            "`ssh-add` the key that logs in there",
        )
    return found
