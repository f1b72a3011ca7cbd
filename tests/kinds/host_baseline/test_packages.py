"""Packages of a baseline: the least that is to be done, and the same by real dpkg and apt on a node."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.backends.base import Host
from swarmctl.errors import SwarmError
from swarmctl.hosts import packages as apt
from swarmctl.kinds.host_baseline.aspects.packages import PACKAGES, Before, steps
from swarmctl.kinds.host_baseline.reading import RECORDS
from tests.debian import machines
from tests.debian.build import Deb
from tests.debian.repository import Key, Repository
from tests.kinds.host_baseline.machine import OneHost

NAMES = ("aa", "bb", "cc")
VERSIONS = ("1", "2")
INSTALLED = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(VERSIONS))
WANTED = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(("present", "absent", *VERSIONS)))


def after(found: apt.Packages, todo: Any) -> apt.Packages:
    """What apt would make of it."""
    installed, held = dict(found.installed), {*found.held} - {*todo.unhold}
    for one in todo.install:
        name, _, version = one.partition("=")
        installed[name] = version or installed.get(name, VERSIONS[0])
    for name in [*todo.remove, *todo.spare]:
        installed.pop(name)
        held.discard(name)
    return apt.Packages("apt", installed, frozenset(held | {*todo.hold}))


@given(INSTALLED, st.sets(st.sampled_from(NAMES)), WANTED)
def test_what_is_declared_comes_to_be_and_is_given_back_as_it_was(
    installed: dict[str, str], held: set[str], wanted: dict[str, str]
) -> None:
    found = apt.Packages("apt", installed, frozenset(held & {*installed}))
    before = {name: Before(installed.get(name, ""), name in found.held) for name in wanted}
    done = after(found, steps(wanted, found, before))
    for name, want in wanted.items():
        have = done.installed.get(name, "")
        assert (
            (have == "")
            if want == "absent"
            else have
            if want == "present"
            else (have, name in done.held) == (want, True)
        )
    assert steps(wanted, done, before) == steps({}, done, {}), "the second time there is nothing to do"
    given_back = after(done, steps({}, done, before))
    assert {*given_back.installed} == {*installed}
    assert given_back.held <= found.held
    assert {name: it for name, it in done.installed.items() if name not in wanted} == {
        name: it for name, it in installed.items() if name not in wanted
    }


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path_factory.mktemp("repository"), key)
        made.add(
            *(Deb("swarm-time", version, files={"/usr/bin/swarm-time": version}) for version in ("1.0-1", "2.0-1")),
            Deb("swarm-tool", "1:1.0-1"),
            Deb("swarm-user", "1.0", depends="swarm-tool"),
            Deb("swarm-old", "1.0"),
        )
        data = tmp_path_factory.mktemp("data")
        with machines.machine(data) as host:
            machines.use(host, made)
            yield data, host
    finally:
        key.close()


@pytest.fixture
def hosts(node: tuple[Path, Host], monkeypatch: pytest.MonkeyPatch) -> OneHost:
    data, host = node
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return OneHost(host)  # type: ignore[arg-type]


def inputs(**packages: str) -> dict[str, Any]:
    declared = {f"swarm-{name}": want for name, want in packages.items()}
    return {"machine": "m", "host": {"node": "n1"}, "node": "n1", "baseline": "b", "packages": declared}


def applied(hosts: Any, wanted: Mapping[str, Any]) -> None:
    hosts.changed({})
    PACKAGES.create(hosts, wanted)
    hosts.changed({})
    observed = PACKAGES.read(hosts, wanted)
    assert observed is not None
    assert observed.inputs == wanted


def differing(hosts: Any, wanted: Mapping[str, Any]) -> dict[str, str]:
    hosts.changed({})
    observed = PACKAGES.read(hosts, wanted)
    assert observed is not None
    return {name: it for name, it in observed.inputs["packages"].items() if wanted["packages"][name] != it}


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("debian packages")
def test_real_packages_come_are_held_drift_and_are_given_back(hosts: Any) -> None:
    host: Host = hosts.host
    wanted = inputs(time="1.0-1", tool="present", old="absent")
    # The node knows nothing of its repositories yet: they are read when a package is not known.
    applied(hosts, wanted)
    said = host.run(["sh", "-c", "swarm-time 2>&1; apt-mark showhold; dpkg-query -W -f '${Version}' swarm-tool"]).text
    assert "swarm-time" in said
    assert said.endswith("1:1.0-1")

    host.run(["apt-get", "install", "-y", "--allow-change-held-packages", "swarm-time", "swarm-old"])
    assert differing(hosts, wanted) == {"swarm-time": "2.0-1 (not held)", "swarm-old": "1.0 (not held)"}
    applied(hosts, wanted)
    host.run(["apt-mark", "unhold", "swarm-time"])
    assert differing(hosts, wanted) == {"swarm-time": "1.0-1 (not held)"}
    host.run(["dpkg", "--remove", "swarm-tool"])
    assert differing(hosts, wanted) == {"swarm-time": "1.0-1 (not held)", "swarm-tool": "absent"}
    applied(hosts, wanted)

    with pytest.raises(SwarmError, match=r"no repository has swarm-time in version 3\.0-1"):
        PACKAGES.create(hosts, inputs(time="3.0-1", tool="present", old="absent"))
    host.run(["apt-get", "install", "-y", "swarm-user"])
    with pytest.raises(SwarmError, match="swarm-user would be removed, too"):
        PACKAGES.create(hosts, inputs(time="1.0-1", tool="absent", old="absent"))
    assert differing(hosts, wanted) == {}, "nothing was changed"

    PACKAGES.delete(hosts, inputs())
    listed = host.run(["sh", "-c", "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' 'swarm-*'"]).text
    there = {line.split()[0] for line in listed.splitlines() if line.split()[1].startswith(("ii", "hi"))}
    assert there == {"swarm-tool", "swarm-user"}, "what others need by now stays"
    assert host.run(["apt-mark", "showhold"]).text == ""
    assert host.run(["ls", RECORDS], check=False).returncode != 0
    hosts.changed({})
    assert PACKAGES.read(hosts, wanted) is None
    PACKAGES.delete(hosts, inputs())


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("debian packages")
def test_what_was_there_before_and_removed_comes_back(hosts: Any) -> None:
    host: Host = hosts.host
    host.run(["apt-get", "install", "-y", "swarm-old", "swarm-time=1.0-1"])
    host.run(["apt-mark", "hold", "swarm-time"])
    applied(hosts, inputs(old="absent", time="2.0-1"))
    applied(hosts, inputs(time="2.0-1"))
    assert "install ok installed" in host.run(["dpkg-query", "-W", "-f", "${Status}", "swarm-old"]).text
    PACKAGES.delete(hosts, inputs())
    assert host.run(["apt-mark", "showhold"]).text == "swarm-time\n", "somebody else's hold stays"
    assert host.run(["dpkg-query", "-W", "-f", "${Version}", "swarm-time"]).text == "2.0-1"


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("debian packages")
def test_what_another_baseline_has_by_then_stays_and_goes_with_the_last(hosts: Any) -> None:
    host: Host = hosts.host
    host.run(["dpkg", "--purge", "swarm-user", "swarm-tool", "swarm-time"])
    applied(hosts, inputs(time="1.0-1", tool="present"))
    applied(hosts, {**inputs(time="1.0-1"), "baseline": "aa"})
    applied(hosts, {**inputs(tool="present"), "baseline": "bb"})
    hosts.changed({})
    PACKAGES.delete(hosts, inputs())
    applied(hosts, {**inputs(time="1.0-1"), "baseline": "aa"})
    assert host.run(["apt-mark", "showhold"]).text == "swarm-time\n"
    for name in ("aa", "bb"):
        hosts.changed({})
        PACKAGES.delete(hosts, {**inputs(), "baseline": name})
    listed = host.run(["sh", "-c", "dpkg-query -W -f '${Package} ${db:Status-Abbrev}\\n' 'swarm-*'"], check=False).text
    assert not [
        line
        for line in listed.splitlines()
        if line.split()[:1] in (["swarm-time"], ["swarm-tool"]) and line.split()[1].startswith(("ii", "hi"))
    ]


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("debian packages")
def test_a_version_that_is_there_and_is_declared_afterwards_is_held_and_held_no_more_without_one(hosts: Any) -> None:
    host: Host = hosts.host
    host.run(["dpkg", "--purge", "--force-hold", "swarm-user", "swarm-tool", "swarm-time"])
    old, new, any_one = inputs(time="1.0-1"), inputs(time="2.0-1"), inputs(time="present")
    applied(hosts, old)
    host.run(["apt-mark", "unhold", "swarm-time"])
    host.run(["apt-get", "install", "-y", "swarm-time"])
    hosts.changed({})
    found = PACKAGES.read(hosts, old)
    assert found is not None
    assert PACKAGES.diff(found.inputs, new), "nothing holds it yet"
    PACKAGES.update(hosts, found.inputs, new)
    assert host.run(["apt-mark", "showhold"]).text == "swarm-time\n"
    PACKAGES.update(hosts, new, any_one)
    assert host.run(["apt-mark", "showhold"]).text == ""
    hosts.changed({})
    assert differing(hosts, any_one) == {}
    PACKAGES.delete(hosts, inputs())


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.xdist_group("debian packages")
def test_a_machine_without_apt_is_told(hosts: Any) -> None:
    hosts.changed({})
    hosts.found[apt.READING.name] = apt.Packages("dnf")
    with pytest.raises(SwarmError, match="it has no apt"):
        PACKAGES.create(hosts, inputs(tool="present"))
    hosts.changed({})
