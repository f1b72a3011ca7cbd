"""Looks at the recorded state of a stack, keeps and puts back copies of it. None of it needs the engine."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from swarmctl.errors import Declined, SwarmError, UsageError
from swarmctl.operations import stack as stacks
from swarmctl.operations.stack import Emit
from swarmctl.plans.events import Note

if TYPE_CHECKING:
    from swarmctl.state.lease import Lease
    from swarmctl.state.model import Published
    from swarmctl.state.rotation import Rotated
    from swarmctl.state.store import Store

Json = Any


@dataclass(frozen=True, slots=True)
class Resource:
    """One recorded resource."""

    address: str
    type: str
    node: str
    """Empty for what is on no node."""
    inputs: Mapping[str, Json] = field(default_factory=dict)
    """As last applied; secrets as `{"secret": true}`."""
    outputs: Mapping[str, Json] = field(default_factory=dict)
    dependencies: tuple[str, ...] = ()
    """Addresses."""
    protect: bool = False
    begun: bool = False
    """Its creation failed or was cut off: how much of it there is, the next run finds out."""


@dataclass(frozen=True, slots=True)
class Listed:
    """The state at a glance."""

    stack: str
    generation: int
    """0: nothing is recorded."""
    writer: str
    """Version of swarmctl that wrote it."""
    complete: bool
    """The last run did all that it was asked for."""
    destroyed: bool
    """The last run that changed something was a destroy: what is recorded is what it has left."""
    pending: int
    """Runs that go on or were cut off: what they have done is in the list, and not in the published state yet."""
    resources: tuple[Resource, ...] = ()


def list_(folder: Path, emit: Emit) -> Listed:
    """What is recorded, with what runs that were cut off have done. Raises InvalidDeclaration, NoDocuments,
    StateUnreadable, StateTooNew, StateMoved."""
    loaded, store = stacks.load(folder, emit)
    stacks.tell_unread(store, emit)
    published = store.load()
    current = store.current()
    return Listed(
        stack=loaded.identity,
        generation=published.generation if published else 0,
        writer=published.writer if published else "",
        complete=bool(current and current.applied and current.applied.complete),
        destroyed=bool(current and current.generation and current.applied is None),
        pending=len(store.runs()),
        resources=_resources(current),
    )


def show(folder: Path, address: str, emit: Emit) -> tuple[str, Resource]:
    """The stack's identity and one resource. Raises UsageError when it is not recorded; else like `list_`."""
    found = list_(folder, emit)
    for resource in found.resources:
        if resource.address == address:
            return found.stack, resource
    import difflib

    near = difflib.get_close_matches(address, [it.address for it in found.resources], n=1)
    hint = f"did you mean {near[0]}?" if near else "`swarmctl state list` lists what is recorded"
    raise UsageError(f"no resource {address} is recorded", hint)


def _resources(published: Published | None) -> tuple[Resource, ...]:
    from swarmctl.state.checkpoint import PREFIX, address_of, latest, plain

    entries = latest(published.checkpoint).get("resources") or () if published else ()
    return tuple(
        Resource(
            address=address_of(entry["urn"]),
            type=entry["type"],
            node=str((entry.get("inputs") or {}).get("node") or ""),
            inputs=plain(entry.get("inputs") or {}),
            outputs=plain(entry.get("outputs") or {}),
            dependencies=tuple(address_of(urn) for urn in entry.get("dependencies") or ()),
            protect=bool(entry.get("protect")),
            begun=bool(entry.get("initErrors")),
        )
        for entry in sorted(entries, key=lambda entry: address_of(entry["urn"]))
        if entry["type"].startswith(PREFIX)
    )


@dataclass(frozen=True, slots=True)
class BackedUp:
    """A copy of the state."""

    file: Path
    generation: int
    resources: int
    keys: Path
    """Without them the secrets in the copy can't be read."""


def backup(folder: Path, file: Path | None, emit: Emit) -> BackedUp:
    """Copy the published state into a new file, by default named after the stack in the current folder.

    Raises UsageError when there is a file of that name; SwarmError when nothing is recorded; else like `list_`.
    """
    from swarmctl.state import published

    loaded, store = stacks.load(folder, emit)
    found = store.load()
    if found is None:
        raise SwarmError("nothing is recorded, so there is nothing to copy", "run `swarmctl apply` first")
    if store.runs():
        emit(Note("a run goes on or was cut off: what it has done is not in the copy", warning=True))
    target = file or Path(f"{loaded.identity}-{found.generation}.state.json")
    try:
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise UsageError(f"{target} exists already", "name another file, or remove that one") from None
    except OSError as error:
        raise SwarmError(f"{target} can't be written: {error.strerror}") from error
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(published.encode(found))
        stream.flush()
        os.fsync(stream.fileno())
    return BackedUp(target, found.generation, len(_resources(found)), store.keys.folder)


