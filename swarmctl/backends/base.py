"""The capability protocols of hardware. A backend is one folder with a fixed set of files; everyone else sees it
only through the protocols here.

Contracts: every call may be repeated after a crash and then converges; what is already so is not an error; what is
already gone is not an error; every call that can block has a timeout. What a host prints is untrusted: bounded in
size, decoded with replacement, never interpreted by a shell of ours.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from swarmctl.errors import SwarmError, WorldUnreadable
from swarmctl.hosts.fence import Fence, Fenced, ForeignStack, StillChanging
from swarmctl.hosts.first_look import Seen

__all__ = [
    "OUTPUT_LIMIT",
    "Backend",
    "Check",
    "CommandFailed",
    "Completed",
    "Fence",
    "Fenced",
    "ForeignStack",
    "Host",
    "HostGone",
    "HostUnreachable",
    "Json",
    "Owner",
    "Placement",
    "PoolRequest",
    "ServiceStatus",
    "StillChanging",
    "Untouched",
]

Json = Any
OUTPUT_LIMIT = 16 * 1024 * 1024
"""Bytes of stdout or stderr kept from one command; the rest is dropped and said so."""


class HostGone(SwarmError):
    """The machine does not exist (any more)."""


class HostUnreachable(WorldUnreadable):
    """The machine exists and does not answer."""

    transient = True


class Untouched(HostUnreachable):
    """The machine could not be taken over, and nothing was changed on it."""

    @classmethod
    def of(cls, error: SwarmError) -> Untouched:
        """The same error, with the word that nothing was changed."""
        made = cls(error.message, error.hint, details=error.details)
        made.transient = error.transient
        return made


class CommandFailed(SwarmError):
    """A command on a host ended with a status other than 0; `message` names the host, never secrets."""


@dataclass(frozen=True, slots=True)
class Completed:
    """How a command on a host ended."""

    argv: tuple[str, ...]
    returncode: int
    stdout: bytes
    stderr: bytes

    @property
    def text(self) -> str:
        """Standard output as text, undecodable bytes replaced."""
        return self.stdout.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """A supervised process on a host."""

    name: str
    running: bool
    pid: int | None = None


class Host(Protocol):
    """One machine that commands can be run on: the host protocol (run, put, get, service).

    Opened with a fence, every call that could change the machine (run, put, remove, start_service, stop_service)
    compares it there, under a lock of the machine's and in the same call, and raises `Fenced`, `ForeignStack` or
    `StillChanging` with nothing done.
    """

    name: str

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """Run one command as root of the machine, without a shell, with a clean environment and LC_ALL=C.

        Raises `CommandFailed` when `check` and the status is not 0, `HostGone`, `HostUnreachable` (also at timeout).
        """
        ...

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """Write a file atomically (new file with its final mode, fsync, rename); folders are made as 0755."""
        ...

    def get(self, path: str) -> bytes | None:
        """Read a file; None when it does not exist."""
        ...

    def remove(self, path: str) -> None:
        """Remove a file or a folder with what is in it; nothing happens when it is gone."""
        ...

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        """Keep `argv` running on the machine in the background; its output goes to its log. No-op when it runs so."""
        ...

    def stop_service(self, name: str) -> None:
        """End it and wait until it is gone; nothing happens when it does not run."""
        ...

    def services(self) -> list[ServiceStatus]:
        """The services that were started and not stopped, running or dead."""
        ...

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        """The last lines of every log of the machine as (log name, line)."""
        ...

    def exec(self, argv: Sequence[str]) -> int:
        """Run one command with this process's own terminal and return its exit status (for `swarmctl exec`)."""
        ...


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """A declared pool that wants machines of this backend."""

    pool: str
    cluster: str
    region: str
    labels: Mapping[str, str]
    spec: Any
    """The backend's own spec type, as declared under its key."""
    resources: Mapping[str, Json] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    """Node names that machines were made with, by key: they stay, whatever the pool is called now."""
    state: str = ""
    """Of all machines that have none of their own, see `hosts.states`; empty for none."""


@dataclass(frozen=True, slots=True)
class Placement:
    """One machine that a pool gets: pure data, decided before anything is made."""

    pool: str
    key: str
    """Stable within the pool: the ordinal, or the declared host name."""
    name: str
    """The node name, unique in the stack."""
    labels: Mapping[str, str]
    inputs: Mapping[str, Json]
    """Inputs of the machine's resource (`swarm:nodepool:Machine`), `backend` and `host` among them."""
    underlay: tuple[str, ...]
    host: Mapping[str, Json]
    """What `open_host` needs; always has `backend`, `stack` and `node`. Where there is more, inputs have only these
    three: see `backends.ways`."""
    endpoint: str | None = ""
    """Where other machines reach it: empty at its underlay addresses, None nowhere (it stands behind a router that
    translates addresses and lets no new connection in), or else the address or host name to use."""
    mtu: int = 1500
    """Of its interface on the underlay, in bytes."""
    managed_ports: tuple[int, ...] = ()
    """TCP ports on the machine that it is managed through, which no firewall may close."""
    managed_from: tuple[str, ...] = ()
    """Networks that it is managed from; empty for all."""
    state: str = ""
    """What is declared of it, see `hosts.states`; empty: it takes part."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of `swarmctl doctor`."""

    name: str
    ok: bool
    detail: str
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Owner:
    """What a machine's mark says of whose it is."""

    stack: str
    """Identity."""
    owner: str = ""
    """Who changed it last, `user@host` or a pipeline's run; empty when no fenced run has been there."""
    token: int = 0


