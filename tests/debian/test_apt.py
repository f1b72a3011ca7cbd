"""Packages are read and changed by real dpkg and apt on a node, and every way to fail is told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends.base import Host
from swarmctl.hosts import packages
from swarmctl.hosts.packages import Move, Packages

from . import machines
from .build import Deb
from .repository import Key, Repository

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("debian packages")]

OLD, NEW = "595.80.01", "595.91.07"
DRIVER = "swarm-fabricmanager"
DIE = "[ ! -e /run/die ] || kill -9 $PPID"
"""A package's script ends dpkg itself, as a power cut does."""
HOLD = "import fcntl,time;f=open('/var/lib/dpkg/lock-frontend','w');fcntl.lockf(f,fcntl.LOCK_EX);time.sleep({})"


def debs() -> list[Deb]:
    versions = [f"{OLD}-1ubuntu1", f"{NEW}-1ubuntu1"]
    made = [Deb(DRIVER, version, files={"/usr/bin/swarm-fm": version}) for version in versions]
    made += [Deb("swarm-nscq", version, depends=f"{DRIVER} (= {version})") for version in versions]
    return [
        *made,
        Deb("swarm-open", "1:1.0-1", more={"Conflicts": "swarm-closed", "Provides": "swarm-module"}),
        Deb("swarm-closed", "1:1.0-1", more={"Conflicts": "swarm-open", "Provides": "swarm-module"}),
        Deb("swarm-large", "1.0", files={"/dev/shm/large": "x" * 200_000}),
        Deb("swarm-cut", "1.0", scripts={"postinst": DIE}),
        Deb("swarm-failing", "1.0", scripts={"postinst": "echo no compiler here >&2\nexit 3"}),
        Deb("swarm-withdrawn", "1.0"),
        Deb("swarm-changed", "1.0"),
    ]


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path_factory.mktemp("repository"), key)
        made.add(*debs())
        yield made
    finally:
        key.close()


