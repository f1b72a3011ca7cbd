"""Machines that can't be taken over now, where others hang on them: a hub, one in another's place, one whose state was
lost."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.integration.fleet import Fleet, fleet
from tests.integration.test_ssh_faults import silenced, told

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-left-out")]
FULL = "umount /var/lib/swarmctl 2>/dev/null; mkdir -p /var/lib/swarmctl; mount -t tmpfs -o size=4k t /var/lib/swarmctl"


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("left-out"), ["n1", "n2", "n3"]) as made:
        yield made


def peers(metal: Fleet, name: str) -> int:
    return len(metal.inside(name, "wg show all peers 2>/dev/null || :").splitlines())


def test_without_the_hub_the_spokes_are_taken_over_and_wait_for_their_tunnels(metal: Fleet) -> None:
    cluster = metal.stack / "cluster.yaml"
    whole = cluster.read_text()
    cluster.write_text(whole.replace("  confirmWithin", "  topology: {hubs: {select: {hub: 'yes'}}}\n  confirmWithin"))
    metal.declare(metal.host("n1", labels={"hub": "yes"}), metal.host("n2"), metal.host("n3"))
    with silenced(metal, "n1"):
        for command in (["plan"], ["apply", "--yes"]):
            said = told(metal, *command, code=8)
            assert "n1 (worker@10.201.7.11) refuses connections to port 22" in said
            assert "no way to each other" not in said
        assert [peers(metal, name) for name in ("n2", "n3")] == [0, 0]
        assert "inet swarmctl" in metal.inside("n2", "nft list tables"), "all that needs no tunnel is there"
    told(metal, "apply", "--yes", code=0)
    assert [peers(metal, name) for name in ("n1", "n2", "n3")] == [2, 1, 1]
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)
    told(metal, "destroy", "--yes", code=0)
    cluster.write_text(whole)


def test_a_machine_is_not_emptied_for_one_that_could_not_stand_in_its_place(metal: Fleet) -> None:
    metal.declare(metal.host("n1"), metal.host("n2"))
    told(metal, "apply", "--yes", code=0)
    before = metal.inside("n2", "wg show all dump | cut -f 1-2; nft list table inet swarmctl | grep -c accept")
    metal.declare(metal.host("n1"), metal.host("n3") | {"name": "n2"})
    told(metal, "plan", "--out", "reviewed.json", code=0)
    metal.inside("n3", f"{FULL}; echo >/var/lib/swarmctl/x")
    said = told(metal, "apply", "--yes", "--plan", "reviewed.json", code=5)
    assert "a machine of the plan can't be taken over now" in said
    assert "n2: its disk is full: 0 KiB are free in /var/lib" in said
    for command in (["plan"], ["apply", "--yes"]):
        said = told(metal, *command, code=8)
        assert "n2 is left alone: its disk is full: 0 KiB are free in /var/lib" in said
    assert metal.inside("n2", "wg show all dump | cut -f 1-2; nft list table inet swarmctl | grep -c accept") == before
    assert peers(metal, "n1") == 1
    metal.inside("n3", "umount /var/lib/swarmctl; rm -rf /var/lib/swarmctl")
    told(metal, "apply", "--yes", code=0)
    assert (metal.left("n2").strip(), peers(metal, "n3")) == ("", 1)
    told(metal, "destroy", "--yes", code=0)


def test_what_fails_after_the_old_one_is_emptied_is_partly_done(metal: Fleet) -> None:
    metal.declare(metal.host("n1"))
    told(metal, "apply", "--yes", code=0)
    metal.inside("n2", "mkdir -p /var/lib/swarmctl/machine")  # what only shows when it is written to
    metal.declare(metal.host("n2") | {"name": "n1"})
    said = told(metal, "apply", "--yes", code=7)
    assert "Partly done:" in said
    assert "removed and not made anew" in said
    assert metal.left("n1").strip() == ""
    metal.inside("n2", "rm -rf /var/lib/swarmctl")
    told(metal, "apply", "--yes", code=0)
    told(metal, "destroy", "--yes", code=0)


def test_a_machine_of_a_stack_whose_state_was_lost_is_nobodys_to_remove_while_it_is_silent(metal: Fleet) -> None:
    metal.declare(*(metal.host(name) for name in ("n1", "n2", "n3")))
    told(metal, "apply", "--yes", code=0)
    (state,) = metal.root.glob("**/swarmctl/stacks")
    shutil.rmtree(state)
    with silenced(metal, "n2"):
        plan = metal("plan", "--format", "json", code=8).json
        assert [it["address"] for it in plan["changes"] if it["action"] == "delete"] == []
        assert [it["node"] for it in plan["unread"]] == ["n2"]
        assert not [it for it in plan["changes"] if it["node"] == "n2"]
        told(metal, "apply", "--yes", code=8)
        assert [peers(metal, name) for name in ("n1", "n3")] == [2, 2], "it is not known to be gone"
    told(metal, "apply", "--yes", code=0)
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)
    assert [peers(metal, name) for name in ("n1", "n2", "n3")] == [2, 2, 2]
    told(metal, "destroy", "--yes", code=0)
    assert [metal.left(name).strip() for name in ("n1", "n2", "n3")] == [""] * 3
