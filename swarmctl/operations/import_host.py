"""A machine that is there → its declaration: logged in to once, by a host key that somebody has compared."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from swarmctl.backends import open_host
from swarmctl.backends.base import Host
from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Inventory
from swarmctl.errors import Declined, SwarmError, UsageError, WorldUnreadable
from swarmctl.hosts import public_keys
from swarmctl.hosts.system import SystemFacts
from swarmctl.operations import import_host_text
from swarmctl.operations.facts_reading import read
from swarmctl.operations.load import load_stack

PORT = 22
CLUSTER, REGION = "core", "default"
"""Of a machine where neither the command nor the stack says otherwise."""
_USER = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,31}")
_WHERE = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.:-]{0,251}[A-Za-z0-9])?")
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True, slots=True)
class Target:
    """`user@address[:port]`."""

    user: str
    address: str
    port: int = PORT

    def __str__(self) -> str:
        host = f"[{self.address}]" if ":" in self.address else self.address
        return f"{self.user}@{host}" + ("" if self.port == PORT else f":{self.port}")

    @classmethod
    def parse(cls, text: str) -> Target:
        """Read it; an IPv6 address with a port stands in brackets. Raises UsageError."""
        user, at, rest = text.rpartition("@")
        match = re.fullmatch(r"\[(?P<six>[^\]]+)\](?::(?P<port>[0-9]{1,5}))?", rest)
        address, port = (match["six"], match["port"]) if match else (rest, None)
        if match is None and rest.count(":") == 1:
            address, _, port = rest.partition(":")
        number = int(port) if port and port.isdecimal() else PORT
        sound = at and _USER.fullmatch(user) and _WHERE.fullmatch(address) and 0 < number < 65536
        if not sound or (port is not None and not port.isdecimal()):
            raise UsageError(
                f"{text!r} names no machine to log in to",
                "write USER@ADDRESS or USER@ADDRESS:PORT, such as ops@192.0.2.7",
            )
        return cls(user, address, number)


@dataclass(frozen=True, slots=True)
class Shown:
    """What a server shows, to be compared."""

    server: str
    """`user@address`."""
    key: str
    """`KIND BASE64`."""

    @property
    def fingerprint(self) -> str:
        """As ssh-keygen(1) prints it."""
        return public_keys.fingerprint(self.key)

    @property
    def file(self) -> str:
        """Where the server has it, as OpenSSH installs it."""
        kind = self.key.partition(" ")[0]
        name = "ecdsa" if kind.startswith("ecdsa") else kind.removeprefix("ssh-")
        return f"/etc/ssh/ssh_host_{name}_key.pub"


Confirm = Callable[[Shown], bool]
"""Asks somebody who can compare the key; never called for one that is pinned."""


@dataclass(frozen=True, slots=True)
class Imported:
    """What came of it."""

    name: str
    text: str
    """The declaration."""
    facts: SystemFacts
    written: Path | None


def import_host(
    target: Target,
    *,
    confirm: Confirm,
    jump: Sequence[Target] = (),
    key: str = "",
    certificate: str = "",
    cluster: str = "",
    region: str = "",
    stack: Path | None = None,
    name: str = "",
    pinned: Sequence[str] = (),
    out: Path | None = None,
) -> Imported:
    """Log in, read the machine's facts, and declare it as a NodePool of its own, in a file in `out` if there is one.

    `pinned` are host keys (`ssh-ed25519 AAAA…`) or fingerprints of them (`SHA256:…`), one of which every server on the
    way must have; without any `confirm` is asked for each. `key` is the private key's file, or a public one's of the
    SSH agent, and `certificate` the file of what goes with it. `jump` are the servers to go through, the nearest first,
    as in `ssh -J`; there may be two. A `cluster` or `region` that is not given is left to the defaults of the stack in
    the folder `stack`; where that has none, it is written down. Raises UsageError, Declined, HostUnreachable,
    WorldUnreadable.
    """
    _require_pins(pinned)
    if name and not _NAME.fullmatch(name):
        raise UsageError(f"{name!r} can't be the name of a node", "lower-case letters, digits and hyphens, at most 63")
    for what, given in (("cluster", cluster), ("region", region)):
        if given and not _NAME.fullmatch(given):
            raise UsageError(f"{given!r} can't be the name of a {what}", "lower-case letters, digits and hyphens")
    if len(jump) > 2:
        raise UsageError("a declared machine has at most two jump hosts before it", "go through two at most")
    if certificate and not key:
        raise UsageError("--certificate goes with a key", "name the key's file by --key")
    key, certificate = _from_anywhere(key), _from_anywhere(certificate)
    own = {name: value for name, value in (("key", key), ("certificate", certificate)) if value}
    through: dict[str, Any] = {}
    for server in jump:
        through = {"jump": {**_trusted(server, {**through, **own}, pinned, confirm), **through, **own}}
    way = {**_trusted(target, {**through, **own}, pinned, confirm), **through, **own}
    inventory = _inventory(stack)
    if out is not None and inventory is not None:
        _require_new(way["hostKeys"], inventory)
    facts = _facts(open_host({"backend": "ssh", "stack": "", "node": str(target), **way}), target, jump)
    called = name or _called(facts.hostname, target)
    text = import_host_text.pool(called, way, facts, _belongs(cluster, region, inventory))
    return Imported(called, text, facts, None if out is None else _write(out, called, text))


def _facts(host: Host, target: Target, jump: Sequence[Target]) -> SystemFacts:
    """What the machine tells. Raises what `read` does; it is no node yet, so `swarmctl exec` knows it by no name."""
    try:
        return read(host)
    except WorldUnreadable as error:
        if "swarmctl exec" in error.hint:
            through = f"-J {','.join(map(str, jump))} " if jump else ""
            error.hint = f"see whether `ssh {through}ssh://{target} 'uname -a; date'` prints what it should"
        raise


def _inventory(folder: Path | None) -> Inventory | None:
    """What is declared there; None where there is no stack yet, or it is not whole."""
    if folder is None or not folder.is_dir():
        return None
    try:
        return load_stack(folder).inventory
    except SwarmError:
        return None


def _require_new(host_keys: Sequence[str], inventory: Inventory) -> None:
    """Raises UsageError for a machine that is declared there already, by whatever name and address."""
    for node in fleet.nodes(inventory):
        if node.host is not None and {*getattr(node.pool.variant_spec.hosts[node.host], "host_keys", ())} & {
            *host_keys
        }:
            at = f"{node.where.file}:{node.where.start.line}"
            raise UsageError(
                f"the machine is declared there already, as {node.name} in {at}: it has the same host key",
                "change it there, or leave --write out to see what would be written; nothing was written",
            )


def _from_anywhere(file: str) -> str:
    """A file's name that means the same in whatever folder it is read."""
    return file if not file or file.startswith("~") else str(Path(file).absolute())


