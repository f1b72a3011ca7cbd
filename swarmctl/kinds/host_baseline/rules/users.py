"""Users that are the system's own, keys that are none, and the user that swarmctl logs in with."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator
from typing import Any

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.host_baseline.rules.nodes import selected

SYSTEM = Code(
    "SW3709",
    "user that is the system's own",
    """The system's accounts belong to its packages, and `root` is whom swarmctl itself works as. A baseline declares
accounts of people.

Wrong: `users: [{name: root, authorizedKeys: [ssh-ed25519 AAAA… anna]}]`

Right: `users: [{name: anna, sudo: true, authorizedKeys: [ssh-ed25519 AAAA… anna]}]`
""",
)
NO_KEY = Code(
    "SW3710",
    "key for SSH that is none",
    """A key is its type, and in base64 the key itself, which begins with the same type again. Here they differ, or the
key ends too early, so nobody could log in with it. RSA keys have at least 2048 bits.

Wrong: a key that was cut off when it was copied

Right: the whole line of a `.pub` file: `ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAA… anna`
""",
)
KEY_TWICE = Code(
    "SW3711",
    "key for SSH twice for one user",
    """A key lets in whoever has it; twice in one list, with one comment or with two, one of them would stay when
somebody takes the other out, and still be let in.

Wrong: `authorizedKeys: [ssh-ed25519 AAAAC3… anna, ssh-ed25519 AAAAC3… anna@laptop]`

Right: `authorizedKeys: [ssh-ed25519 AAAAC3… anna]`
""",
)
LOCKED_OUT = Code(
    "SW3712",
    "login of swarmctl without sudo",
    """swarmctl logs in to the machine as this user and works there as root by `sudo`. Without it nothing could be
changed there any more, not even this.

Wrong: a pool with `ssh: {user: ops, …}`, and `users: [{name: ops, sudo: false}]` for its machines

Right: `users: [{name: ops, sudo: true}]`
""",
)
SHUT_OUT = Code(
    "SW3722",
    "login of swarmctl with a shell that refuses logins",
    """swarmctl logs in to the machine as this user, and what it asks for there is run by the user's login shell. One
that ends at once would shut swarmctl out, and nothing could bring it back from here.

Wrong: a pool with `ssh: {user: ops, …}`, and `users: [{name: ops, sudo: true, shell: /usr/sbin/nologin}]`

Right: `users: [{name: ops, sudo: true, shell: /bin/bash}]`
""",
)
NO_SHELLS = frozenset("nologin false true sync halt shutdown poweroff reboot git-shell rbash".split())
"""What programs are called that let nobody in when they are the login shell, or run hardly anything."""
NAMES = frozenset(
    "root daemon bin sys sync games man lp mail news uucp proxy www-data backup list irc gnats nobody sshd messagebus "
    "polkitd ntp chrony _chrony _apt dnsmasq tcpdump uuidd syslog landscape fwupd-refresh tss usbmux sshd _rpc statd "
    "adm shutdown halt operator ftp dbus polkit systemd-network systemd-resolve systemd-timesync systemd-coredump "
    "nvidia-persistenced sudo wheel staff swarmctl".split()
)
_LEAST_RSA = 256
"""Bytes of a modulus of 2048 bits."""


def check(baseline: Declaration) -> Iterator[Diagnostic]:
    """User by user."""
    for index, user in enumerate(baseline.spec.users):
        if user.name in NAMES:
            yield Diagnostic(
                SYSTEM,
                f"the user `{user.name}` is the system's own",
                baseline.value("spec", "users", index, "name"),
                label="no account of people",
                help="choose another name",
            )
        seen: dict[str, int] = {}
        for place, key in enumerate(user.authorized_keys):
            if isinstance(key, Unknown):
                continue
            at = ("spec", "users", index, "authorizedKeys", place)
            if why := slip(key):
                yield Diagnostic(
                    NO_KEY,
                    f"a key of the user `{user.name}` {why}",
                    baseline.value(*at),
                    label="nobody could log in with it",
                    help="copy the whole line of the `.pub` file",
                )
            blob = key.split()[1]
            if blob in seen:
                yield Diagnostic(
                    KEY_TWICE,
                    f"the user `{user.name}` has this key twice",
                    baseline.value(*at),
                    label="listed before",
                    help="leave one of them out",
                    related=(Related(baseline.value(*at[:-1], seen[blob]), "the first one"),),
                )
            seen.setdefault(blob, place)


def slip(line: str) -> str:
    """Why a line is no key, as a clause; empty when it is one. The form is RFC 4253, 6.6."""
    kind, text = line.split()[:2]
    try:
        blob = base64.b64decode(text, validate=True)
        fields = _fields(blob)
    except (binascii.Error, ValueError):
        return "is cut off or altered"
    if not fields or fields[0] != kind.encode():
        return f"is not of the type {kind}"
    wanted = {"ssh-ed25519": 2, "ssh-rsa": 3, "sk-ssh-ed25519@openssh.com": 3, "sk-ecdsa-sha2-nistp256@openssh.com": 4}
    if len(fields) != wanted.get(kind, 3) or (kind == "ssh-ed25519" and len(fields[1]) != 32):
        return "is cut off or altered"
    if kind == "ssh-rsa" and len(fields[2].lstrip(b"\0")) < _LEAST_RSA:
        return "has fewer than 2048 bits"
    return ""


def _fields(blob: bytes) -> list[bytes]:
    found = []
    while blob:
        length = int.from_bytes(blob[:4])
        if len(blob) < 4 + length:
            raise ValueError("cut off")
        found.append(blob[4 : 4 + length])
        blob = blob[4 + length :]
    return found


def of_login(inventory: Inventory, baseline: Declaration) -> Iterator[Diagnostic]:
    """Users that swarmctl logs in with, without sudo or with a shell that lets nobody in."""
    users = baseline.spec.users
    without = {user.name: index for index, user in enumerate(users) if not user.sudo}
    shut = {user.name: index for index, user in enumerate(users) if user.shell.rsplit("/", 1)[-1] in NO_SHELLS}
    for node in selected(inventory, baseline) if without or shut else ():
        name = login(node)
        if name in shut:
            yield Diagnostic(
                SHUT_OUT,
                f"swarmctl logs in to {node.name} as `{name}`, whose shell would refuse it",
                baseline.value("spec", "users", shut.pop(name), "shell"),
                label="swarmctl would shut itself out",
                help="declare a shell such as `/bin/bash`",
                related=(Related(node.where, "this machine"),),
            )
        if name in without:
            index = without.pop(name)
            declared: Any = baseline.document.data
            written = "sudo" in declared["spec"]["users"][index]
            yield Diagnostic(
                LOCKED_OUT,
                f"swarmctl logs in to {node.name} as `{name}`, which would be without sudo",
                baseline.value("spec", "users", index, "sudo" if written else "name"),
                label="swarmctl would lock itself out",
                help="write `sudo: true`",
                related=(Related(node.where, "this machine"),),
            )


def login(node: fleet.Node) -> str:
    """The user that a machine is logged in to as; empty where its backend logs in nowhere."""
    spec = node.pool.variant_spec
    host = spec.hosts[node.host] if node.host is not None else None
    return getattr(host, "user", None) or getattr(spec, "user", None) or ""
