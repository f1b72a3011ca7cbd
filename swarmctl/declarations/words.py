"""Words for messages: names, values and places as people read them, and what somebody may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from swarmctl.documents.document import Path


def fold(word: str) -> str:
    """The word without case, hyphens and underscores, so that `security_policy` equals `securityPolicy`."""
    return word.replace("-", "").replace("_", "").lower()


def nearest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The choice that is most like `word`, empty when none is like it."""
    folded: dict[str, str] = {}
    for choice in choices:
        folded.setdefault(fold(choice), choice)
    wanted = fold(word)
    if wanted in folded:
        return folded[wanted]
    if len(wanted) >= 4:
        inside = [choice for text, choice in folded.items() if wanted in text or (len(text) >= 4 and text in wanted)]
        if len(inside) == 1:
            return inside[0]
    import difflib

    near = difflib.get_close_matches(wanted, folded, n=1, cutoff=cutoff)
    return folded[near[0]] if near else ""


def did_you_mean(word: str, choices: Iterable[str]) -> str:
    """A sentence `did you mean `X`?`, empty when nothing is near."""
    near = nearest(word, choices)
    return f"did you mean `{near}`?" if near else ""


def listing(names: Iterable[str], *, limit: int = 12) -> str:
    """Names for a help line, sorted, the rest counted."""
    found = sorted(set(names))
    shown = ", ".join(f"`{name}`" for name in found[:limit])
    return f"{shown} and {len(found) - limit} more" if len(found) > limit else shown


def sentences(*parts: str) -> str:
    """The parts that are not empty, joined for one help line."""
    text = ""
    for part in parts:
        if part:
            text += f"{'' if not text else ' ' if text.endswith('?') else '; '}{part}"
    return text


def shown_path(path: Path) -> str:
    """`("spec", "flows", 0, "ports")` → `spec.flows[0].ports`."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def shown(value: Any) -> str:
    """A value as a message names it."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        text = str(value)
        return f"the number {text if len(text) <= 24 else text[:20] + '…'}"
    if isinstance(value, str):
        return f'the text "{value if len(value) <= 40 else value[:37] + "…"}"'
    return "a list" if isinstance(value, list) else "a mapping"
