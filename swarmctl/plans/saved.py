"""What a saved plan is: its body, what stands outside it, and the bytes that are hashed and signed. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from swarmctl.plans.model import Preconditions

LONGEST = timedelta(days=30)
"""No plan is good for longer: for how long it has to be known when a stack was destroyed."""
OUTSIDE = ("createdAt", "expiresAt", "id", "digest", "signature")
"""Fields of the file that are not in its body: they differ although the plan is the same."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """A plan file that was read and is intact; by whom it was signed is another question."""

    stack: str
    body: Mapping[str, Any]
    """The plan as `encode.plan` makes it, and its `preconditions`."""
    preconditions: Preconditions
    digest: str
    """SHA-256 of the body, in hex."""
    created: datetime
    """In UTC."""
    expires: datetime
    """In UTC."""
    id: str
    """SHA-256, in hex, of what is signed: no two plans have the same one, and nobody can give a plan another."""
    signature: str
    """In the armour of OpenSSH."""

    @property
    def partial(self) -> tuple[str, ...]:
        """The addresses that it was held to; empty when it is of the whole stack."""
        return tuple(self.body["partial"])

    def document(self) -> dict[str, Any]:
        """All of the file."""
        times = {"createdAt": timestamp(self.created), "expiresAt": timestamp(self.expires)}
        return {**self.body, **times, "id": self.id, "digest": self.digest, "signature": self.signature}

    @property
    def signed(self) -> bytes:
        """What the signature is over."""
        return message(self.digest, timestamp(self.created), timestamp(self.expires))


def message(digest: str, created: str, expires: str) -> bytes:
    """What is signed: the digest of the body and the two times, as canonical JSON."""
    return canonical({"digest": digest, "createdAt": created, "expiresAt": expires})


def plan_id(message: bytes) -> str:
    """The id of the plan that is signed by signing `message`."""
    return hashlib.sha256(message).hexdigest()


def body_digest(body: Mapping[str, Any]) -> str:
    """SHA-256 over the body's canonical JSON, in hex."""
    return hashlib.sha256(canonical(body)).hexdigest()


def canonical(value: Any) -> bytes:
    """JSON with sorted keys, no spaces and ASCII only."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def timestamp(moment: datetime) -> str:
    """RFC 3339, in UTC, to the millisecond."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1000:03}Z"


def moment(text: str) -> datetime:
    """`timestamp`'s way back. Raises ValueError for every other way to write a time."""
    mistake = f"no time as plans have it: {text[:40]!r}"
    try:
        found = datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%fZ").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(mistake) from error
    if timestamp(found) != text:
        raise ValueError(mistake)
    return found
