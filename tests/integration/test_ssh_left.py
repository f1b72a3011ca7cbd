"""Machines over SSH that are left out, and what a command tells then: the whole outcome, in JSON as well."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.integration.fleet import Fleet, fleet
from tests.integration.test_ssh_faults import silenced

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-left")]


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("left"), ["n1", "n2", "n3"]) as made:
        yield made


def test_a_stack_of_which_no_machine_can_be_taken_over_has_an_empty_plan(metal: Fleet) -> None:
    metal.declare(metal.host("n2"))
    with silenced(metal, "n2"):
        for command in (("plan",), ("apply", "--yes"), ("apply", "--yes", "--no-refresh")):
            document = json.loads(metal(*command, "--format", "json", code=8).out)
            assert document["changes"] == []
            assert [one["node"] for one in document["unread"]] == ["n2"]
        assert "1 machine left alone: n2" in metal("plan", code=8).out
        document = json.loads(metal("plan", "--no-refresh", "--format", "json", code=0).out)
        assert document["unread"] == []
        assert document["worldRead"] is False
        assert "nodepool/metal[n2]" in {one["address"] for one in document["changes"]}


def test_a_key_in_the_home_of_nobody_leaves_its_machine_alone(metal: Fleet) -> None:
    metal.declare(metal.host("n1"), metal.host("n2"))
    metal("apply", "--yes", code=0)
    metal.declare(metal.host("n1"), metal.host("n2", key="~nosuchuser/key"), metal.host("n3", key="~nosuchuser/key"))
    reason = "the private key ~nosuchuser/key can't be read: no such home folder"
    for command, code in (("plan", 8), ("status", 8), ("facts", 8)):
        run = metal(command, code=code)
        said = " ".join((run.out + run.err).split())
        assert "bug" not in said
        assert reason in said, said
    assert reason in " ".join(metal("exec", "n2", "--", "id", code=8).err.split())


def test_a_stray_that_keeps_something_beside_a_silent_machine_loses_nothing_of_what_was_done(metal: Fleet) -> None:
    metal.declare(metal.host("n1"), metal.host("n2"))
    metal("apply", "--yes", code=0)
    mark = "/var/lib/swarmctl/baseline/x/users/made"
    metal.inside("n3", f"mkdir -p {mark}; printf 'metal\\nn3\\nx\\n' >/var/lib/swarmctl/machine")
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    with silenced(metal, "n2"):
        run = metal("destroy", "--yes", "--format", "json", code=7)
        document = json.loads(run.out)
        assert document["done"]["delete"] > 0
        assert [one["node"] for one in document["unread"]] == ["n2"]
        assert [one["address"] for one in document["failures"]] == ["ssh/n3"]
        assert "nodepool/metal[n2]" in document["kept"]
        last = run.err[run.err.index("error: ") :]
        assert "n3: not everything could be taken away" in " ".join(last.split())
        assert "still in the state: " in last
        assert "`swarmctl destroy` takes it away" in " ".join(metal("state", "list").out.split())
    metal.inside("n3", "rm -r /var/lib/swarmctl/baseline")
    metal("destroy", "--yes", code=0)
    assert [metal.left(name).strip() for name in ("n1", "n2", "n3")] == [""] * 3
