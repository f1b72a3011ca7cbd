"""Packages are read and changed by real rpm and dnf on a node, and every way to fail is told apart."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmctl.backends.base import Host
from swarmctl.hosts import packages
from swarmctl.hosts.packages import Move, Packages, dnf
from tests.debian.repository import Key, serving

from . import machines
from .build import Rpm
from .repository import PLACE, Repository

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("rpm packages")]

NAME = "swarmctl-test"
SOURCE = f"/etc/yum.repos.d/{NAME}.repo"
OLD, NEW = "595.80.01", "595.91.07"
DRIVER = "swarm-fabricmanager"
SHELL = Rpm("standin-shell", "1-1", provides=("/bin/sh",))
DIE = "[ ! -e /run/die ] || kill -9 $PPID"
"""A package's script ends rpm itself, as a power cut does."""
RPMS = (
    "import fcntl,os,time;path=os.popen('rpm --eval %{{_rpmlock_path}}').read().strip();"
    "file=open(path,'w');fcntl.lockf(file,fcntl.LOCK_EX);open('/run/holding','w');time.sleep({})"
)
DNFS = (
    "import dnf.lock,time\nwith dnf.lock.build_rpmdb_lock('/var/lib/dnf',True):\n"
    " open('/run/holding','w');time.sleep({})"
)


def rpms() -> list[Rpm]:
    versions = [f"3:{OLD}-1.el9", f"3:{NEW}-1.el9"]
    made = [Rpm(DRIVER, version, files={"/usr/bin/swarm-fm": version}) for version in versions]
    made += [Rpm("swarm-nscq", version, requires=(f"{DRIVER} = {version}",)) for version in versions]
    return [
        *made,
        SHELL,
        Rpm("swarm-open", "1.0-1", provides=("swarm-module",), conflicts=("swarm-closed",)),
        Rpm("swarm_closed", "1.0_1-1", provides=("swarm-closed",)),
        *(Rpm("swarm-libs", v, architecture=of) for v in ("1.0-1", "2.0-1") for of in ("x86_64", "i686")),
        Rpm("swarm-large", "1.0-1", files={"/dev/shm/large": "x" * 200_000}),
        Rpm("swarm-cut", "1.0-1", scripts={"post": f"{DIE}\ntouch /run/ran"}),
        Rpm("swarm-failing", "1.0-1", scripts={"pre": "exit 3"}),
        Rpm("swarm-needing", "1.0-1", requires=("dkms",)),
        Rpm("swarm-withdrawn", "1.0-1"),
        Rpm("swarm-changed", "1.0-1"),
    ]


