"""What is in force by hand and declared afterwards is also there after a restart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from swarmctl.kinds.base import ResourceType
from swarmctl.kinds.host_baseline.aspects.sysctl import SYSCTL
from swarmctl.kinds.host_baseline.aspects.time import TIME
from tests.kinds.host_baseline import machine as machines

pytestmark = [pytest.mark.integration, pytest.mark.skipif(bool(machines.missing()), reason=machines.missing())]


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[machines.OneHost]:
    with machines.Machine(tmp_path) as made:
        yield machines.OneHost(made)


def inputs(**own: Any) -> dict[str, Any]:
    return {"machine": "m", "host": {"backend": "test", "node": "n1"}, "node": "n1", "baseline": "b", **own}


def declared_next(kind: ResourceType, hosts: Any, old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """As an apply does it: what is recorded is read back, compared with what is declared, and changed if it differs."""
    hosts.changed({})
    found = kind.read(hosts, old)
    assert found is not None
    assert kind.diff(found.inputs, new), "nothing would be done"
    kind.update(hosts, found.inputs, new)
    hosts.changed({})
    found = kind.read(hosts, new)
    assert found is not None
    assert found.inputs == new


def test_a_setting(hosts: machines.OneHost) -> None:
    machine, file = hosts.host, "/etc/sysctl.d/99-zz-swarmctl-b.conf"
    old, new = (inputs(values={"net.core.somaxconn": value}) for value in ("5040", "6000"))
    SYSCTL.create(hosts, old)  # type: ignore[arg-type]
    machine.sh("echo 6000 >/proc/sys/net/core/somaxconn")
    declared_next(SYSCTL, hosts, old, new)
    assert machine.sh(f"cat {file}") == "net.core.somaxconn = 6000\n"
    machine.sh(f"echo 'net.core.somaxconn = 5040' >{file}")
    declared_next(SYSCTL, hosts, new, old)
    assert machine.sh(f"cat {file} /proc/sys/net/core/somaxconn") == "net.core.somaxconn = 5040\n5040\n"


SYSTEMD = r"""#!/bin/sh
state=/run/enabled
case $1 in
  is-enabled) cat $state; grep -q enabled $state ;;
  enable) echo enabled >$state ;;
  disable) echo disabled >$state ;;
  is-active) exit 0 ;;
esac
"""


@pytest.mark.parametrize("word", ["disabled", "masked"])
def test_a_time_service_that_runs_and_is_not_started_again(hosts: machines.OneHost, word: str) -> None:
    machine = hosts.host
    machine.sh(f"mkdir -p /run/systemd/system /etc/chrony; cp /bin/true /usr/sbin/chronyd; echo {word} >/run/enabled")
    machine.sh(f"printf '%s' '{SYSTEMD}' >/usr/sbin/systemctl; chmod 755 /usr/sbin/systemctl")
    wanted = inputs(servers=["time.example"], running=True)
    TIME.create(hosts, wanted)  # type: ignore[arg-type]
    assert machine.sh("cat /run/enabled") == "enabled\n"
    machine.sh(f"echo {word} >/run/enabled")
    declared_next(TIME, hosts, wanted, wanted)
    assert machine.sh("cat /run/enabled") == "enabled\n"
