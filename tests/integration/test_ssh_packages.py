"""Packages over SSH where apt is broken in every way at once: one clear error a machine, the others are done, and when
it is mended the next apply converges. sshd, sudo, apt and dpkg are real."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.debian import machines
from tests.debian.build import Deb
from tests.debian.repository import Key, Repository
from tests.integration.fleet import Fleet, fleet
from tests.integration.test_ssh_faults import told

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.xdist_group("ssh-packages")]

NAMES = ("n1", "n2", "n3", "n4")
BASELINE = """\
apiVersion: swarmctl/v1alpha1
kind: HostBaseline
metadata: {name: tools}
spec:
  nodes: {}
  packages: {swarm-tool: "VERSION"}
"""
CUT_OFF = r"""
: >/var/lib/dpkg/updates/0000
sed -i '/^Package: swarm-tool$/,/^$/s/ ok installed$/ ok half-configured/' /var/lib/dpkg/status
"""
"""As dpkg leaves it when it is killed."""
SLOW = """
: >/srv/began
i=0; while [ -e /srv/slow ] && [ $i -lt 600 ]; do echo "line $i"; sleep 0.1; i=$((i + 1)); done
"""


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path_factory.mktemp("repository") / "r", key)
        made.add(*(Deb("swarm-tool", version, files={"/opt/tool": "x" * 200_000}) for version in ("1.0", "2.0")))
        made.add(Deb("swarm-tool", "3.0", scripts={"postinst": SLOW}))
        yield made
    finally:
        key.close()


@pytest.fixture(scope="module")
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object, repository: Repository) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("packages"), NAMES) as made:
        for name in NAMES:
            console = made.console(name)
            console.run(["sh", "-c", machines.BARE])
            url = repository.into(console)
            console.run(["tee", machines.KEYRING], stdin=repository.key.public)
            console.run(["tee", machines.SOURCE], stdin=repository.source(url, machines.KEYRING).encode())
        declare(made, "1.0")
        told(made, "apply", "--yes", code=0)
        yield made


def declare(metal: Fleet, version: str) -> None:
    (metal.stack / "baseline.yaml").write_text(BASELINE.replace("VERSION", version))


def versions(metal: Fleet) -> list[str]:
    """And whether they are whole, and held."""
    query = "dpkg-query -W -f '${db:Status-Abbrev}${Version}' swarm-tool"
    return [metal.inside(name, query, check=False).replace(" ", "") for name in NAMES]


def converged(metal: Fleet) -> None:
    told(metal, "drift", code=0)
    assert "Nothing to change" in told(metal, "apply", "--yes", code=0)


def test_each_way_in_which_apt_can_be_broken_is_one_error_and_the_others_are_done(metal: Fleet) -> None:
    metal.inside("n2", "echo 'not a source' >/etc/apt/sources.list.d/broken.list")
    metal.inside("n3", CUT_OFF)
    metal.inside("n4", "mount -t tmpfs -o size=64k t /opt")
    declare(metal, "2.0")
    with machines.locked(metal.console("n1").way, 3):
        said = told(metal, "apply", "--yes", code=7)
    for expected in (
        "n2: planning an installation was not begun: apt can't read its own settings: "
        "/etc/apt/sources.list.d/broken.list, line 1 help: mend that, see what `apt-get check` says on n2",
        "n4: installing swarm-tool failed: the disk is full at /opt/tool help: make room there",
        "2 updated on 2 nodes; 2 failed",
    ):
        assert expected in said, said
    # One that was cut off is finished first; whoever holds the lock is waited for.
    assert [one[1:] for one in versions(metal)] == ["i2.0", "i1.0", "i2.0", "i1.0"]
    plan = metal("plan", "--format", "json").json
    assert sorted(change["node"] for change in plan["changes"]) == ["n2", "n4"]

    metal.inside("n2", "rm /etc/apt/sources.list.d/broken.list")
    metal.inside("n4", "umount /opt")
    told(metal, "apply", "--yes", code=0)
    assert versions(metal) == ["hi2.0"] * 4
    converged(metal)


def test_a_connection_that_is_cut_while_packages_are_installed_leaves_nothing_half_done(metal: Fleet) -> None:
    for name in ("n1", "n2"):
        metal.inside(name, "rm -f /srv/began; : >/srv/slow")
    declare(metal, "3.0")
    running = metal.start("apply", "--yes")
    metal.until_begun(running, ("n1", "n2"), 60)
    metal.servers["n1"].cut()
    deadline = time.monotonic() + 30
    while "--configure -a" not in metal.inside("n1", "ps -eo args"):
        assert time.monotonic() < deadline, "what was cut off is not taken up"
        time.sleep(0.1)
    for name in ("n1", "n2"):
        metal.inside(name, "rm /srv/slow")
    out, err = running.communicate(timeout=120)
    assert running.returncode == 0, out + err
    assert "n1: the connection was cut while sh ran there; whether it came to its end is not known" in err
    assert versions(metal) == ["hi3.0"] * 4
    converged(metal)
