"""Selectors over labels: the same form everywhere in the language."""

from __future__ import annotations

from collections.abc import Mapping


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label of `selector` is there with its value; an empty selector takes everything."""
    return all(labels.get(key) == value for key, value in selector.items())