@dataclass(frozen=True, slots=True)
class Difference:
    """What a restore changes in the record; nothing of it is done to the machines."""

    file: Path
    generation: int
    """Of the copy."""
    now: int
    """Generation that is replaced; 0 when there is none, or none that can be read."""
    forgotten: tuple[str, ...]
    """Addresses that the copy doesn't have: they run on, and nobody knows of them."""
    back: tuple[str, ...]
    """Addresses that only the copy has: the next run looks whether they are still there."""
    changed: tuple[str, ...]

    @property
    def empty(self) -> bool:
        """The record stays as it is."""
        return not (self.forgotten or self.back or self.changed)


def restore(
    folder: Path,
    source: str,
    emit: Emit,
    *,
    confirm: Callable[[Difference], bool],
    passphrase: Path | None = None,
    lock_timeout: float = 0.0,
) -> tuple[Difference, Published]:
    """Make a copy the state again: a file, or a generation of the store's own backups. What was there is kept as a
    backup, and the generation is a new one.

    Raises UsageError for what is no copy of this stack's state, Declined, LockHeld, LeaseLost, DiskFull, ReadOnly,
    WrongPassphrase when its secrets can't be decrypted.
    """
    from swarmctl.state.restoring import put_back, source_of

    _, store = stacks.load(folder, emit)
    with stacks.lease_of(store, lock_timeout, emit) as lease:
        _recover(store, lease, emit, damaged=True)
        file, copy = source_of(store, source)
        difference = _difference(store, file, copy)
        if not confirm(difference):
            raise Declined("nothing was restored")
        return difference, put_back(store, lease, copy, _given(passphrase))


def _recover(store: Store, lease: Lease, emit: Emit, *, damaged: bool = False) -> None:
    """Make the state whole; one that can't be, and has no good one before it, is put up with when it is `damaged` that
    is to be mended."""
    from swarmctl.state.checkpoint import StateUnreadable

    try:
        for note in store.recover(lease):
            emit(Note(note, warning=True))
    except StateUnreadable:
        if not damaged:
            raise


def _difference(store: Store, file: Path, copy: Published) -> Difference:
    from swarmctl.state.checkpoint import StateUnreadable

    try:
        now = store.load()
    except StateUnreadable:
        now = None
    before = {it.address: it for it in _resources(now)}
    after = {it.address: it for it in _resources(copy)}
    return Difference(
        file,
        copy.generation,
        now.generation if now else 0,
        tuple(address for address in before if address not in after),
        tuple(address for address in after if address not in before),
        tuple(address for address in before if address in after and before[address] != after[address]),
    )


def migrate(folder: Path, to: str | None, emit: Emit, *, lock_timeout: float = 0.0) -> Store | None:
    """Take over the layout before; and with `to`, a URL, move the state there. Returns where it is then, None when
    nothing is recorded.

    Raises SwarmError when there is another state already, LockHeld, LeaseLost, DiskFull, ReadOnly.
    """
    from swarmctl.state.moving import move, require_elsewhere
    from swarmctl.state.store import Store

    loaded, store = stacks.load(folder, emit)
    target = Store(loaded.identity, to) if to else store
    if to:
        require_elsewhere(store, target)
    with stacks.lease_of(store, lock_timeout, emit) as lease:
        _recover(store, lease, emit)
        if store.load() is None:
            return None
        if to:
            # Of what counts the tokens there, the machines know nothing: it goes on from what counts them here.
            with target.lease(lock_timeout, stacks.waiting(emit), lambda: lease.token) as other:
                move(store, lease, target, other)
    return target


def rotate(folder: Path, passphrase: Path | None, emit: Emit, *, lock_timeout: float = 0.0) -> Rotated:
    """Encrypt every secret of the state and its backups with a new passphrase: the one in a file, or a random one.

    Raises UsageError for a file that others can read; WrongPassphrase, LockHeld, LeaseLost, DiskFull, ReadOnly.
    """
    from swarmctl.state.rotation import rotate as encrypt_anew

    given = _given(passphrase)
    _, store = stacks.load(folder, emit)
    with stacks.lease_of(store, lock_timeout, emit) as lease:
        _recover(store, lease, emit)
        return encrypt_anew(store, lease, given)


def _given(file: Path | None) -> str | None:
    """The passphrase in a file that nobody else can read. Raises UsageError."""
    if file is None:
        return None
    try:
        with file.open() as stream:
            mode = os.fstat(stream.fileno()).st_mode
            text = stream.read(4097).strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"the passphrase can't be read from {file}: {getattr(error, 'strerror', error)}") from None
    if stat.S_IMODE(mode) & 0o077:
        raise UsageError(
            f"{file} can be read by others", f"run `chmod 600 {file}`, and use a passphrase nobody has seen"
        )
    if not text or len(text) > 4096 or "\n" in text:
        raise UsageError(f"{file} holds no passphrase", "it is one line of text")
    return text
