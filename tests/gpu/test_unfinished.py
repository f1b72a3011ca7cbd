"""A driver whose change was cut off, and that nobody declares any more: its machine does not get back into service.

dpkg is real, NVIDIA's programs are stand-ins (`standins/`), the scheduler is a script.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from swarmctl.backends.base import Host, HostUnreachable
from swarmctl.hosts import packages
from swarmctl.hosts.fence import Fence
from swarmctl.kinds.node_pool.accelerators.errors import DriverUnfinished
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from swarmctl.kinds.node_pool.draining.reading import FOLDER, TURNS
from swarmctl.kinds.node_pool.draining.resources import DRAIN
from swarmctl.kinds.node_pool.draining.service import DrainFailed
from swarmctl.provider.hosts import Connections
from tests.debian.repository import Repository
from tests.gpu.test_driver_nodes import NEW, OLD, CutOff, World, inputs
from tests.gpu.test_driver_nodes import host as host
from tests.gpu.test_driver_nodes import node as node
from tests.gpu.test_driver_nodes import repository as repository

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

SCHEDULER = """#!/bin/sh
echo "$1" >>/srv/asked
case $1 in check) cat /srv/state ;; drain) echo drained >/srv/state ;; uncordon) echo active >/srv/state ;; esac
"""
HOOKS = {name: ["/srv/scheduler", name] for name in ("cordon", "drain", "uncordon", "check")} | {"timeout": 30}


@pytest.fixture
def world(host: Host, repository: Repository) -> World:
    """OLD runs there, in service; the change to NEW is cut off when its packages are there."""
    made = World(host)
    host.put("/srv/scheduler", SCHEDULER.encode(), mode=0o755)
    made.sh("echo active >/srv/state")
    made.bring(with_hooks(repository, OLD))
    cut = World(CutOff(host, "modprobe nvidia", after=False))  # type: ignore[arg-type]
    with pytest.raises(HostUnreachable):
        cut.bring(with_hooks(repository, NEW))
    made.sh("dpkg --audit >/dev/null; rm -f /srv/asked")
    return made


def with_hooks(repository: Repository, version: str) -> dict[str, Any]:
    return {**inputs(repository, version), "drain": {"state": "active", "hooks": HOOKS}}


def drain(wanted: Mapping[str, Any]) -> dict[str, Any]:
    return {**{key: wanted[key] for key in ("machine", "host", "node")}, **wanted["drain"]}


def read(world: World, wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    world.hosts.changed(wanted["host"])
    found = DRIVER.read(world.hosts, wanted)
    assert found is not None
    return found.inputs


def test_it_is_not_let_go_and_its_machine_stays_out_of_service_until_it_works(
    world: World, repository: Repository
) -> None:
    recorded = with_hooks(repository, OLD)
    found = read(world, recorded)
    assert [effect.text for effect in DRIVER.effects(found, None)] == [
        f"driver {NEW} was never verified to work: its change failed or was cut off",
        "it is not let go like that: declare it once more and apply, then take it out",
        "only `destroy` lets it go as it is, and puts no machine back into service",
    ]
    assert DRIVER.impact(found, None).text == "a-0 stays out of service"
    with pytest.raises(DriverUnfinished) as raised:
        DRIVER.delete(world.hosts, recorded)
    assert raised.value.message.endswith("never verified to work: it is not let go like that; it stays out of service")
    assert f"{NVIDIA.folder} and {TURNS}/driver" in raised.value.hint
    assert "unverified" in world.sh(f"ls {NVIDIA.folder}"), "nothing of the way back is gone"
    with pytest.raises(DrainFailed, match="nobody knows that it works, so `drain` is not taken away yet"):
        DRAIN.delete(world.hosts, drain(recorded))
    service = DRAIN.read(world.hosts, drain(recorded))
    assert service is not None
    assert service.inputs["state"] == "active", "the plan has nothing to heal there"
    assert world.sh("cat /srv/state; grep -c uncordon /srv/asked || :") == "drained\n0\n"

    world.bring({**inputs(repository, OLD)})  # declared once more, and without hooks
    DRAIN.delete(world.hosts, drain(recorded))
    assert world.sh("cat /srv/state") == "active\n", "it works, so it is brought back"
    DRIVER.delete(world.hosts, recorded)
    assert [effect.text for effect in DRIVER.effects(read(world, recorded), None)] == [
        f"driver {OLD} stays installed, and is held no more"
    ]


def test_when_the_whole_stack_goes_packages_are_made_whole_and_the_machine_stays_drained(
    world: World, repository: Repository
) -> None:
    recorded = with_hooks(repository, OLD)
    half = "/^Package: libnvidia-nscq$/,/^$/s/ ok installed$/ ok half-configured/"
    world.sh(f"sed -i '{half}' /var/lib/dpkg/status")
    ends = Connections(open_host=lambda about, fence: world.host, fence=Fence("trial", 7, "me@here", destroys=True))
    DRIVER.delete(ends, recorded)
    DRIVER.delete(ends, recorded)
    found = packages.READING.parse(world.host.run(packages.READING.argv).stdout, "n")
    assert not found.interrupted
    assert not found.broken
    assert not found.held & set(recorded["packages"])
    DRAIN.delete(ends, drain(recorded))
    assert world.sh(f"cat /srv/state; ls -d {FOLDER} {NVIDIA.folder} 2>/dev/null || :") == "drained\n"
