"""Why a server may have refused a certificate: what can be read from the certificate itself.

Only asked once a server has refused it: clocks differ, and a server may map the names in a certificate to other users.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.library import asyncssh
from swarmctl.hosts.fence import one_line

_USER = 1
"""The type of a user's certificate (OpenSSH, PROTOCOL.certkeys)."""


class Refusal(NamedTuple):
    """What is wrong with a certificate."""

    why: str
    """A clause about the certificate; empty where nothing in it tells."""
    hint: str


def refusal(address: Address, now: datetime | None = None) -> Refusal | None:
    """Why the certificate that is declared there may have been refused; None where there is none that can be read."""
    try:
        found = asyncssh.read_certificate(Path(address.certificate).expanduser())
    except (OSError, ValueError, asyncssh.KeyImportError):
        return None
    if not isinstance(found, asyncssh.public_key.SSHOpenSSHCertificate):
        return None
    time = (now or datetime.now(UTC)).timestamp()
    after, before, names = found._valid_after, found._valid_before, [one_line(name) for name in found.principals]
    user, public = address.user, address.key.removesuffix(".pub") + ".pub"
    new = f"have a new one signed: `ssh-keygen -s AUTHORITY -I NAME -n {user} -V +52w {public}`"
    if found._cert_type != _USER:
        return Refusal("it is for servers to show, and not for users", new)
    if time >= before:
        return Refusal(f"it expired on {_day(before)}", new)
    if time < after:
        return Refusal(f"it is not valid before {_day(after)}", f"wait until then, or {new}")
    if not names:
        return Refusal("it names nobody that it is for", new)
    if user not in names:
        other = f"; or declare `user: {names[0]}`" if len(names) == 1 else ""
        return Refusal(f"it is for {', '.join(names)}, and not for {user}", f"{new}{other}")
    source = found.options.get("source-address")
    if isinstance(source, list):
        networks = ", ".join(map(str, source))
        return Refusal(
            f"it is for connections from {networks}", f"{new}, with the network that the server sees us come from"
        )
    authority = found.signing_key.get_fingerprint()
    return Refusal(
        "",
        f"see whether its sshd trusts the authority that signed it, {authority} (TrustedUserCAKeys in its sshd_config),"
        " whether it takes it for revoked (RevokedKeys), and whether its clock is right",
    )


def _day(seconds: int) -> str:
    """A time in a certificate, which may be beyond all that a calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return "a day that no calendar has"
