"""What the rooms around the state tell each other, as plain data: published state, run headers, holders."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

Json = Any


@dataclass(frozen=True, slots=True)
class Holder:
    """Who works on a stack: one process on one boot of one machine."""

    host: str
    """Host name, for people."""
    boot: str
    """`/proc/sys/kernel/random/boot_id`: names this boot of this machine."""
    namespace: str
    """The process id namespace (`readlink /proc/self/ns/pid`): ids mean something within it only."""
    pid: int
    start: int
    """Start time in clock ticks since boot (proc_pid_stat(5), field 22): tells it from a later one with its id."""
    user: str
    command: str
    since: int
    """Unix seconds, for people; nothing is decided by it."""
    run: str = ""
    """Address of the pipeline's run, where there is one."""

    @property
    def owner(self) -> str:
        """For marks: the pipeline's run, or user@host."""
        return self.run or f"{self.user}@{self.host}"


@dataclass(frozen=True, slots=True)
class Applied:
    """What the last changing run left."""

    graph: str
    """Digest of the graph that was asked for (`graph.canonical.digest`)."""
    complete: bool
    """All of it was done: nothing failed, was skipped, held or interrupted."""
    versions: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PlanMark:
    """A saved plan that was applied, or begun to be."""

    id: str
    finished: bool


@dataclass(frozen=True, slots=True)
class Published:
    """The state of a stack as everyone sees it."""

    stack: str
    """Identity."""
    generation: int
    """Counts publications, from 1."""
    token: int
    """Fencing token of the run that published it."""
    writer: str
    """Version of swarmctl that wrote it."""
    checkpoint: dict[str, Json]
    """Pulumi's `VersionedCheckpoint`, version 3."""
    applied: Applied | None = None
    plans: tuple[PlanMark, ...] = ()


@dataclass(frozen=True, slots=True)
class ResourceHeader:
    """What a journal needs to know of a resource beyond what the provider sees of it."""

    type: str
    dependencies: tuple[str, ...] = ()
    """Addresses."""
    property_dependencies: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses by input."""
    formerly: str = ""
    """The address that it has in the state, when that is another."""
    protect: bool = False


@dataclass(frozen=True, slots=True)
class RunHeader:
    """`run.json`: what a changing run set out to do, written and synced before it begins."""

    stack: str
    token: int
    generation: int
    """Of the published state that it began from; 0 for none."""
    operation: str
    """`update` or `destroy`."""
    owner: str
    """`Holder.owner`."""
    graph: str = ""
    """Digest of the graph; empty for a destroy."""
    plan: str = ""
    """Id of the saved plan that it carries out."""
    resources: Mapping[str, ResourceHeader] = field(default_factory=dict)
    """By address."""
