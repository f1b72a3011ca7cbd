"""Selectors over labels: the same form everywhere in the language."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Protocol, TypeVar


class Labelled(Protocol):
    """What selectors choose from."""

    @property
    def labels(self) -> Mapping[str, str]: ...


T = TypeVar("T", bound=Labelled)


def matches(selector: Mapping[str, str], labels: Mapping[str, str]) -> bool:
    """Whether every label of `selector` is there with its value; an empty selector takes everything."""
    return all(labels.get(key) == value for key, value in selector.items())


def select(selector: Mapping[str, str], items: Iterable[T]) -> list[T]:
    """Those that have all labels of the selector."""
    return [item for item in items if matches(selector, item.labels)]