@dataclass(frozen=True, slots=True)
class NewMachines:
    """What was found of machines that nothing is recorded of."""

    unfit: Mapping[str, SwarmError] = field(default_factory=dict)
    """Why, by node, of those that can't be taken over now."""
    blank: frozenset[str] = frozenset()
    """Nodes of those that bear nobody's mark."""
    ours: frozenset[str] = frozenset()
    """Nodes of unfit ones that the stack had already, as their marks tell or what is noted here: its state was lost."""


class Backend(Protocol):
    """One hardware provider.

    Where a method takes a fence, it compares it where the change happens, under a lock held until the change is done,
    and raises `Fenced`, `ForeignStack` or `StillChanging` with nothing done. Without one nothing is compared.
    """

    name: str
    """Its key under a NodePool."""
    spec: type[Any]
    """The frozen msgspec type under that key."""
    here: bool
    """Whether its machines are on this computer, and take its processors for what they do."""
    fences: bool
    """Whether it can compare fences; where it can't, a run that is stopped and goes on later may act once more."""

    def place(
        self, stack: str, pools: Sequence[PoolRequest], previous: Mapping[str, Mapping[str, Json]]
    ) -> list[Placement]:
        """Decide every machine of every pool of this backend. Pure: no I/O.

        `stack` is the stack's identity, `previous` the machines' inputs in the state by node name: a machine that is
        there keeps its addresses, also when others come and go.
        """
        ...

    def create_machine(self, inputs: Mapping[str, Json], fence: Fence | None = None) -> Mapping[str, Json]:
        """Make the machine, or adopt the one that is there; returns outputs. Converges after a crash at any point."""
        ...

    def read_machine(self, inputs: Mapping[str, Json], fence: Fence | None = None) -> Mapping[str, Json] | None:
        """The machine's inputs as the world has them, None when it is gone. Changes nothing but the token.

        With a fence nothing older can begin to change the machine after it was read.
        """
        ...

    def update_machine(
        self, old: Mapping[str, Json], new: Mapping[str, Json], fence: Fence | None = None
    ) -> Mapping[str, Json]:
        """Change in place what can be; returns outputs."""
        ...

    def delete_machine(self, inputs: Mapping[str, Json], fence: Fence | None = None) -> None:
        """Remove the machine and everything that was made for it."""
        ...

    def require_mesh(self) -> None:
        """Raises `SwarmError` when it is certain, before anything is made, that machines of this backend can't have the
        WireGuard interface of a mesh."""
        ...

    def require_access(self, stack: str) -> None:
        """Raises `SwarmError` when it is certain, before any machine is asked, that declared machines of the stack
        can't be reached from this computer: a key file that is not there."""
        ...

    def replaces(self) -> Mapping[str, str]:
        """Inputs whose change needs a new machine, with the reason as a clause."""
        ...

    def open_host(self, host: Mapping[str, Json], fence: Fence | None = None) -> Host:
        """The host for `host` (see `Placement.host`); doesn't connect yet."""
        ...

    def silent(self, stack: str, nodes: Collection[str]) -> Mapping[str, SwarmError]:
        """Why, by node, of those of these machines that can't be asked anything now: the run leaves them alone."""
        ...

    def look_at_new(self, machines: Collection[Mapping[str, Json]], told: Mapping[str, Seen]) -> NewMachines:
        """What `create_machine` would find; `machines` are its inputs. Only looks, and not at those that have `told` of
        themselves just now, by node."""
        ...

    def disconnect(self) -> None:
        """Close the connections to machines that are kept open in this process; the next call makes new ones."""
        ...

    def machines(self, stack: str, besides: Collection[str] = ()) -> list[str]:
        """Names of all nodes that exist for this stack, found by marks left with the things themselves.

        Those `besides` are left out, and nobody asks for them.
        """
        ...

    def owner(self, stack: str, node: str) -> Owner:
        """What the mark of one of `machines(stack)` says; another stack's identity when it is not this one's."""
        ...

    def greatest_token(self, stack: str) -> int:
        """The greatest token that anything of this stack's was changed under, as far as it can be told from here; 0 for
        none. For a store that is new, or was lost: without it, what a run under a clock that was ahead has left could
        not be changed until time has caught up."""
        ...

    def host_of(self, stack: str, node: str) -> Mapping[str, Json]:
        """The `host` input of one of `machines(stack)`, from marks alone: what `open_host` needs."""
        ...

    def remains(self, stack: str) -> list[str]:
        """What exists for this stack beside its machines: networks, folders, processes that no machine has; cheap.

        One clause each, for people.
        """
        ...

    def clear(self, stack: str, fence: Fence | None = None) -> list[str]:
        """Remove what `remains` tells of and leave the machines alone; returns what was removed."""
        ...

    def sweep(self, stack: str, fence: Fence | None = None) -> list[str]:
        """Remove everything that exists for this stack, known to a state or not; returns what was removed."""
        ...

    def doctor(self) -> list[Check]:
        """Whether this machine can drive the backend, and in which mode."""
        ...