def _belongs(cluster: str, region: str, inventory: Inventory | None) -> dict[str, tuple[str, str]]:
    """Cluster and region as they are to be written, so that the declaration is whole: those that are given, and those
    that the stack there has no default for; each with why it is that one."""
    found = {name: (value, "") for name, value in (("cluster", cluster), ("region", region)) if value}
    usual = fleet.defaults(inventory) if inventory is not None else None
    if not cluster and not (usual and usual.cluster):
        names = sorted(str(one.name) for one in inventory.of("Cluster")) if inventory is not None else []
        only = len(names) == 1
        found["cluster"] = names[0] if only else CLUSTER, "the only one" if only else "as `swarmctl init` calls it"
    if not region and not (usual and usual.region):
        found["region"] = REGION, "none was given: what is near to each other is of one region"
    return dict(sorted(found.items()))


def _require_pins(pinned: Sequence[str]) -> None:
    for one in pinned:
        wrong = "" if _FINGERPRINT.fullmatch(one) else public_keys.problem(one)
        if one.startswith("SHA256:") and wrong:
            wrong = "after `SHA256:` there are 43 letters, digits, `+` and `/` in one"
        if wrong:
            raise UsageError(
                f"{one[:80]!r} is neither a host key nor a fingerprint: {wrong}", "`ssh-keygen -lf` shows one"
            )


def _trusted(target: Target, way: dict[str, Any], pinned: Sequence[str], confirm: Confirm) -> dict[str, Any]:
    """How the server is reached, with a host key that somebody vouches for."""
    from swarmctl.backends.ssh.address import Address
    from swarmctl.backends.ssh.first import host_key

    reached: dict[str, Any] = {"address": target.address, "user": target.user}
    if target.port != PORT:
        reached["port"] = target.port
    shown = Shown(str(target), host_key(str(target), Address.load({**reached, **way, "hostKeys": []})))
    if pinned:
        if shown.key not in pinned and shown.fingerprint not in pinned:
            raise SwarmError(
                f"{shown.server} shows another host key than the ones that were given: "
                f"{shown.key.partition(' ')[0]} {shown.fingerprint}",
                f"compare that with `ssh-keygen -lf {shown.file}` on the machine's own console; somebody may stand in "
                "between",
            )
    elif not confirm(shown):
        raise Declined(f"the host key of {shown.server} was not confirmed; nobody has logged in there")
    return {**reached, "hostKeys": [shown.key]}


def _called(hostname: str, target: Target) -> str:
    """A node name of the machine's own host name, or else of its address."""
    for text in (hostname.partition(".")[0], target.address):
        name = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:40].strip("-")
        if name and name != "localhost" and not (text == target.address and _literal(text)):
            return name
    return "host-" + re.sub(r"[^a-z0-9]+", "-", target.address.lower()).strip("-")[:40]


def _literal(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True


def _write(out: Path, name: str, text: str) -> Path:
    path = out / f"{name}.yaml"
    try:
        out.mkdir(parents=True, exist_ok=True)
        with open(path, "x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise UsageError(f"{path} is there already; nothing was written", "give it another --name") from None
    except OSError as error:
        raise SwarmError(
            f"cannot write {path}: {error.strerror or error}", "name a folder that can be written"
        ) from error
    return path
