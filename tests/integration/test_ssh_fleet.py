"""Machines over SSH, declared, taken over, meshed, guarded, changed and given back through the real command line."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.integration.fleet import Fleet, fleet

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-fleet")]


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("fleet"), ["n1", "n2", "n3"]) as made:
        yield made


def test_machines_are_taken_over_and_given_back(metal: Fleet) -> None:
    metal("validate")
    print(metal("plan").out)
    print(metal("apply", "--yes").out)
    print(metal("status").out)
    print(metal("plan", "--detailed-exitcode").out)
    print(metal("drift").out)
    print(metal("mesh", "verify", code=None).out)
    print(metal("logs", "n1").out)
    print(metal("doctor").out)
    print(metal("doctor", "--stack").out)
    print(metal("destroy", "--yes").out)
    for name in metal.servers:
        print(metal.left(name))
