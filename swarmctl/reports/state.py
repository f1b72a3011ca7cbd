"""Shows what is recorded of a stack, and what was done with the record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarmctl.operations.state import BackedUp, Difference, Listed, Resource
from swarmctl.reports.console import amount, names, paint, safe
from swarmctl.reports.table import Column, table
from swarmctl.reports.values import show
from swarmctl.state.model import Published
from swarmctl.state.rotation import Rotated
from swarmctl.state.store import Store


def render(listed: Listed, *, color: bool, width: int) -> str:
    """Every resource with its type and node, and what the state is."""
    if not listed.resources:
        return "Nothing is recorded.\n"
    rows = listed.resources
    columns = [
        Column("ADDRESS", [safe(it.address) for it in rows]),
        Column("TYPE", [safe(it.type) for it in rows], drop=1),
        Column("NODE", [safe(it.node) or "-" for it in rows]),
        Column("", [paint(_marks(it), "yellow", color=color) if _marks(it) else "" for it in rows], drop=2),
    ]
    head, *lines = table(columns if any(map(_marks, rows)) else columns[:3], width=width)
    state = (
        f"generation {listed.generation}, written by swarmctl {safe(listed.writer)}"
        if listed.generation
        else ("not published yet")
    )
    notes = [] if listed.complete else [_rest(listed)]
    if listed.pending:
        runs = amount(listed.pending, "run")
        notes.append(f"With what {runs} did that {_are(listed.pending)} going on or cut off.")
    return "\n".join(
        [paint(head, "bold", color=color), *lines, "", f"{amount(len(rows), 'resource')}; {state}.", *notes, ""]
    )


def _rest(listed: Listed) -> str:
    if listed.destroyed:
        return (
            "This is what a destroy has left: `swarmctl destroy` takes it away, `swarmctl apply` makes all of it anew."
        )
    return "The last run left something undone, or was held to a part (--target): `swarmctl apply` does the rest."


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _marks(resource: Resource) -> str:
    return ", ".join([*(["protected"] if resource.protect else []), *(["begun"] if resource.begun else [])])


def render_one(resource: Resource, *, color: bool) -> str:
    """All that is recorded of one resource; secrets are not shown."""
    lines = [paint(safe(resource.address), "bold", color=color), f"  type: {safe(resource.type)}"]
    if resource.node:
        lines.append(f"  node: {safe(resource.node)}")
    if resource.protect:
        lines.append("  protected: it is neither deleted nor replaced")
    if resource.begun:
        lines.append("  begun: its creation failed or was cut off; the next run finds out how far it came")
    for title, values in (("inputs", resource.inputs), ("outputs", resource.outputs)):
        if values:
            lines += [f"  {title}:", *(f"    {safe(name)}: {show(value)}" for name, value in sorted(values.items()))]
    if resource.dependencies:
        lines += ["  needs:", *(f"    {safe(address)}" for address in resource.dependencies)]
    return "\n".join(lines) + "\n"


def render_difference(difference: Difference, *, color: bool) -> str:
    """What a restore changes in the record."""
    now = f"generation {difference.now}" if difference.now else "what is there"
    lines = [f"{safe(str(difference.file))}, generation {difference.generation}, takes the place of {now}:"]
    for sign, style, addresses, what in (
        ("-", "red", difference.forgotten, "forgotten: it stays in the world, and no state knows of it"),
        ("+", "green", difference.back, "recorded again, though it may be gone: the next plan looks"),
        ("~", "yellow", difference.changed, "recorded as it was"),
    ):
        if addresses:
            resources = amount(len(addresses), "resource")
            lines.append(paint(f"  {sign} {resources}: {names(map(safe, addresses))}", style, color=color))
            lines.append(f"      {what}")
    if difference.empty:
        lines.append("  the same resources are recorded")
    lines.append("Nothing is done to any machine. `swarmctl doctor --stack` finds what no state knows of.")
    return "\n".join(lines) + "\n"


def render_restored(difference: Difference, published: Published) -> str:
    """What a restore did."""
    return f"Restored {safe(str(difference.file))} as generation {published.generation}. See `swarmctl plan`.\n"


def render_backup(done: BackedUp) -> str:
    """Where the copy is, and what it can't do without."""
    return (
        f"{safe(str(done.file))}: generation {done.generation}, {amount(done.resources, 'resource')}.\n"
        f"Secrets in it are encrypted; the keys are in {safe(str(done.keys))}. Keep a copy of those elsewhere.\n"
    )


def render_rotated(done: Rotated) -> str:
    """What a rotation did."""
    if not (done.secrets or done.backups or done.left):
        return "Nothing in the state is encrypted yet; from now on it will be with the new passphrase.\n"
    lines = [
        f"{amount(done.secrets, 'secret')} of the state and {amount(done.backups, 'backup')} are encrypted with the "
        "new passphrase; the old one is gone.",
        "Plans that were saved before are refused from now on.",
    ]
    if done.left:
        lines.append("These can't be read, and may hold secrets under the old passphrase; remove them:")
        lines += [f"  {safe(str(file))}" for file in done.left]
    return "\n".join(lines) + "\n"


def render_migrated(store: Store | None, url: str, moved: bool) -> str:
    """Where the state is now, and what has to be written for it."""
    if store is None:
        return "Nothing is recorded: there is nothing to move.\n"
    if not moved:
        return f"The state in {safe(str(store.folder))} has the layout of this version.\n"
    return (
        f"The state is in {safe(str(store.folder))} now. Write it into the Stack, before the next command:\n\n"
        f"  spec:\n    state: {safe(url)}\n"
    )


def to_json(listed: Listed) -> dict[str, Any]:
    """The `swarmctl/resources/v1` document."""
    return {
        "schema": "swarmctl/resources/v1",
        "stack": listed.stack,
        "generation": listed.generation,
        "writer": listed.writer,
        "complete": listed.complete,
        "destroyed": listed.destroyed,
        "pendingRuns": listed.pending,
        "resources": [_brief(it) for it in listed.resources],
    }


def one_to_json(stack: str, resource: Resource) -> dict[str, Any]:
    """The `swarmctl/resource/v1` document."""
    return {
        "schema": "swarmctl/resource/v1",
        "stack": stack,
        **_brief(resource),
        "inputs": resource.inputs,
        "outputs": resource.outputs,
        "dependencies": list(resource.dependencies),
    }


def _brief(resource: Resource) -> dict[str, Any]:
    return {
        "address": resource.address,
        "type": resource.type,
        "node": resource.node,
        "protect": resource.protect,
        "begun": resource.begun,
    }


def backup_to_json(done: BackedUp) -> dict[str, Any]:
    """The `swarmctl/backup/v1` document."""
    return {
        "schema": "swarmctl/backup/v1",
        "file": str(done.file),
        "generation": done.generation,
        "resources": done.resources,
        "keys": str(done.keys),
    }


def restored_to_json(difference: Difference, published: Published) -> dict[str, Any]:
    """The `swarmctl/restored/v1` document."""
    return {
        "schema": "swarmctl/restored/v1",
        "file": str(difference.file),
        "from": difference.generation,
        "replaced": difference.now,
        "generation": published.generation,
        "forgotten": _list(difference.forgotten),
        "back": _list(difference.back),
        "changed": _list(difference.changed),
    }


def _list(addresses: Sequence[str]) -> list[str]:
    return list(addresses)
