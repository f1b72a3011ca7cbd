"""What can go wrong on the way to a machine, each as one error with its mend."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from copy import copy
from dataclasses import dataclass, field

from swarmctl.backends.base import HostUnreachable
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.certificates import Refusal
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.errors import SwarmError
from swarmctl.hosts.fence import one_line

_NO_WAY = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.EHOSTDOWN, errno.ENETDOWN, errno.EADDRNOTAVAIL, errno.EINVAL)


class HostRefused(HostUnreachable):
    """The machine answers, and will do so in the same way again until somebody mends it."""

    transient = False


class HostSilent(HostUnreachable):
    """Nothing came back for as long as anybody waits; trying again at once would only wait as long again."""

    transient = False


@dataclass(slots=True)
class Seen:
    """What was noticed while logging in, for the error that may come of it."""

    host_key: str = ""
    """Kind and fingerprint of a host key that is not pinned."""
    keys_tried: int = 0
    asks: set[str] = field(default_factory=set)
    """What the server would take instead of a key."""
    refusal: Refusal | None = None
    """What is wrong with the certificate that the server refused."""


def connecting(name: str, address: Address, error: BaseException, seen: Seen, patience: float) -> SwarmError:
    """The error for a connection that did not come about; `patience` is in seconds."""
    if isinstance(error, SwarmError):
        return error
    at = _at(name, address)
    if seen.host_key:
        return _wrong_host_key(at, address, seen)
    if isinstance(error, asyncssh.PermissionDenied):
        return _denied(at, address, seen)
    if isinstance(error, asyncssh.KeyExchangeFailed):
        return HostRefused(
            f"{at} and swarmctl have no way to encrypt in common: {one_line(error.reason)}", "update its sshd"
        )
    if isinstance(error, asyncssh.ChannelOpenError) and address.jump is not None:
        return HostUnreachable(
            f"{at} can't be reached from its jump host {address.jump}: {one_line(error.reason)}",
            "see whether the machine is up, and whether the jump host may forward connections to it "
            "(AllowTcpForwarding, PermitOpen in its sshd_config)",
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)):
        return HostSilent(
            f"{at} did not answer within {patience:g} s", "see whether it is up, and whether a firewall is in between"
        )
    if isinstance(error, ConnectionRefusedError):
        return HostUnreachable(
            f"{at} refuses connections to port {address.port}",
            "see whether sshd runs there, and whether `port` is the one it listens on",
        )
    if isinstance(error, socket.gaierror):
        return HostUnreachable(f"{at}: the name {address.host} is not known", "declare the right address")
    if isinstance(error, (asyncssh.ProtocolError, asyncssh.ProtocolNotSupported)):
        return HostRefused(f"{at}: what listens there does not speak SSH", "declare the port that sshd listens on")
    if isinstance(error, OSError) and error.errno in _NO_WAY:
        return HostUnreachable(
            f"{at} can't be reached: {os.strerror(error.errno).lower()}",
            "see whether it is up, whether `address` is right, and whether this computer has a route there",
        )
    if isinstance(error, (asyncssh.Error, OSError)):
        said = one_line(getattr(error, "reason", "") or getattr(error, "strerror", "") or "connection lost")
        return HostUnreachable(
            f"{at} closed the connection while logging in: {said}"
            if isinstance(error, asyncssh.Error)
            else f"{at} can't be reached: {os.strerror(error.errno) if error.errno else said}",
            "see whether the machine is up; its sshd may be turning connections away (MaxStartups, PerSourcePenalties)",
        )
    raise error


def _at(name: str, address: Address) -> str:
    return name if name.endswith(str(address)) else f"{name} ({address})"


def named(error: SwarmError, name: str, address: Address) -> SwarmError:
    """An error of `address` as that of the machine `name`, one of those that wait for the same connection."""
    place = str(address)
    rest = error.message.removeprefix(place)
    if rest == error.message or rest[:1] not in (" ", ":"):
        return error
    other = copy(error)
    other.message = f"{name if rest.startswith(': its jump host ') else _at(name, address)}{rest}"
    other.args = (other.message,)
    return other


def _wrong_host_key(at: str, address: Address, seen: Seen) -> SwarmError:
    if not address.host_keys:
        return HostRefused(
            f"{at} is not known: no host key is pinned; it shows {seen.host_key}",
            "compare that with `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the machine's own console, and "
            "declare the key",
        )
    return HostRefused(
        f"{at} shows another host key than the declared: {seen.host_key}",
        "either the machine was installed anew, or somebody stands in between: compare that with `ssh-keygen -lf "
        "/etc/ssh/ssh_host_ed25519_key.pub` on the machine's own console before you declare it",
    )


def _denied(at: str, address: Address, seen: Seen) -> SwarmError:
    asks = f"; it would take a {' or a '.join(sorted(seen.asks))}, which is never typed in" if seen.asks else ""
    if not seen.keys_tried:
        return HostRefused(
            f"{at} takes no key{asks or ' from anybody'}",
            "set PubkeyAuthentication yes in its sshd_config, and add the public key to the user's authorized_keys",
        )
    used = address.key or "any of the agent's keys"
    if seen.refusal is not None:
        why = seen.refusal.why and f": {seen.refusal.why}"
        return HostRefused(
            f"{at} does not let {address.user} in with the certificate {address.certificate}{asks}{why}",
            seen.refusal.hint,
        )
    return HostRefused(
        f"{at} does not let {address.user} in with {used}{asks}",
        "add the public key to that user's ~/.ssh/authorized_keys there (both must belong to the user, and others must "
        "not be able to write them), or declare another key",
    )
