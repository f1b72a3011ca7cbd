"""What must hold for pools whose machines are reached over SSH: who they are, how one gets there, and with what."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Range, Related, Severity
from swarmctl.hosts import public_keys
from swarmctl.hosts.states import ISOLATED, LOST

Path = tuple[str | int, ...]

NO_HOST_KEY = Code(
    "SW3240",
    "machine without a host key",
    """A server is logged in to only when it proves to have one of the host keys that are declared for it: otherwise
whoever stands in between could pose as it. Where the key is not known yet, `ssh-keyscan ADDRESS` shows what the server
claims; that is only as good as the way there, so compare it with `ssh-keygen -lf` on the machine's own console.

Wrong: `{name: n1, address: 203.0.113.10}`

Right: `{name: n1, address: 203.0.113.10, hostKeys: [ssh-ed25519 AAAAC3Nza…]}`
""",
)
BAD_HOST_KEY = Code(
    "SW3241",
    "host key that is none",
    """A host key is the kind and the key as they stand in `/etc/ssh/ssh_host_ed25519_key.pub`, without a name before
and without a comment behind. A fingerprint is not enough, and a private key must never be written down.

Wrong: `hostKeys: [SHA256:nThbg6kXUpJWGl7E1IGOCspRomTxdCARLviKw6E5SY8]`

Right: `hostKeys: [ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI…]`
""",
)
LITERAL_KEY = Code(
    "SW3242",
    "key written down in a declaration",
    """`key` and `certificate` name files on the computer that runs swarmctl. What stands in a declaration is read by
everyone who reads the repository, and stays in its history: a private key that was written down is to be replaced.

Wrong: a `key` with the text of a private key

Right: `key: ~/.ssh/swarm`
""",
)
SAME_PLACE = Code(
    "SW3243",
    "two machines at one address",
    """One server answers at an address and port, so two machines can't stand there; behind different jump hosts they
can.

Wrong: `{name: n1, address: 203.0.113.10, …}` and `{name: n2, address: 203.0.113.10, …}`

Right: each machine with its own address, or with its own `port` where a router passes them on
""",
)
CERTIFICATE_ALONE = Code(
    "SW3244",
    "certificate without its key",
    """A certificate says that a key may log in; whoever shows it proves to have that key. So `certificate` needs a
`key`, which may be the `.pub` file of one that the SSH agent has.

Wrong: `certificate: ~/.ssh/swarm-cert.pub` without `key`

Right: `key: ~/.ssh/swarm` and `certificate: ~/.ssh/swarm-cert.pub`
""",
)
JUMP_LOOP = Code(
    "SW3245",
    "jump host that is the machine itself",
    """Connections to a machine go through its jump host, which is another server. A machine that is its own jump host
can't be reached; a pool's jump host that is one of the pool's machines needs a pool of its own, without `jump`.

Wrong: `jump: {address: 203.0.113.10, …}` for the machine at `203.0.113.10`

Right: the machine at `203.0.113.10` in a pool without `jump`
""",
)
NO_LIMITS = Code(
    "SW3246",
    "limits on machines that are not divided",
    """`resources` limits what a machine may use of the computer that it is a part of. A machine over SSH is whole: all
that runs on it may use all of it.

Wrong: `resources: {cpus: 4}` beside `ssh:`

Right: no `resources`
""",
)
SAME_HOST_KEY = Code(
    "SW3247",
    "two machines with one host key",
    """A machine is known by its host key, whatever its address is. Two with the same one are the same machine declared
twice, or copies of one image: any of them can pose as the other. A warning: make new keys on the copies with
`ssh-keygen -A`, after removing the old ones.

Wrong: two machines with the same `hostKeys`

Right: each machine with host keys of its own
""",
)
NOT_A_NETWORK = Code(
    "SW3248",
    "networks to manage from that are none",
    """`managedFrom` has networks in CIDR notation, without bits behind the prefix. The jump host's address is among
them where there is one, for the machine sees nobody else.

Wrong: `managedFrom: [203.0.113.7/24]`

