"""Backends: one folder per hardware provider. The registry is the folder list; loading one imports that one only.

A folder is a backend once it has a `backend.py`: before that nothing can be placed on it, and no declaration names it.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from swarmctl.backends.base import Backend, Fence, Host


def names() -> list[str]:
    """All backends, sorted, without importing any of them."""
    folders = sorted(module.name for module in pkgutil.iter_modules(__path__) if module.ispkg)
    return [name for name in folders if any((Path(path) / name / "backend.py").is_file() for path in __path__)]


def specs() -> Mapping[str, type[Any]]:
    """The spec types under NodePool by backend key; imports nothing but each backend's `spec` module."""
    return {name: importlib.import_module(f"{__name__}.{name}.spec").SPEC for name in names()}


def underlay(name: str) -> tuple[str, ...]:
    """Networks that the machines' addresses below the mesh are taken from: `UNDERLAY` of the backend's `spec` module.

    Empty when the backend gives out no addresses itself.
    """
    return tuple(getattr(importlib.import_module(f"{__name__}.{name}.spec"), "UNDERLAY", ()))


def interfaces(name: str) -> tuple[str, ...]:
    """Network interfaces that machines have before there is a mesh: `INTERFACES` of the backend's `spec` module."""
    return tuple(getattr(importlib.import_module(f"{__name__}.{name}.spec"), "INTERFACES", ()))


def least_memory(name: str) -> int:
    """Bytes without which a machine does not work: `LEAST_MEMORY` of the backend's `spec` module, 1 by default."""
    return int(getattr(importlib.import_module(f"{__name__}.{name}.spec"), "LEAST_MEMORY", 1))


def by_declaration(name: str) -> bool:
    """Whether the way to machines stands in the declarations: `BY_DECLARATION` of the backend's `spec` module.

    False for a backend that there is not (any more): a state may name one.
    """
    try:
        return bool(getattr(importlib.import_module(f"{__name__}.{name}.spec"), "BY_DECLARATION", False))
    except ModuleNotFoundError:
        return False


@cache
def load(name: str) -> Backend:
    """The backend called `name`. Raises KeyError when there is none."""
    if name not in names():
        raise KeyError(name)
    return cast("Backend", importlib.import_module(f"{__name__}.{name}.backend").BACKEND)


def disconnect(used: Iterable[str]) -> None:
    """Have these backends close the connections that they keep: who answers from now on answers a new one.

    What was let in before a firewall was changed may stay so when nothing new is let in any more.
    """
    for name in set(used) & set(names()):
        load(name).disconnect()


def open_host(host: Mapping[str, Any], fence: Fence | None = None) -> Host:
    """The host that a machine's `host` input names; with a fence what changes it is compared there first.

    Of a machine that is declared lost one that answers nothing but `HostGone`, without asking it.
    """
    from swarmctl.backends import ways

    if ways.is_lost(host):
        from swarmctl.backends.lost import Lost

        return Lost(str(host["node"]))
    return load(host["backend"]).open_host(host, fence)
