"""What becomes of a state whose passphrase is gone.

The engine will not open a checkpoint that names a salt without the passphrase that belongs to it, also when nothing in
it is encrypted, which is how swarmctl's own are. Such a salt can go, and the engine makes a new one. One with secrets
in it stays shut; to take everything away they are not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from swarmctl.errors import SwarmError
from swarmctl.state.checkpoint import SECRET, SIGNATURE, latest, salt
from swarmctl.state.keys import Keys

if TYPE_CHECKING:
    from swarmctl.state.lease import Lease
    from swarmctl.state.model import Published
    from swarmctl.state.store import Store

Json = Any


class PassphraseGone(SwarmError):
    """There are secrets in the state, and nothing to decrypt them with."""


def shut(keys: Keys, checkpoint: Mapping[str, Json] | None) -> bool:
    """Whether the checkpoint asks for a passphrase that is not there."""
    its = salt(checkpoint)
    return bool(its) and not keys.passphrase(its).exists()


def opened(keys: Keys, checkpoint: Mapping[str, Json]) -> Mapping[str, Json]:
    """The checkpoint as the engine can open it: the same, or without a salt that nothing needs.

    Raises `PassphraseGone` when something is encrypted with what is not there.
    """
    if not shut(keys, checkpoint):
        return checkpoint
    if _sealed(checkpoint):
        raise PassphraseGone(
            f"the state holds secrets, and the passphrase that they are encrypted with is gone: there is no "
            f"{keys.passphrase(salt(checkpoint))}",
            "put that file back from a backup, its mode 0600; or `swarmctl destroy`, which works without it",
        )
    return _without_salt(checkpoint)


def settle(store: Store, lease: Lease) -> list[str]:
    """Say which keys are gone; and let go of a salt that nothing needs, before a new passphrase is made. Call it with
    nothing to recover. Raises `LeaseLost`."""
    base = store.load()
    if base is None:
        return []
    told = []
    if shut(store.keys, base.checkpoint) and not _sealed(base.checkpoint):
        _publish(store, lease, base, _without_salt(base.checkpoint))
        told.append("the passphrase of the state is gone; nothing was encrypted with it, and a new one is made")
    return told + digests(store)


def digests(store: Store) -> list[str]:
    """What to tell when the key of the digests in the state is gone: whoever looks next makes a new one."""
    key = store.keys.digests
    if key.exists() or not store.file.is_file() or b'"hmac-sha256:' not in store.file.read_bytes():
        return []
    return [f"the key that secrets are compared with is gone ({key}): each looks changed, once"]


def give_up(store: Store, lease: Lease) -> bool:
    """Let go of secrets that nobody can decrypt any more, so that everything can be destroyed; whether there were any.

    Raises `LeaseLost`.
    """
    base = store.load()
    if base is None or not shut(store.keys, base.checkpoint):
        return False
    _publish(store, lease, base, emptied(base.checkpoint))
    return True


def _publish(store: Store, lease: Lease, base: Published, checkpoint: Mapping[str, Json]) -> None:
    store.publish(lease, base.generation, checkpoint, applied=base.applied, plans=base.plans)


def emptied(checkpoint: Mapping[str, Json]) -> Mapping[str, Json]:
    """The checkpoint without salt, every secret an empty text: enough to remove what it records."""
    return _without_salt(_blank(checkpoint))


def _is_secret(value: Json) -> bool:
    return isinstance(value, Mapping) and value.get(SIGNATURE) == SECRET and "ciphertext" in value


def _sealed(value: Json) -> bool:
    if isinstance(value, Mapping):
        return _is_secret(value) or any(map(_sealed, value.values()))
    return isinstance(value, list) and any(map(_sealed, value))


def _blank(value: Json) -> Json:
    if isinstance(value, Mapping):
        return "" if _is_secret(value) else {key: _blank(item) for key, item in value.items()}
    return [_blank(item) for item in value] if isinstance(value, list) else value


def _without_salt(checkpoint: Mapping[str, Json]) -> dict[str, Json]:
    deployment = {key: value for key, value in latest(checkpoint).items() if key != "secrets_providers"}
    return {**checkpoint, "checkpoint": {**checkpoint["checkpoint"], "latest": deployment}}