Right: `managedFrom: [203.0.113.0/24]`, or `[203.0.113.7/32]` for one address
""",
)
JUMP_SHUT = Code(
    "SW3249",
    "way through a machine that is shut or gone",
    """A machine that is declared `isolated` passes nothing on, and one that is declared `lost` is not there: whoever is
reached through it can't be reached any more, not even to say so.

Wrong: `state: isolated` for the machine at `203.0.113.2`, and `jump: {address: 203.0.113.2, …}` for others

Right: another jump host for the others, or the same state for them
""",
)
RELATIVE_KEY = Code(
    "SW3239",
    "key in a place that depends on where swarmctl is run",
    """`key` and `certificate` name files by a path from the root or from a home folder. A relative one would lead
elsewhere whenever a command is run in another folder; and a private key has no place among the declarations, for they
are kept in Git.

Wrong: `key: keys/swarm`

Right: `key: ~/.ssh/swarm`, or `key: /run/secrets/swarm` in a pipeline
""",
)
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
    yield from _host_keys(host.pool, host.path, entry, name, host.port)
    yield from _logins(host.pool, entry, host.path, key)
    if entry.jump is not None and host.jump is not None:
        yield from _jump(host.pool, host.jump, host.jump_path, key)
    jump = host.jump
    if jump is not None and _same(jump.address, entry.address) and jump.port == host.port:
        yield Diagnostic(
            JUMP_LOOP,
            f"{name} would be reached through itself",
            host.pool.value(*host.path, "address"),
            label="the address of its jump host",
            help="declare this machine in a pool without `jump`",
            related=(Related(host.pool.value(*host.jump_path, "address"), "the jump host"),),
        )


def _jump(pool: Declaration, jump: Any, path: Path, key: Any) -> Iterator[Diagnostic]:
    yield from _host_keys(pool, path, jump, f"the jump host at `{jump.address}`", jump.port)
    yield from _logins(pool, jump, path, jump.key if jump.key is not None else key)


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
        jump = host.jump
        if isinstance(host.entry.address, Unknown) or isinstance(host.port, Unknown):
            continue
        through = () if jump is None else (_normal(jump.address), jump.port)
        earlier = first.setdefault((_normal(host.entry.address), host.port, through), host)
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


def _shut_ways(hosts: Sequence[_Host]) -> Iterator[Diagnostic]:
    shut = {}
    for host in hosts:
        state = host.state
        if state in (ISOLATED, LOST) and not isinstance(host.entry.address, Unknown):
            shut[_normal(host.entry.address)] = (host, state)
    for host in hosts:
        jump = host.jump
        if jump is None or host.state == LOST or isinstance(jump.address, Unknown):
            continue
        through, state = shut.get(_normal(jump.address), (None, ""))
        if through is not None and through is not host:
            yield Diagnostic(
                JUMP_SHUT,
                f"the machine `{host.entry.name}` is reached through `{through.entry.name}`, which is declared {state}",
                host.pool.value(*host.jump_path, "address"),
                label=f"this machine is {state}",
                help=f"declare another `jump` for `{host.entry.name}`"
                + (f", or that it is lost, too: `state: {LOST}`" if state == LOST else ""),
                related=(Related(_address(through), f"here stands `{through.entry.name}`"),),
            )


def _same_host_keys(hosts: Sequence[_Host]) -> Iterator[Diagnostic]:
    first: dict[str, _Host] = {}
    for host in hosts:
        if isinstance(host.entry.host_keys, Unknown):
            continue
        for index, text in enumerate(host.entry.host_keys):
            if isinstance(text, Unknown) or public_keys.problem(text):
                continue
            earlier = first.setdefault(text, host)
            if earlier is not host:
                yield Diagnostic(
                    SAME_HOST_KEY,
                    f"the machines `{earlier.entry.name}` and `{host.entry.name}` have the same host key",
                    host.pool.value(*host.path, "hostKeys", index),
                    label=f"the one of `{earlier.entry.name}`, too",
                    help="make new host keys on the copy: remove `/etc/ssh/ssh_host_*`, then `ssh-keygen -A`",
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
