"""Plan files as somebody would forge them who can compute digests and has a key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from swarmctl.plans import saved, signing


def sealed(document: dict[str, Any], key: Path) -> str:
    """A plan file with this content: digest, id, signature and layout fit it."""
    body = {name: value for name, value in document.items() if name not in saved.OUTSIDE}
    outside = {name: value for name, value in document.items() if name in ("createdAt", "expiresAt")}
    digest = saved.body_digest(body)
    message = saved.canonical({"digest": digest, **outside})
    made = {**body, **outside, "digest": digest, "id": saved.plan_id(message)}
    return laid_out({**made, "signature": signing.with_local_key(key)(message)})


def laid_out(document: dict[str, Any]) -> str:
    """The text of a plan file, with all that is in it as it is."""
    return json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
