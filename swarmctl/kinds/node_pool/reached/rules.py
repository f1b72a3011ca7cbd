"""What must hold for pools whose machines are reached over SSH: who they are, how one gets there, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Diagnostic, Range, Related, Severity
from swarmctl.hosts import public_keys
from swarmctl.hosts.states import ISOLATED, LOST
from swarmctl.kinds.node_pool.reached import addresses
from swarmctl.kinds.node_pool.reached.codes import (
    BAD_HOST_KEY,
    CERTIFICATE_ALONE,
    JUMP_LOOP,
    JUMP_SHUT,
    LITERAL_KEY,
    NO_HOST_KEY,
    NO_LIMITS,
    NOT_A_NETWORK,
    NOT_AN_ADDRESS,
    RELATIVE_KEY,
    SAME_HOST_KEY,
    SAME_PLACE,
)

Path = tuple[str | int, ...]

_SCAN = (
    "`ssh-keyscan -t ed25519{port} {address}` shows it; compare it with the machine's own console before you declare it"
)


class _Host(NamedTuple):
    """One declared machine, its pool's values filled in."""

    pool: Declaration
    place: int
    """Among the pool's hosts."""
    entry: Any
    port: int
    jump: Any
    jump_path: Path

    @property
    def state(self) -> str:
        """What is declared of it; empty for none, and where that makes no sense."""
        own = self.entry.state if self.entry.state is not None else self.pool.spec.state
        return own if isinstance(own, str) else ""

    @property
    def path(self) -> Path:
        return ("spec", "ssh", "hosts", self.place)

    @property
    def jumps(self) -> Iterator[tuple[Any, Path]]:
        """The servers before it and where each is declared, the nearest to the machine first."""
        return _jumps(self.jump, self.jump_path)


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the pools over SSH."""
    pools = [pool for pool in inventory.of("NodePool") if pool.variant == "ssh"]
    found = [host for pool in pools for host in _hosts(pool)]
    for pool in pools:
        yield from _pool(pool)
    for host in found:
        yield from _host(host)
    yield from _same_places(found)
    yield from _same_host_keys(found)
    yield from _shut_ways(found)


def _hosts(pool: Declaration) -> Iterator[_Host]:
    spec = pool.variant_spec
    if isinstance(spec, Unknown) or isinstance(spec.hosts, Unknown):
        return
    for index, entry in enumerate(spec.hosts):
        if isinstance(entry, Unknown):
            continue
        own: Path = ("spec", "ssh", "hosts", index, "jump")
        jump, where = (entry.jump, own) if entry.jump is not None else (spec.jump, ("spec", "ssh", "jump"))
        port = entry.port if entry.port is not None else spec.port
        yield _Host(pool, index, entry, port, None if isinstance(jump, Unknown) else jump, where)


def _pool(pool: Declaration) -> Iterator[Diagnostic]:
    spec = pool.variant_spec
    if isinstance(spec, Unknown):
        return
    resources = pool.spec.resources
    if not isinstance(resources, Unknown) and (resources.cpus is not None or resources.memory is not None):
        yield Diagnostic(
            NO_LIMITS,
            f"machines of the NodePool `{pool.name}` are whole, and nothing limits what they may use",
            pool.key("spec", "resources"),
            label="not possible over SSH",
            help="take `resources` away",
        )
    yield from _logins(pool, spec, ("spec", "ssh"), spec.key)
    if spec.jump is not None and not isinstance(spec.jump, Unknown):
        yield from _jump(pool, spec.jump, ("spec", "ssh", "jump"), spec.key)
    networks = spec.managed_from
    for index, written in enumerate(() if networks is None or isinstance(networks, Unknown) else networks):
        if not isinstance(written, Unknown) and (why := _network_problem(written)):
            yield Diagnostic(
                NOT_A_NETWORK,
                f"`{written}` is no network to manage machines from: {why}",
                pool.value("spec", "ssh", "managedFrom", index),
                label="not a network",
                help="write a network such as `203.0.113.0/24`, or an address with `/32` or `/128`",
            )


def _host(host: _Host) -> Iterator[Diagnostic]:
    entry, spec = host.entry, host.pool.variant_spec
    key = entry.key if entry.key is not None else spec.key
    name = f"the machine `{entry.name}`"
    yield from _place(host.pool, host.path, entry, name)
    yield from _host_keys(host.pool, host.path, entry, name, host.port)
    yield from _logins(host.pool, entry, host.path, key)
    if entry.jump is not None and host.jump is not None:
        yield from _jump(host.pool, host.jump, host.jump_path, key)
    for jump, path in host.jumps:
        if _same(jump.address, entry.address) and jump.port == host.port:
            yield Diagnostic(
                JUMP_LOOP,
                f"{name} would be reached through itself",
                host.pool.value(*host.path, "address"),
                label="the address of its jump host",
                help="declare this machine in a pool without `jump`",
                related=(Related(host.pool.value(*path, "address"), "the jump host"),),
            )


def _jump(pool: Declaration, jump: Any, path: Path, key: Any) -> Iterator[Diagnostic]:
    behind: dict[tuple[str, Any], Path] = {}
    for one, where in _jumps(jump, path):
        key = one.key if one.key is not None else key
        yield from _place(pool, where, one, "the jump host")
        yield from _host_keys(pool, where, one, f"the jump host at `{one.address}`", one.port)
        yield from _logins(pool, one, where, key)
        if isinstance(one.address, Unknown) or isinstance(one.port, Unknown):
            continue
        other = behind.setdefault((_normal(one.address), one.port), where)
        if other != where:
            yield Diagnostic(
                JUMP_LOOP,
                f"the jump host at `{one.address}` would be reached through itself",
                pool.value(*where, "address"),
                label="the address of the one behind it",
                help="take this `jump` away, or write the address of another server",
                related=(Related(pool.value(*other, "address"), "the one behind it"),),
            )


def _jumps(jump: Any, path: Path) -> Iterator[tuple[Any, Path]]:
    while jump is not None and not isinstance(jump, Unknown):
        yield jump, path
        jump, path = getattr(jump, "jump", None), (*path, "jump")


def _place(pool: Declaration, path: Path, entry: Any, name: str) -> Iterator[Diagnostic]:
    if not isinstance(entry.address, str):
        return
    if (wrong := addresses.wrong(entry.address)) is not None:
        yield Diagnostic(
            NOT_AN_ADDRESS,
            f"{name} can't be reached at `{entry.address}`: {wrong.why}",
            pool.value(*path, "address"),
            label=wrong.label,
            help=wrong.mend,
        )


def _host_keys(pool: Declaration, path: Path, entry: Any, name: str, port: Any) -> Iterator[Diagnostic]:
    if isinstance(entry.host_keys, Unknown):
        return
    if not entry.host_keys and not _there(pool, *path, "hostKeys"):
        options = f" -p {port}" if isinstance(port, int) and port != 22 else ""
        yield Diagnostic(
            NO_HOST_KEY,
            f"{name} has no host key, so nobody could tell whether it is the one",
            pool.value(*path, "address"),
            label="`hostKeys` is missing",
            help=_SCAN.format(port=options, address=entry.address),
        )
    for index, text in enumerate(entry.host_keys):
        if not isinstance(text, Unknown) and (why := public_keys.problem(text)):
            yield Diagnostic(
                BAD_HOST_KEY,
                f"this is no host key of {name}: {why}",
                pool.value(*path, "hostKeys", index),
                label="not a host key",
                help="write kind and key as they stand in `/etc/ssh/ssh_host_ed25519_key.pub`, without the comment",
            )


def _there(pool: Declaration, *path: str | int) -> Any:
    """What stands at `path`, also where it is of no use: that has an error of its own. None where nothing does."""
    data: Any = pool.document.data
    for step in path:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return None
    return data


def _logins(pool: Declaration, entry: Any, path: Path, key: Any) -> Iterator[Diagnostic]:
    for name in ("key", "certificate"):
        written = getattr(entry, name)
        if isinstance(written, str) and ("\n" in written or "PRIVATE KEY" in written or _is_public(written)):
            yield Diagnostic(
                LITERAL_KEY,
                f"`{name}` names a file, and here stands what is in one",
                pool.value(*path, name),
                label="not the name of a file",
                help=f"write where the file is, such as `{name}: ~/.ssh/swarm`; "
                "a private key that stood here is known now: replace it",
            )
        elif isinstance(written, str) and not written.startswith(("/", "~")):
            yield Diagnostic(
                RELATIVE_KEY,
                f"`{name}` leads elsewhere from every other folder",
                pool.value(*path, name),
                label="a relative path",
                help=f"write it from the root or from your home folder: `{name}: ~/.ssh/{PurePosixPath(written).name}`",
            )
    if entry.certificate is not None and key is None:
        yield Diagnostic(
            CERTIFICATE_ALONE,
            "the certificate has no key that it belongs to",
            pool.value(*path, "certificate"),
            label="`key` is missing",
            help="add `key`: the private key's file, or its `.pub` file where the SSH agent has it",
        )


def _is_public(text: str) -> bool:
    return text.split(" ")[0] in public_keys.KINDS


def _same_places(hosts: Sequence[_Host]) -> Iterator[Diagnostic]:
    first: dict[tuple[Any, ...], _Host] = {}
    for host in hosts:
        if isinstance(host.entry.address, Unknown) or isinstance(host.port, Unknown):
            continue
        earlier = first.setdefault(_spot(host), host)
        if earlier is not host:
            yield Diagnostic(
                SAME_PLACE,
                f"the machines `{earlier.entry.name}` and `{host.entry.name}` would both answer at "
                f"`{host.entry.address}`, port {host.port}",
                host.pool.value(*host.path, "address"),
                label="taken",
                help="write this machine's own address or port",
                related=(Related(_address(earlier), f"here stands `{earlier.entry.name}`"),),
            )


def _spot(host: _Host) -> tuple[Any, ...]:
    """Where it is declared to stand."""
    through = tuple((_normal(jump.address), jump.port) for jump, _ in host.jumps)
    return _normal(host.entry.address), host.port, through


def _shut_ways(hosts: Sequence[_Host]) -> Iterator[Diagnostic]:
    shut = {}
    for host in hosts:
        state = host.state
        if state in (ISOLATED, LOST) and not isinstance(host.entry.address, Unknown):
            shut[_normal(host.entry.address)] = (host, state)
    for host in hosts:
        if host.state == LOST:
            continue
        for jump, path in host.jumps:
            through, state = (
                (None, "") if isinstance(jump.address, Unknown) else shut.get(_normal(jump.address), (None, ""))
            )
            if through is None or through is host:
                continue
            yield Diagnostic(
                JUMP_SHUT,
                f"the machine `{host.entry.name}` is reached through `{through.entry.name}`, which is declared {state}",
                host.pool.value(*path, "address"),
                label=f"this machine is {state}",
                help=f"declare another `jump` for `{host.entry.name}`"
                + (f", or that it is lost, too: `state: {LOST}`" if state == LOST else ""),
                related=(Related(_address(through), f"here stands `{through.entry.name}`"),),
            )


def _same_host_keys(hosts: Sequence[_Host]) -> Iterator[Diagnostic]:
    """Without two that have a name or a place in common: that is an error of its own, and tells what to do."""
    first: dict[str, _Host] = {}
    for host in hosts:
        if isinstance(host.entry.host_keys, Unknown):
            continue
        for index, text in enumerate(host.entry.host_keys):
            if isinstance(text, Unknown) or public_keys.problem(text):
                continue
            earlier = first.setdefault(text, host)
            if earlier is not host and earlier.entry.name != host.entry.name and _spot(earlier) != _spot(host):
                yield Diagnostic(
                    SAME_HOST_KEY,
                    f"the machines `{earlier.entry.name}` and `{host.entry.name}` have the same host key",
                    host.pool.value(*host.path, "hostKeys", index),
                    label=f"the one of `{earlier.entry.name}`, too",
                    help="if both are one machine, with two addresses: take one of the entries away; if this one is a "
                    f"copy of `{earlier.entry.name}`: remove `/etc/ssh/ssh_host_*` on the copy, and nowhere else, then "
                    "`ssh-keygen -A` there, and declare the new key",
                    severity=Severity.WARNING,
                    related=(Related(_address(earlier), f"here stands `{earlier.entry.name}`"),),
                )
                break


def _address(host: _Host) -> Range:
    return host.pool.value(*host.path, "address")


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str) and isinstance(other, str) and _normal(one) == _normal(other)


def _normal(address: Any) -> str:
    try:
        return str(ip_address(address))
    except ValueError:
        return str(address).lower()


def _network_problem(text: str) -> str:
    try:
        ip_network(text)
    except ValueError:
        try:
            return f"there are bits behind the prefix; the network is `{ip_network(text, strict=False)}`"
        except ValueError:
            return "it is not in CIDR notation"
    return ""
