"""A card leaves the bus of one machine over SSH: that machine's driver is left alone, and nobody else waits for it.

sshd, sudo, apt and dpkg are real; NVIDIA's programs, the bus and the kernel's files are stand-ins
(`tests/gpu/standins`).
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from swarmctl.gpu.model import Wanted
from tests.debian import machines
from tests.debian.repository import Key, Repository
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.integration.fleet import Fleet, fleet
from tests.integration.test_ssh_faults import told

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

OLD, NEW = "595.91.07", "595.91.08"
PLACE = "/srv/repository/debian12/x86_64"
NAMES = ("n1", "n2")


@pytest.fixture
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path_factory.mktemp("repository") / "r", key)
        small = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="debian 12")
        debs = [standins.kernel(), standins.headers()]
        for version in (OLD, NEW):
            debs += standins.debs(composed.decided(small, Wanted("nvidia", "H100", version=version)))
        made.add(*{deb.file: deb for deb in debs}.values())
        yield made
    finally:
        key.close()


@pytest.fixture
def metal(tmp_path_factory: pytest.TempPathFactory, engine: object, repository: Repository) -> Iterator[Fleet]:
    with fleet(tmp_path_factory.mktemp("unfit"), NAMES) as made:
        for name in NAMES:
            made.inside(name, machines.BARE)
            repository.into(made.console(name), PLACE)
            made.inside(name, f"mkdir -p /run/standin && dpkg -i {PLACE}/{standins.kernel().file}")
            plug(made, name, 2)
        declare(made, repository, OLD)
        yield made
        made("destroy", "--yes", code=None)


def plug(metal: Fleet, name: str, cards: int) -> None:
    metal.console(name).run(["tee", "/run/standin/pci"], stdin=standins.pci(cards).encode())


def declare(metal: Fleet, repository: Repository, version: str, state: str = "") -> None:
    mirror = {
        "url": "file:/srv/repository",
        "fingerprint": repository.key.fingerprint,
        "key": f"file:{PLACE}/key.asc",
    }
    cards = {"vendor": "nvidia", "model": "H100", "count": 2, "driver": {"version": version}}
    sick = {"state": state} if state else {}
    pool = {"accelerators": [{**cards, "source": "mirror", "mirror": mirror}]}
    metal.declare(metal.host("n1"), metal.host("n2", **sick), pool=pool)


def installed(metal: Fleet) -> list[str]:
    """Versions of the driver's packages there."""
    ask = "dpkg-query -W -f '${Version}\\n' nvidia-fabricmanager"
    return [metal.inside(name, ask).strip().removesuffix("-1") for name in NAMES]


def test_its_driver_is_left_alone_until_the_card_is_back(metal: Fleet, repository: Repository) -> None:
    told(metal, "apply", "--yes", code=0)
    assert installed(metal) == [OLD, OLD]
    plug(metal, "n2", 1)
    declare(metal, repository, NEW)
    why = (
        "n2: 2 H100 are declared, and by its PCI ids this host has 1 x H100 SXM5 80GB (gone from the bus: "
        "0000:11:00.0); its driver is left as it is"
    )

    plan = metal("plan", "--format", "json", "--out", str(metal.root / "saved.json"), code=1)
    (unfit,) = plan.json["unfit"]
    assert (unfit["node"], unfit["code"], unfit["error"]) == ("n2", "SW3254", why)
    assert unfit["file"].endswith("pool.yaml")
    assert "declare n2 `state: isolated`" in unfit["hint"]
    assert f"{why} (SW3254)" in plan.json["notes"]
    assert [change["address"] for change in plan.json["changes"]] == ["nodepool/metal[n1/driver]"]
    assert why in told(metal, "plan", "show", str(metal.root / "saved.json"), code=0)

    said = told(metal, "apply", "--yes", code=7)
    assert said.count(f"{why} (SW3254) help: look for the card that has left the bus") == 1, said
    assert "Partly done: 1 updated on 1 node" in said
    assert installed(metal) == [NEW, OLD]
    assert "Nothing to change beside what is left alone." in told(metal, "apply", "--yes", code=1)
    doctor = told(metal, "gpu", "doctor", "n2", code=1)
    assert "1 x H100 SXM5 80GB (SW3254)" in doctor
    assert "declare n2 `state: isolated`" in doctor

    declare(metal, repository, NEW, "isolated")
    assert "SW3254" not in told(metal, "apply", "--yes", code=0)
    assert installed(metal) == [NEW, OLD]

    declare(metal, repository, NEW)
    plug(metal, "n2", 2)
    told(metal, "apply", "--yes", code=0)
    assert installed(metal) == [NEW, NEW]
    told(metal, "plan", "--detailed-exitcode", code=0)