@pytest.fixture(scope="module")
def node(key: Key, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    data = tmp_path_factory.mktemp("data")
    with machines.machine(data) as host:
        made = Repository(host, key)
        made.add(*rpms())
        made.use(NAME)
        packages.carry_out(host, dnf.refresh(SOURCE))
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
    old, new = f"3:{OLD}-1.el9", f"3:{NEW}-1.el9"
    planned = packages.moves(packages.carry_out(host, dnf.simulate(wanted)))
    assert planned == (Move(DRIVER, "", old), Move("swarm-nscq", "", old))
    packages.carry_out(host, dnf.install(wanted))
    packages.carry_out(host, dnf.hold([DRIVER, "swarm-nscq"]))
    found = read(host)
    assert found.manager == "dnf"
    assert packages.by(found) is dnf
    assert found.installed[DRIVER] == found.installed["swarm-nscq"] == old
    assert {DRIVER, "swarm-nscq"} <= found.held
    assert not found.interrupted

    host.run(["dnf", "-y", "upgrade"], timeout=60)
    assert read(host).installed[DRIVER] == old, "what is held stays"

    packages.carry_out(host, dnf.install([f"{DRIVER}={NEW}-*", f"swarm-nscq={NEW}-*"]))
    found = read(host)
    assert found.installed["swarm-nscq"] == new
    assert not {DRIVER, "swarm-nscq"} & found.held, "which version to hold is said anew"
    packages.carry_out(host, dnf.hold([DRIVER, "swarm-nscq"]))
    assert {DRIVER, "swarm-nscq"} <= read(host).held

    packages.carry_out(host, dnf.download([f"{DRIVER}={old}", f"swarm-nscq={old}"], "/var/cache/swarmctl/test"))
    files = sorted(host.run(["sh", "-c", "echo /var/cache/swarmctl/test/*.rpm"]).text.split())
    assert files[0].endswith(f"/{DRIVER}_3%3a{OLD}-1.el9_noarch.rpm")
    host.run(["mv", "/srv/repository", "/srv/away"])
    try:
        planned = packages.moves(packages.carry_out(host, dnf.simulate(files)))
        assert planned == (Move(DRIVER, new, old), Move("swarm-nscq", new, old))
        packages.carry_out(host, dnf.install(files))
    finally:
        host.run(["mv", "/srv/away", "/srv/repository"])
    assert read(host).installed[DRIVER] == old, "back, with nothing but what was kept"

    packages.carry_out(host, dnf.hold(["swarm-nscq"]))
    packages.carry_out(host, dnf.unhold(["swarm-nscq"]))
    assert "swarm-nscq" not in read(host).held
    packages.carry_out(host, dnf.remove([DRIVER]))
    assert not {DRIVER, "swarm-nscq"} & read(host).installed.keys(), "and what needed it"
    packages.carry_out(host, dnf.remove([DRIVER]))


def test_another_takes_the_place_of_one_only_where_that_is_said(host: Host) -> None:
    packages.carry_out(host, dnf.install(["swarm_closed"]))
    error = failed(host, dnf.install(["swarm-open"]))
    assert isinstance(error, packages.Unmet)
    planned = packages.moves(packages.carry_out(host, dnf.simulate(["swarm-open"], ["swarm_closed"])))
    assert planned == (Move("swarm-open", "", "1.0-1"), Move("swarm_closed", "1.0_1-1", ""))
    packages.carry_out(host, dnf.install(["swarm-open=1.0-*"], ["swarm_closed"]))
    assert "swarm_closed" not in read(host).installed


def test_libraries_for_32_bit_programs_move_with_the_own_ones(host: Host) -> None:
    packages.carry_out(host, dnf.install(["swarm-libs=1.0-1", "swarm-libs.i686=1.0-1"]))
    assert {name: it for name, it in read(host).installed.items() if name.startswith("swarm-libs")} == {
        "swarm-libs": "1.0-1",
        "swarm-libs.i686": "1.0-1",
    }
    wanted = ["swarm-libs=2.0-1", "swarm-libs.i686=2.0-1"]
    planned = packages.moves(packages.carry_out(host, dnf.simulate(wanted)))
    assert planned == (Move("swarm-libs", "1.0-1", "2.0-1"), Move("swarm-libs.i686", "1.0-1", "2.0-1"))
    packages.carry_out(host, dnf.download(wanted, "/var/cache/swarmctl/libs"))
    files = sorted(host.run(["sh", "-c", "echo /var/cache/swarmctl/libs/*.rpm"]).text.split())
    assert [file.rpartition("_")[2] for file in files] == ["i686.rpm", "x86%5f64.rpm"]
    packages.carry_out(host, dnf.install(files))
    assert read(host).installed["swarm-libs.i686"] == "2.0-1"
    packages.carry_out(host, dnf.remove(["swarm-libs.i686"]))
    assert "swarm-libs" in read(host).installed
    assert "swarm-libs.i686" not in read(host).installed
    packages.carry_out(host, dnf.remove(["swarm-libs"]))


@pytest.mark.parametrize("holding", [RPMS, DNFS], ids=["rpm", "dnf"])
def test_who_holds_a_lock_is_named_and_waited_for(host: Host, holding: str) -> None:
    packages.carry_out(host, dnf.remove([DRIVER]))
    host.start_service("holder", ["python3", "-c", holding.format(600)])
    host.run(["sh", "-c", "until [ -e /run/holding ]; do sleep 0.05; done; rm /run/holding"])
    error = failed(host, dnf.install([f"{DRIVER}={OLD}-*"], wait=0))
    assert isinstance(error, packages.Locked)
    assert "python3 (process " in error.message
    host.stop_service("holder")
    host.start_service("holder", ["python3", "-c", holding.format(2)])
    host.run(["sh", "-c", "until [ -e /run/holding ]; do sleep 0.05; done; rm /run/holding"])
    packages.carry_out(host, dnf.install([f"{DRIVER}={OLD}-*"], wait=30))
    assert DRIVER in read(host).installed


def test_rpm_that_was_cut_off_is_told_and_mended(host: Host) -> None:
    host.put("/run/die", b"")
    failed(host, dnf.install(["swarm-cut"]))
    found = read(host)
    assert found.interrupted
    assert "swarm-cut" in found.installed, "rpm itself counts it as installed"
    host.remove("/run/die")
    packages.carry_out(host, dnf.mend())
    found = read(host)
    assert not found.interrupted
    host.run(["test", "-e", "/run/ran"])
    packages.carry_out(host, dnf.install([f"{DRIVER}={OLD}-*"]))
    host.run(["rpm", "-i", "--force", "--justdb", f"{PLACE}/{DRIVER}-{NEW}-1.el9.noarch.rpm"])
    assert read(host).broken == (DRIVER,), "it is there twice, as after a cut between the new one and the old one"
    packages.carry_out(host, dnf.mend())
    assert not read(host).broken
    assert read(host).installed[DRIVER] == f"3:{NEW}-1.el9"


def test_a_full_disk_is_told(host: Host) -> None:
    host.run(["sh", "-c", "head -c 67000000 /dev/zero >/dev/shm/filler"], timeout=60)
    try:
        error = failed(host, dnf.install(["swarm-large"]))
    finally:
        host.remove("/dev/shm/filler")
    assert isinstance(error, packages.DiskFull), error.message
    assert "/dev/shm" in error.message
    packages.carry_out(host, dnf.install(["swarm-large"]))
    packages.carry_out(host, dnf.remove(["swarm-large"]))


def test_what_nobody_has_is_named(host: Host) -> None:
    error = failed(host, dnf.install([f"{DRIVER}=610.1-*"]))
    assert isinstance(error, packages.UnknownPackage)
    assert f"{DRIVER} in version 610.1-*" in error.message
    error = failed(host, dnf.install(["swarm-nothing"]))
    assert isinstance(error, packages.UnknownPackage)
    assert "a package swarm-nothing" in error.message
    error = failed(host, dnf.install(["swarm-needing"]))
    assert isinstance(error, packages.Unmet)
    assert "swarm-needing-1.0-1.noarch needs dkms, which no repository has" in error.message
    assert "EPEL" in error.hint


def test_the_script_of_a_package_that_fails_is_named(host: Host) -> None:
    error = failed(host, dnf.install(["swarm-failing"]))
    assert isinstance(error, packages.ScriptFailed)
    assert "swarm-failing" in error.message
    found = read(host)
    assert "swarm-failing" not in found.installed
    assert not found.interrupted


def test_another_key_a_changed_package_and_none_at_all_are_told(host: Host, key: Key) -> None:
    other = Key("other")
    made = Repository(host, key)
    try:
        made.add(Rpm("swarm-other", "1.0-1"), key=other)
        packages.carry_out(host, dnf.refresh(SOURCE))
        error = failed(host, dnf.install(["swarm-other"]))
        assert isinstance(error, packages.BadSignature)
        assert "swarm-other: it is not signed by the key that is to sign it" in error.message
        host.run(["rpmkeys", "--import", "-"], stdin=other.public, check=False)
        error = failed(host, dnf.download(["swarm-other"], "/var/cache/swarmctl/test"))
        assert isinstance(error, packages.BadSignature), "whatever else the machine trusts"
    finally:
        other.close()
    host.run(["sh", "-c", f"echo changed >>{PLACE}/swarm-changed-1.0-1.noarch.rpm"])
    error = failed(host, dnf.install(["swarm-changed"]))
    assert isinstance(error, packages.BadSignature), error.message
    assert "not the one that its index names" in error.message
    assert "whether the mirror is whole" in error.hint
    host.run(["sh", "-c", f"rpmsign --delsign {PLACE}/swarm-withdrawn-*.rpm && createrepo_c -q {PLACE}"])
    packages.carry_out(host, dnf.refresh(SOURCE))
    error = failed(host, dnf.install(["swarm-withdrawn"]))
    assert isinstance(error, packages.BadSignature), error.message


def test_a_repository_that_is_down_or_lacks_what_it_promises_is_told(host: Host, key: Key) -> None:
    url = serving(host, port=8099, ready="repodata/repomd.xml")
    Repository(host, key).use(NAME, url, "retries=1\ntimeout=5")
    packages.carry_out(host, dnf.refresh(SOURCE))
    host.run(["sh", "-c", f"rm {PLACE}/swarm-withdrawn-*.rpm"])
    error = failed(host, dnf.install(["swarm-withdrawn"]))
    assert isinstance(error, packages.RepositoryUnreachable)
    assert "http://127.0.0.1:8099: it does not have what its index names" in error.message
    host.stop_service("repository")
    host.run(["sleep", "1.1"])  # what was read within a second counts as new
    error = failed(host, dnf.refresh(SOURCE))
    assert isinstance(error, packages.RepositoryUnreachable)
    assert error.transient
    assert "http://127.0.0.1:8099" in error.message
