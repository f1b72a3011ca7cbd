"""Drivers over SSH where apt is broken in every way at once: one clear error a machine, whose old driver goes on; the
others are done, and when it is mended the next apply converges. A connection that is cut meanwhile is taken up.

sshd, sudo, apt and dpkg are real; NVIDIA's programs, the bus and the kernel's files are stand-ins
(`tests/gpu/standins`).
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import pytest

from swarmctl.gpu.model import Wanted
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from tests.debian import machines
from tests.debian.build import Deb
from tests.debian.repository import Key, Repository
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.integration.fleet import Fleet, fleet
from tests.integration.test_ssh_faults import told

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.soak,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

OLD, NEW, NEXT = "595.91.07", "595.91.08", "595.91.09"
"""Of one branch, so that nothing but the installation itself asks for the lock."""
PLACE = "/srv/repository/debian12/x86_64"
NAMES = ("n1", "n2", "n3", "n4", "n5", "n6", "n7", "n8")
MODULE = "nvidia-kernel-open-dkms"
BUILDS = r"""
! grep -qsx VERSION /srv/fails || { echo 'no rule to make nvidia.ko' >&2; exit 10; }
[ ! -e /srv/slow ] || : >/srv/began
i=0; while [ -e /srv/slow ] && [ $i -lt 600 ]; do echo "line $i"; sleep 0.1; i=$((i + 1)); done
"""
FULL = f"""
cp -a {NVIDIA.folder} /srv/kept
mount -t tmpfs -o size=1m t {NVIDIA.folder}
cp -a /srv/kept/. {NVIDIA.folder}
cat /dev/zero >{NVIDIA.folder}/filler 2>/dev/null || :
"""
CUT_OFF = r"""
: >/var/lib/dpkg/updates/0000
sed -i '/^Package: libnvidia-nscq$/,/^$/s/ ok installed$/ ok half-configured/' /var/lib/dpkg/status
"""
"""As dpkg leaves it when it is killed."""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path_factory.mktemp("repository") / "r", key)
        small = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="debian 12")
        debs = [standins.kernel(), standins.headers()]
        for version in (OLD, NEW, NEXT):
            debs += standins.debs(composed.decided(small, Wanted("nvidia", "H100", version=version)))
        made.add(*map(building, debs))
        yield made
    finally:
        key.close()


def building(deb: Deb) -> Deb:
    """The same; the kernel module is built where it is installed, which may fail."""
    if deb.name != MODULE:
        return deb
    return dataclasses.replace(deb, scripts={"postinst": BUILDS.replace("VERSION", deb.version)})


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object, repository: Repository) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("drivers"), NAMES) as made:
        for name in NAMES:
            made.inside(name, machines.BARE)
            repository.into(made.console(name), PLACE)
            made.inside(name, f"mkdir -p /run/standin && dpkg -i {PLACE}/{standins.kernel().file}")
            made.console(name).run(["tee", "/run/standin/pci"], stdin=standins.pci().encode())
        declare(made, repository, OLD)
        told(made, "apply", "--yes", code=0)
        assert runs(made) == [OLD] * len(NAMES)
        yield made


def declare(metal: Fleet, repository: Repository, version: str) -> None:
    mirror = {
        "url": "file:/srv/repository",
        "fingerprint": repository.key.fingerprint,
        "key": f"file:{PLACE}/key.asc",
    }
    cards = {"vendor": "nvidia", "model": "H100", "count": 2, "driver": {"version": version}}
    pool = {"accelerators": [{**cards, "source": "mirror", "mirror": mirror}]}
    metal.declare(*(metal.host(name) for name in NAMES), pool=pool)


def runs(metal: Fleet) -> list[str]:
    """The driver that answers on each, and whether it is alone, without Fabric Manager."""
    ask = "nvidia-smi --query-gpu=index,pci.bus_id,driver_version,mig.mode.current --format=csv,noheader"
    beside = "grep -qsx nv-fabricmanage /proc/[0-9]*/comm || echo alone"
    return [
        " ".join(metal.inside(name, f"{ask} | sed -n '1s/.*, \\(.*\\),.*/\\1/p'; {beside}").split()) for name in NAMES
    ]


def test_each_way_in_which_apt_can_be_broken_is_one_error_and_the_old_driver_goes_on(
    metal: Fleet, repository: Repository
) -> None:
    metal.inside("n3", "echo 'not a source' >/etc/apt/sources.list.d/broken.list")
    metal.inside("n4", CUT_OFF)
    metal.inside("n5", FULL)
    metal.inside("n6", f"echo more >>{PLACE}/{MODULE}_{NEW}-1_all.deb")
    metal.inside("n7", f"echo {NEW}-1 >/srv/fails")
    metal.inside("n8", f"printf '{OLD}-1\\n{NEW}-1\\n' >/srv/fails")
    declare(metal, repository, NEW)
    with machines.locked(metal.console("n2").way, 600):
        said = told(metal, "apply", "--yes", code=7)
    # Also where the way back failed: what is there agrees with each other, so what ran before runs again.
    assert runs(metal) == [NEW, OLD, OLD, NEW, OLD, OLD, OLD, OLD]
    for expected in (
        "n2: installing libnvidia-nscq, ",
        " more was not begun: python3 (process ",
        "holds their lock help: wait until it has ended, then apply again",
        "n3: planning an installation was not begun: apt can't read its own settings: "
        "/etc/apt/sources.list.d/broken.list, line 1 help: mend that, see what `apt-get check` says on n3",
        f"the disk is full at {NVIDIA.new}/",
        "a file is not the one that its index names help: see whether the mirror is whole",
        f"n7: nvidia driver {NEW} was installed and does not work: ",
        f"{OLD} is back and verified",
        f"n8: nvidia driver {NEW} was installed and does not work: ",
        f"going back to {OLD} failed, too: ",
        f" more failed at the package {MODULE}: ",
        "2 updated on 2 nodes; 6 failed",
    ):
        assert expected in said, said
    assert said.count("help: ") == 7, "one for each, and one for all"
    plan = metal("plan", "--format", "json").json
    assert sorted(change["node"] for change in plan["changes"]) == ["n2", "n3", "n5", "n6", "n7", "n8"]

    metal.inside("n3", "rm /etc/apt/sources.list.d/broken.list")
    metal.inside("n5", f"umount {NVIDIA.folder}")
    repository.into(metal.console("n6"), PLACE)
    for name in ("n7", "n8"):
        metal.inside(name, "rm /srv/fails")
    told(metal, "apply", "--yes", code=0)
    converged(metal, NEW)


def converged(metal: Fleet, version: str) -> None:
    assert runs(metal) == [version] * len(NAMES)
    assert [metal.inside(name, f"ls {NVIDIA.folder}") for name in NAMES] == ["current\n"] * len(NAMES)
    told(metal, "drift", code=0)
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


def test_a_connection_that_is_cut_while_the_module_is_built_leaves_nothing_half_done(
    metal: Fleet, repository: Repository
) -> None:
    for name in ("n1", "n2"):
        metal.inside(name, "rm -f /srv/began; : >/srv/slow")
    declare(metal, repository, NEXT)
    running = metal.start("apply", "--yes")
    metal.until_begun(running, ("n1", "n2"), 120)
    metal.servers["n1"].cut()
    time.sleep(3)
    for name in ("n1", "n2"):
        metal.inside(name, "rm /srv/slow")
    out, err = running.communicate(timeout=240)
    assert running.returncode == 0, out + err
    assert "n1: the connection was cut while sh ran there; whether it came to its end is not known" in err
    converged(metal, NEXT)
