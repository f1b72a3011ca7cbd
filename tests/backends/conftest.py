"""Labs of real namespaces, taken away afterwards whatever a test did."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends.base import Host, Placement
from swarmctl.backends.lab import modes

from . import labs


@pytest.fixture(scope="session")
def mode() -> modes.Mode:
    """What this machine allows; skips where that is nothing."""
    try:
        return modes.detect("tests", None)
    except modes.LabImpossible as error:
        pytest.skip("; ".join((error.message, *error.details)))


@pytest.fixture
def lab(mode: modes.Mode, environment: Path) -> Iterator[None]:
    """A lab may be made; nothing of it is left after the test."""
    try:
        yield
    finally:
        labs.backend.sweep(labs.STACK)
    assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()


@pytest.fixture
def placement(lab: None) -> Placement:
    """One node, made."""
    (only,) = labs.place(labs.pool())
    labs.backend.create_machine(only.inputs)
    return only


@pytest.fixture(scope="session")
def shared(mode: modes.Mode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Placement]]:
    """The data folder of a lab with one node, for tests that leave the node as it was."""
    with pytest.MonkeyPatch.context() as patch:
        data = tmp_path_factory.mktemp("shared")
        patch.setenv("XDG_DATA_HOME", str(data))
        (only,) = labs.place(labs.pool())
        labs.backend.create_machine(only.inputs)
    try:
        yield data, only
    finally:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_DATA_HOME", str(data))
            labs.backend.sweep(labs.STACK)
            assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()


@pytest.fixture
def host(shared: tuple[Path, Placement], environment: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """The shared node; it has no services."""
    data, only = shared
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    found = labs.host(only)
    for service in found.services():
        found.stop_service(service.name)
    return found