@pytest.fixture(scope="module")
def node(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    data = tmp_path_factory.mktemp("data")
    with machines.machine(data) as host:
        machines.use(host, repository)
        packages.carry_out(host, packages.refresh(machines.SOURCE))
        yield data, host


@pytest.fixture
def host(node: tuple[Path, Host], monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    data, found = node
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    yield found
    for service in found.services():
        found.stop_service(service.name)


def read(host: Host) -> Packages:
    return packages.READING.parse(host.run(packages.READING.argv).stdout, host.name)


def failed(host: Host, work: packages.Work) -> packages.PackagesFailed:
    with pytest.raises(packages.PackagesFailed) as raised:
        packages.carry_out(host, work)
    assert raised.value.message.startswith(f"{host.name}: ")
    assert raised.value.hint
    return raised.value


def test_exact_versions_are_installed_held_and_moved_up_and_down(host: Host) -> None:
    wanted = [f"{DRIVER}={OLD}-*", f"swarm-nscq={OLD}-*"]
    planned = packages.moves(packages.carry_out(host, packages.simulate(wanted)))
    assert planned == (Move(DRIVER, "", f"{OLD}-1ubuntu1"), Move("swarm-nscq", "", f"{OLD}-1ubuntu1"))
    packages.carry_out(host, packages.install(wanted))
    packages.carry_out(host, packages.hold([DRIVER, "swarm-nscq"]))
    found = read(host)
    assert found.manager == "apt"
    assert found.installed[DRIVER] == found.installed["swarm-nscq"] == f"{OLD}-1ubuntu1"
    assert {DRIVER, "swarm-nscq"} <= found.held
    assert not found.interrupted

    host.run(["sh", "-c", "apt-get -q -y upgrade"], timeout=60)
    assert read(host).installed[DRIVER] == f"{OLD}-1ubuntu1", "what is held stays"

    packages.carry_out(host, packages.install([f"{DRIVER}={NEW}-*", f"swarm-nscq={NEW}-*"]))
    found = read(host)
    assert found.installed["swarm-nscq"] == f"{NEW}-1ubuntu1"
    assert not {DRIVER, "swarm-nscq"} & found.held, "which version to hold is said anew"
    packages.carry_out(host, packages.hold([DRIVER, "swarm-nscq"]))

    packages.carry_out(host, packages.download(wanted, "/var/cache/swarmctl/test"))
    files = host.run(["sh", "-c", "echo /var/cache/swarmctl/test/*.deb"]).text.split()
    host.run(["mv", "/srv/repository", "/srv/away"])
    try:
        packages.carry_out(host, packages.install(files))
    finally:
        host.run(["mv", "/srv/away", "/srv/repository"])
    assert read(host).installed[DRIVER] == f"{OLD}-1ubuntu1", "back, with nothing but what was kept"

    packages.carry_out(host, packages.unhold(["swarm-nscq"]))
    assert "swarm-nscq" not in read(host).held
    packages.carry_out(host, packages.purge([DRIVER]))
    assert not {DRIVER, "swarm-nscq"} & read(host).installed.keys(), "and what needed it"
    packages.carry_out(host, packages.remove([DRIVER]))


def test_another_takes_the_place_of_one_only_where_that_is_said(host: Host) -> None:
    packages.carry_out(host, packages.install(["swarm-closed"]))
    error = failed(host, packages.install(["swarm-open"]))
    assert isinstance(error, packages.Unmet)
    assert "would have to be removed" in error.message
    planned = packages.moves(packages.carry_out(host, packages.simulate(["swarm-open"], ["swarm-closed"])))
    assert planned == (Move("swarm-closed", "1:1.0-1", ""), Move("swarm-open", "", "1:1.0-1"))
    packages.carry_out(host, packages.install(["swarm-open=1:1.0-*"], ["swarm-closed"]))
    assert "swarm-closed" not in read(host).installed


def test_who_holds_the_lock_is_named_and_waited_for(host: Host) -> None:
    host.start_service("holder", ["python3", "-c", HOLD.format(600)])
    host.run(["sh", "-c", "sleep 1"])
    error = failed(host, packages.install(["swarm-withdrawn"], wait=1))
    assert isinstance(error, packages.Locked)
    assert "python3 (process " in error.message
    host.stop_service("holder")
    host.start_service("holder", ["python3", "-c", HOLD.format(3)])
    packages.carry_out(host, packages.install([f"{DRIVER}={OLD}-*"], wait=30))
    assert DRIVER in read(host).installed


def test_dpkg_that_was_cut_off_is_told_and_mended(host: Host) -> None:
    host.put("/run/die", b"")
    failed(host, packages.install(["swarm-cut"]))
    found = read(host)
    assert found.interrupted or found.broken
    assert "swarm-cut" in found.broken
    host.put("/var/lib/dpkg/updates/0000", b"")
    assert read(host).interrupted
    error = failed(host, packages.install([f"{DRIVER}={OLD}-*"]))
    assert isinstance(error, packages.Interrupted)
    assert "dpkg --configure -a" in error.hint
    host.remove("/run/die")
    packages.carry_out(host, packages.mend())
    found = read(host)
    assert "swarm-cut" in found.installed
    assert not found.broken
    assert not found.interrupted


def test_a_full_disk_is_told(host: Host) -> None:
    host.run(["sh", "-c", "head -c 67000000 /dev/zero >/dev/shm/filler"], timeout=60)
    try:
        error = failed(host, packages.install(["swarm-large"]))
    finally:
        host.remove("/dev/shm/filler")
    assert isinstance(error, packages.DiskFull), error.message
    packages.carry_out(host, packages.install(["swarm-large"]))
    packages.carry_out(host, packages.purge(["swarm-large"]))
    assert not read(host).broken


@pytest.mark.parametrize("http", [0, 8098])
def test_what_is_fetched_is_whole_or_not_there(host: Host, repository: Repository, http: int) -> None:
    machines.use(host, repository, http=http)
    packages.carry_out(host, packages.refresh(machines.SOURCE))
    kept = "/dev/shm/kept"
    host.run(
        ["sh", "-c", "head -c 67000000 /dev/zero >/dev/shm/filler; truncate -s -100000 /dev/shm/filler"], timeout=60
    )
    try:
        error = failed(host, packages.download([DRIVER, "swarm-large"], kept))
        left = host.run(["find", kept, "-type", "f"]).text
    finally:
        host.remove("/dev/shm/filler")
        host.run(["rm", "-rf", f"{kept}/partial"])
    assert isinstance(error, packages.DiskFull), error.message
    assert http or f"the disk is full at {kept}/swarm-large_1.0_all.deb" in error.message
    assert left == "", "nobody takes half of one for a package later"
    packages.carry_out(host, packages.download(["swarm-large"], kept))
    try:
        assert host.run(["ls", kept]).text == "swarm-large_1.0_all.deb\n"
        host.run(["cmp", f"{kept}/swarm-large_1.0_all.deb", "/srv/repository/swarm-large_1.0_all.deb"])
    finally:
        host.run(["rm", "-rf", kept])
        machines.use(host, repository)
        packages.carry_out(host, packages.refresh(machines.SOURCE))


def test_a_version_and_a_package_that_nobody_has_are_named(host: Host) -> None:
    error = failed(host, packages.install([f"{DRIVER}=610.1-*"]))
    assert isinstance(error, packages.UnknownPackage)
    assert f"{DRIVER} in version 610.1-*" in error.message
    error = failed(host, packages.install(["swarm-nothing"]))
    assert isinstance(error, packages.UnknownPackage)
    assert "swarm-nothing" in error.message


def test_the_script_of_a_package_that_fails_is_named(host: Host) -> None:
    error = failed(host, packages.install(["swarm-failing"]))
    assert isinstance(error, packages.ScriptFailed)
    assert "swarm-failing" in error.message
    assert "exit status 3" in error.message
    packages.carry_out(host, packages.purge(["swarm-failing"]))
    assert not read(host).broken


def test_another_key_a_changed_package_and_none_at_all_are_told(host: Host, repository: Repository) -> None:
    other = Key("other")
    try:
        repository.publish(other)
        repository.into(host)
        error = failed(host, packages.refresh(machines.SOURCE))
        assert isinstance(error, packages.BadSignature)
        assert "another key" in error.message
        assert "file:/srv/repository" in error.message
    finally:
        other.close()
        repository.publish()
        repository.into(host)
    packages.carry_out(host, packages.refresh(machines.SOURCE))
    host.run(["sh", "-c", "echo changed >>/srv/repository/swarm-changed_1.0_all.deb"])
    error = failed(host, packages.install(["swarm-changed"]))
    assert isinstance(error, packages.BadSignature), error.message
    host.run(["sh", "-c", "rm /srv/repository/InRelease /srv/repository/Release.gpg"])
    error = failed(host, packages.refresh(machines.SOURCE))
    assert isinstance(error, packages.BadSignature), error.message
    assert "not signed" in error.message


def test_a_repository_that_is_down_or_lacks_what_it_promises_is_told(host: Host, repository: Repository) -> None:
    machines.use(host, repository, http=8099)
    packages.carry_out(host, packages.refresh(machines.SOURCE))
    host.remove("/srv/repository/swarm-withdrawn_1.0_all.deb")
    error = failed(host, packages.install(["swarm-withdrawn"]))
    assert isinstance(error, packages.RepositoryUnreachable)
    assert "404" in error.message
    host.stop_service("repository")
    error = failed(host, packages.refresh(machines.SOURCE))
    assert isinstance(error, packages.RepositoryUnreachable)
    assert error.transient
    assert "http://127.0.0.1:8099" in error.message
