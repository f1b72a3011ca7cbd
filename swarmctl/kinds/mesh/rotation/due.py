"""Whose key is to be rotated, and why. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import PurePosixPath

from swarmctl.declarations.duration import exactly
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts

INSTALLED = "installed"
ROTATING = "rotating"
OVERDUE = "made "
"""What the measured input `key` of an overdue key begins with; when that was follows, and how often it is rotated."""
CLOCKED = 2 * 86400
"""Seconds: of keys that are rotated more often the time of day matters, too."""


class NotRotated(SwarmError):
    """The key should have been rotated before, and was not."""


LEFT: dict[tuple[str, str], str] = {}
"""Why a key could not be rotated by this process, by key path and node: its interface tells of it."""


def measured(facts: Facts, key_path: str, every: int) -> str:
    """The input `key` as far as rotation is concerned: installed, rotating, or when it was made where that is longer
    ago than `every` seconds (0: never too long)."""
    trail = facts.key_trails.get(key_path)
    if trail is None:
        return INSTALLED
    if trail.next_key:
        return ROTATING
    if every and facts.now - trail.made > every:
        form = "%Y-%m-%dT%H:%MZ" if every < CLOCKED else "%Y-%m-%d"
        return f"{OVERDUE}{datetime.fromtimestamp(trail.made, UTC).strftime(form)}, rotateEvery is {duration(every)}"
    return INSTALLED


def generation(facts: Facts, key_path: str) -> int:
    """How many rotations on demand the key has been through."""
    trail = facts.key_trails.get(key_path)
    return trail.generation if trail else 0


def on_demand(facts: Facts, key_path: str, wanted: Json) -> bool:
    """Whether a rotation that was asked for has not been done."""
    return key_path in facts.public_keys and generation(facts, key_path) < int(wanted or 0)


def made(facts: Facts, key_path: str) -> str:
    """When the key was made, Unix time in seconds by the node's clock; empty when that is not known."""
    trail = facts.key_trails.get(key_path)
    return str(trail.made) if trail else ""


def outputs(public: str, when: str) -> dict[str, Json]:
    """Outputs of an interface: its public key and, where it is known, when that was made."""
    return {"publicKey": public, **({"keyMade": int(when)} if when.isdigit() else {})}


def recorded(inputs: Mapping[str, Json], known: Mapping[str, Json], now: float) -> bool:
    """Whether the key of an interface is too old, by what is recorded of it alone."""
    every, since = int(inputs.get("rotateEvery") or 0), known.get("keyMade")
    return bool(every) and isinstance(since, (int, float)) and now - since > every


def overdue(key: Json) -> bool:
    """Whether the measured input `key` says so."""
    return isinstance(key, str) and key.startswith(OVERDUE)


def rotation(old: Mapping[str, Json]) -> bool:
    """Whether the measured key of an interface has to be rotated, or is being so: that disturbs nobody."""
    return old.get("key") == ROTATING or overdue(old.get("key"))


def renewed(old: Mapping[str, Json], new: Mapping[str, Json]) -> bool:
    """Whether an interface has another public key when it is changed from `old` to `new`."""
    return rotation(old) or int(new.get("keyGeneration") or 0) > int(old.get("keyGeneration") or 0)


def require_done(facts: Facts, old: Mapping[str, Json], new: Mapping[str, Json]) -> None:
    """Raises NotRotated when the rotation that comes before the change of an interface has not been done."""
    path = new["keyPath"]
    if path not in facts.public_keys:
        return  # it gets a new one
    seen = measured(facts, path, int(new.get("rotateEvery") or 0))
    late = overdue(old.get("key")) and seen == old.get("key")
    if late or seen == ROTATING or on_demand(facts, path, new.get("keyGeneration")):
        mesh = PurePosixPath(path).parent.name
        why = LEFT.get((path, new["node"]), "something has changed on the node meanwhile")
        raise NotRotated(
            f"the key of {new['node']} in the mesh {mesh} is not rotated: {why}",
            "mend that, then run `swarmctl apply` again: the rotation goes on from where it is",
        )


def words(node: str, key: str) -> str:
    """Why the key of `node` is rotated, by its measured input."""
    if key == ROTATING:
        return f"the rotation of the key of {node} was cut off and is finished"
    if overdue(key):
        return f"the key of {node} was {key}: it is rotated"
    return f"the key of {node} is rotated"


def duration(length: int) -> str:
    """`rotateEvery` as it is declared."""
    return exactly(length) if length else "never"


def nodes(old: Mapping[str, Json], new: Mapping[str, Json]) -> dict[str, str]:
    """The measured key by node, of those nodes of a rotation that it is for."""
    found = {}
    for name, wanted in new["nodes"].items():
        before = old["nodes"].get(name, wanted)
        if before["key"] != wanted["key"] or before["generation"] < wanted["generation"]:
            found[name] = before["key"]
    return found
