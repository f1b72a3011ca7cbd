"""A driver comes, is upgraded, drifts, is mended and rolled back, by real dpkg on a node; NVIDIA's programs are
stand-ins (`standins/`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from swarmctl.backends.base import Completed, Host, HostUnreachable
from swarmctl.backends.reboot import Unconfirmed
from swarmctl.gpu.model import Wanted
from swarmctl.hosts import packages
from swarmctl.kinds.node_pool.accelerators import decision, turn
from swarmctl.kinds.node_pool.accelerators.errors import (
    DriverImpossible,
    DriverRolledBack,
    DriverUnverified,
    DriverWaits,
)
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from swarmctl.kinds.node_pool.accelerators.resources import DRIVER
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator, Driver, Mirror
from swarmctl.provider.hosts import Connections
from tests.debian import machines
from tests.debian.build import Deb
from tests.debian.repository import Key, Repository
from tests.gpu import hosts as composed
from tests.gpu.standins import packages as standins
from tests.gpu.standins.packages import Variant
from tests.gpu.standins.programs import RELEASE

pytestmark = [
    pytest.mark.integration,
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.xdist_group("gpu drivers"),
]

OLD, NEW = "580.173.02", "595.91.07"
KERNELS = ("linux-image-amd64", "linux-headers-amd64", "linux-image-unheaded")
LATER = "6.1.0-39-amd64"
"""A kernel that waits for a restart."""
BROKEN: Mapping[Variant, str] = {"mismatch": "595.91.08", "fabric": "595.91.09"}
PLACE = "/srv/repository/debian12/x86_64"
SMALL = composed.host(*["H100"] * 2, *["H100 NVSwitch"] * 4, system="debian 12")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Repository]:
    machines.require()
    key = Key()
    try:
        made = Repository(tmp_path_factory.mktemp("repository"), key)
        debs = [standins.kernel()]
        for version, variant in [(OLD, ""), (NEW, ""), *((version, variant) for variant, version in BROKEN.items())]:
            debs += standins.debs(composed.decided(SMALL, Wanted("nvidia", "H100", version=version)), variant)
        other = Wanted("nvidia", "H100", version=OLD, kernel_module="proprietary")
        debs += standins.debs(composed.decided(SMALL, other))
        made.add(*{deb.file: deb for deb in debs}.values())
        yield made
    finally:
        key.close()


@pytest.fixture(scope="module")
def node(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Host]]:
    distribution = Repository(tmp_path_factory.mktemp("distribution"), repository.key)
    distribution.add(standins.headers(), standins.headers(LATER), *(Deb(name, "6.1-1") for name in KERNELS))
    data = tmp_path_factory.mktemp("data")
    with machines.machine(data) as host:
        machines.use(host, distribution)
        repository.into(host, PLACE)
        host.put("/run/standin/pci", standins.pci().encode())
        host.run(["dpkg", "-i", f"{PLACE}/{standins.kernel().file}"])
        yield data, host


@pytest.fixture
def host(node: tuple[Path, Host], monkeypatch: pytest.MonkeyPatch) -> Host:
    data, found = node
    monkeypatch.setenv("XDG_DATA_HOME", str(data))
    return found


def declared(repository: Repository, version: str, **more: Any) -> Accelerator:
    mirror = Mirror(
        "file:/srv/repository", more.pop("fingerprint", repository.key.fingerprint), f"file:{PLACE}/key.asc"
    )
    return Accelerator("nvidia", "H100", 2, Driver(version=version), source="mirror", mirror=mirror, **more)


def inputs(repository: Repository, version: str, **more: Any) -> dict[str, Any]:
    made = decision.inputs(SMALL, declared(repository, version, **more))
    assert isinstance(made, Mapping), made
    return {"machine": "x", "host": {"backend": "lab", "stack": "trial", "node": "a-0"}, "node": "a-0", **made}


class World:
    """The resource and its machine, as the provider has them."""

    def __init__(self, host: Host) -> None:
        self.host = host
        self.hosts = Connections(open_host=lambda about, fence: host)

    def bring(self, wanted: Mapping[str, Any]) -> None:
        DRIVER.create(self.hosts, wanted)

    def drift(self, wanted: Mapping[str, Any]) -> set[str]:
        self.hosts.changed(wanted["host"])
        seen = DRIVER.read(self.hosts, wanted)
        assert seen is not None
        return {".".join(change.path) for change in DRIVER.diff(seen.inputs, wanted)}

    def sh(self, script: str) -> str:
        return self.host.run(["sh", "-c", script]).text


@pytest.fixture
def world(host: Host) -> World:
    return World(host)


def test_a_driver_comes_changes_drifts_and_is_rolled_back(world: World, repository: Repository) -> None:
    is_not_begun_for_a_kernel_without_headers(world, repository)
    is_not_called_done_before_it_is_verified(world, repository)
    comes(world, repository)
    is_upgraded(world, repository)
    drifts_and_is_mended(world, repository)
    for variant, version in BROKEN.items():  # the third is shown through the command line
        is_rolled_back(world, repository, variant, version)
    goes(world, repository)


def is_not_begun_for_a_kernel_without_headers(world: World, repository: Repository) -> None:
    images = " ".join(f"/srv/repository/{name}_6.1-1_all.deb" for name in KERNELS if "image" in name)
    world.sh(f"dpkg -i {images}; echo 6.1.0-12-amd64 >/run/standin/release")
    with pytest.raises(DriverImpossible) as raised:
        world.bring(inputs(repository, OLD))
    world.sh(f"mkdir -p /lib/modules/{LATER}/kernel /lib/modules/6.1.0-9-amd64/kernel")
    world.sh("rm -r /run/standin/release /var/lib/apt/lists/*")  # nor is it known what the distribution has
    assert "for its kernel 6.1.0-12-amd64: no repository there has linux-headers-6.1.0-12-amd64" in raised.value.message
    assert DRIVER.read(world.hosts, inputs(repository, OLD)) is None, "nothing of it is there"


def is_not_called_done_before_it_is_verified(world: World, repository: Repository) -> None:
    wanted = inputs(repository, OLD)
    world.sh("mkdir -p /usr/lib/standin; echo 79 >/usr/lib/standin/xid")
    for _ in range(2):
        with pytest.raises(DriverUnverified, match=r"is installed and not verified: .*XID 79"):
            world.bring(wanted)
        assert world.drift(wanted) == {"verified"}, "so the next run does not find it as declared"
    world.sh("rm /usr/lib/standin/xid")


def comes(world: World, repository: Repository) -> None:
    wanted = inputs(repository, OLD)
    world.bring(wanted)
    assert world.drift(wanted) == set()
    assert "driver: " not in world.sh("nvidia-smi -L")
    found = world.sh("dpkg-query -W -f '${Package} ' 'linux-headers-*'").split()
    assert found == [f"linux-headers-{RELEASE}", f"linux-headers-{LATER}", "linux-headers-amd64"], (
        "for those to come, too"
    )
    there = packages.READING.parse(world.host.run(packages.READING.argv).stdout, "n")
    assert {name for name in wanted["packages"] if name not in there.held} == set()
    assert "DCGM_FI_DEV_GPU_TEMP" in world.sh("cat /etc/dcgm-exporter/swarmctl-counters.csv"), "what was on stays on"
    status = world.sh("stat -c %Y /var/lib/dpkg/status")
    world.bring(wanted)
    assert world.sh("stat -c %Y /var/lib/dpkg/status") == status, "nothing is installed twice"


def is_upgraded(world: World, repository: Repository) -> None:
    wanted = inputs(repository, NEW, mig={"1g.10gb": 7})
    found = world.drift(wanted)
    assert {"loaded", "answers", "packages.nvidia-fabricmanager", "fabricManager.version"} <= found
    world.bring(wanted)
    assert world.drift(wanted) == set()
    assert world.sh("nvidia-smi -L").count("MIG 1g.10gb") == 14
    assert "nvidia-driver-pinning-595" in world.sh("dpkg-query -W -f '${Package} ' 'nvidia-driver-pinning-*'")
    wanted = inputs(repository, NEW)
    world.bring(wanted)
    assert world.drift(wanted) == set()
    assert "MIG" not in world.sh("nvidia-smi -L | grep MIG || :")


def drifts_and_is_mended(world: World, repository: Repository) -> None:
    wanted = inputs(repository, NEW)
    world.sh(f"apt-get install -q -y --allow-downgrades --allow-change-held-packages nvidia-fabricmanager={OLD}-1")
    found = world.drift(wanted)
    assert {"packages.nvidia-fabricmanager", "fabricManager.version", "held"} <= found, (
        "lockstep broken by hand is seen"
    )
    world.sh("rm /var/run/cdi/nvidia.yaml")
    world.host.stop_service("nvidia-dcgm")
    assert {"cdi", "services"} <= world.drift(wanted)
    world.bring(wanted)
    assert world.drift(wanted) == set()


def is_rolled_back(world: World, repository: Repository, variant: Variant, version: str) -> None:
    with pytest.raises(DriverRolledBack) as raised:
        world.bring(inputs(repository, version))
    said = {"mismatch": "library version mismatch", "fabric": "Fabric Manager is 999.1.1"}[variant]
    assert said in raised.value.message
    assert f"{NEW} is back and verified" in raised.value.message
    assert raised.value.hint
    assert world.drift(inputs(repository, NEW)) == set(), "all of the old one is back, held and running"
    assert world.sh("ls /var/lib/swarmctl/driver") == "current\n"


def goes(world: World, repository: Repository) -> None:
    wanted = inputs(repository, NEW)
    DRIVER.delete(world.hosts, wanted)
    DRIVER.delete(world.hosts, wanted)
    there = packages.READING.parse(world.host.run(packages.READING.argv).stdout, "n")
    assert not there.held & set(wanted["packages"])
    assert there.installed["nvidia-fabricmanager"] == f"{NEW}-1", "it stays, and goes on"
    seen = DRIVER.read(world.hosts, wanted)
    assert seen is not None
    told = [effect.text for effect in DRIVER.effects(None, seen.inputs)]
    assert "from a source that is not declared" in told, "as it is found where somebody else has installed it"
    folders = "preferences.d sources.list.d keyrings ../dcgm-exporter"
    assert "swarmctl" not in world.sh(f"cd /etc/apt && ls {folders}")


def test_what_must_not_be_is_refused_before_anything_changes(world: World, repository: Repository) -> None:
    world.sh(
        f"dpkg -i {PLACE}/libnvidia-nscq_{NEW}-1_all.deb && apt-mark hold libnvidia-nscq && rm -rf {NVIDIA.folder}"
    )
    with pytest.raises(DriverImpossible) as raised:
        world.bring(inputs(repository, OLD))
    assert f"libnvidia-nscq is held at {NEW}, and must be {OLD}" in raised.value.message
    world.sh("apt-mark unhold libnvidia-nscq")
    with pytest.raises(DriverImpossible) as raised:
        world.bring(inputs(repository, OLD, fingerprint="A" * 40))
    assert repository.key.fingerprint in raised.value.message
    world.bring(inputs(repository, OLD))
    world.sh("echo '4711, python3' >/run/standin/apps")
    try:
        with pytest.raises(DriverImpossible) as raised:
            world.bring(inputs(repository, NEW))
    finally:
        world.sh("rm /run/standin/apps")
    assert "1 process computes on the cards (4711)" in raised.value.message
    is_not_taken_from_a_process_that_nvidia_smi_can_t_tell_of(world, inputs(repository, OLD))
    assert world.drift(inputs(repository, OLD)) == set()
    world.bring(inputs(repository, OLD))
    assert (
        world.sh(f"ls /var/lib/swarmctl/driver; ls /var/lib/swarmctl/driver/current | grep -c {NEW} || :")
        == "current\n0\n"
    ), "what was fetched for nothing is no way back"


def is_not_taken_from_a_process_that_nvidia_smi_can_t_tell_of(world: World, wanted: Mapping[str, Any]) -> None:
    world.sh("touch /dev/nvidia0; cd /run/standin; cp loaded kept; printf '1.2.3\\nopen\\n' >loaded")
    world.host.start_service("job", ["sh", "-c", "exec sleep 600 </dev/nvidia0"])
    with pytest.raises(DriverImpossible, match="1 process computes on the cards"):
        world.bring(wanted)
    world.host.stop_service("job")
    world.sh("rm /dev/nvidia0; mv /run/standin/kept /run/standin/loaded")


def test_what_somebody_else_holds_is_not_taken_over(world: World, repository: Repository) -> None:
    world.bring(inputs(repository, OLD))
    world.sh(f"rm -rf {NVIDIA.folder}")  # as if the driver and its holds were somebody else's
    with pytest.raises(DriverImpossible, match=f"is held at .*{OLD}, and must be {NEW}"):
        world.bring(inputs(repository, NEW))
    world.sh("apt-mark unhold '*nvidia*' >/dev/null; apt-mark hold nvidia-driver-cuda")
    with pytest.raises(DriverImpossible, match=f"nvidia-driver-cuda is held at {OLD}, and must be {NEW} as the driver"):
        world.bring(inputs(repository, NEW))
    world.sh("apt-mark unhold nvidia-driver-cuda")


def test_the_flavour_of_the_kernel_module_is_swapped_and_back(world: World, repository: Repository) -> None:
    world.bring(inputs(repository, OLD))
    for flavour, gone, there in (
        ("proprietary", "nvidia-kernel-open-dkms", "nvidia-kernel-dkms"),
        ("open", "nvidia-kernel-dkms", "nvidia-kernel-open-dkms"),
    ):
        wanted = inputs(repository, OLD, kernel_module=flavour)
        assert {"kernelModule", f"packages.{there}"} <= world.drift(wanted)
        world.bring(wanted)
        assert world.drift(wanted) == set()
        assert world.sh("sed -n 2p /run/standin/loaded") == f"{flavour}\n"
        found = packages.READING.parse(world.host.run(packages.READING.argv).stdout, "n")
        assert there in found.held
        assert gone not in found.installed


def test_libraries_for_32_bit_programs_go_up_and_back_with_the_own_ones(world: World, repository: Repository) -> None:
    world.bring(inputs(repository, OLD))
    name = f"{standins.UNNAMED}:{standins.FOREIGN}"
    world.sh(f"dpkg --add-architecture {standins.FOREIGN}; apt-get update -q; apt-get install -q -y {name}={OLD}-1")

    def there() -> set[str]:
        return set(world.sh(f"dpkg-query -W -f '${{Version}} ${{Architecture}}\\n' {standins.UNNAMED}").splitlines())

    try:
        world.bring(inputs(repository, NEW))
        assert there() == {f"{NEW}-1 {standins.NATIVE}", f"{NEW}-1 {standins.FOREIGN}"}
        world.sh(f"mkdir /srv/away; mv {PLACE}/{standins.UNNAMED}_{NEW}-1_* /srv/away/")  # what is kept has to do
        with pytest.raises(DriverRolledBack):
            world.bring(inputs(repository, BROKEN["mismatch"]))
        assert there() == {f"{NEW}-1 {standins.NATIVE}", f"{NEW}-1 {standins.FOREIGN}"}
        assert world.drift(inputs(repository, NEW)) == set()
    finally:
        world.sh(
            f"mv /srv/away/* {PLACE}/ || :; apt-get purge -q -y {name}; dpkg --remove-architecture {standins.FOREIGN}"
        )


def test_what_was_begun_and_never_verified_is_ours_all_the_same(world: World, repository: Repository) -> None:
    world.bring(inputs(repository, OLD))
    world.sh(f"mkdir -p {NVIDIA.new} && rm -r {NVIDIA.current}")
    world.bring(inputs(repository, NEW))
    assert world.drift(inputs(repository, NEW)) == set(), "its holds are none of somebody else's"


def test_a_key_that_nobody_has_confirmed_is_told_as_a_manual_step(world: World, repository: Repository) -> None:
    world.bring(inputs(repository, OLD))
    world.sh(
        "mkdir -p /var/lib/dkms /etc/dkms && rm -f /run/standin/loaded && "
        "touch /var/lib/dkms/mok.pub /srv/machine.der /run/standin/secure-boot && "
        "printf 'mok_certificate=\"/srv/machine.der\"\\n' >/etc/dkms/framework.conf"
    )
    try:
        with pytest.raises(DriverUnverified) as raised:
            world.bring(inputs(repository, OLD))
    finally:
        world.sh("rm /run/standin/secure-boot")
    assert "nobody has confirmed the key" in raised.value.message
    assert "`mokutil --import /srv/machine.der`" in raised.value.hint, "by the key that DKMS is told to sign with"
    world.sh("rm /etc/dkms/framework.conf")
    world.bring(inputs(repository, OLD))
    assert world.drift(inputs(repository, OLD)) == set()


def test_the_kernel_s_own_driver_gives_way_and_is_kept_out(world: World, repository: Repository) -> None:
    wanted = inputs(repository, OLD)
    world.bring(wanted)
    world.sh(
        "rm /run/standin/loaded && printf 'nova_core\\nnouveau\\n' >/run/standin/in-tree && touch /run/standin/busy"
    )
    with pytest.raises(DriverUnverified) as raised:
        world.bring(wanted)
    world.sh("rm /run/standin/busy")
    assert "the kernel module nova_core is in use and can't be unloaded" in raised.value.message
    world.bring(wanted)
    assert world.drift(wanted) == set()
    assert world.sh("cat /run/standin/in-tree") == ""
    kept_out = "blacklist nova_drm\nblacklist nova_core\nblacklist nouveau\n"
    assert world.sh(f"cat {NVIDIA.kept_out}") == kept_out, "it does not come back with the machine"
    DRIVER.delete(world.hosts, wanted)
    assert world.sh(f"cat {NVIDIA.kept_out}") == kept_out, "the driver stays, too"
    world.sh(f"rm {NVIDIA.kept_out}")


def test_a_module_in_use_goes_by_a_restart_or_the_old_driver_comes_back(
    world: World, repository: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.bring(inputs(repository, OLD))
    world.sh("touch /run/standin/busy")
    with pytest.raises(DriverRolledBack) as raised:
        world.bring(inputs(repository, NEW))
    assert "can't be restarted: its first process is not systemd" in raised.value.message
    assert world.drift(inputs(repository, OLD)) == set()

    def waits(host: Host, *, timeout: float) -> None:
        raise Unconfirmed("m1 is not restarted: that would undo changes")

    monkeypatch.setattr(turn, "reboot", waits)
    with pytest.raises(DriverWaits, match="m1 is not restarted: that would undo changes"):
        world.bring(inputs(repository, NEW))
    assert world.drift(inputs(repository, NEW)), "it is not called done"

    def restarted(host: Host, *, timeout: float) -> None:
        world.sh("rm /run/standin/busy /run/standin/loaded")

    monkeypatch.setattr(turn, "reboot", restarted)
    world.bring(inputs(repository, NEW))
    assert world.drift(inputs(repository, NEW)) == set()


def test_the_way_back_is_there_before_anything_changes(world: World, repository: Repository) -> None:
    world.bring(inputs(repository, NEW))
    file = f"nvidia-driver-cuda_{NEW}-1_all.deb"
    world.sh(f"mv {PLACE}/{file} /srv/{file}")
    world.bring(inputs(repository, OLD))
    world.sh(
        f"mv {PLACE}/nvidia-driver-cuda_{OLD}-1_all.deb /srv/ && mv /srv/{file} {PLACE}/ && rm -r {NVIDIA.current}/*"
    )
    with pytest.raises(DriverImpossible) as raised:
        world.bring(inputs(repository, NEW))
    world.sh(f"mv /srv/nvidia-driver-cuda_{OLD}-1_all.deb {PLACE}/")
    assert "no way back" in raised.value.message
    assert world.drift(inputs(repository, OLD)) == set()


@pytest.mark.parametrize(
    ("version", "point"),
    [
        pytest.param(OLD, "apt-get .* download", marks=pytest.mark.soak),
        (NEW, "mv /var/lib/swarmctl/driver/way"),
        (OLD, "--no-remove"),
        pytest.param(NEW, "apt-mark hold", marks=pytest.mark.soak),
        (OLD, "modprobe nvidia"),
        pytest.param(NEW, "rm -f /var/lib/swarmctl/driver/current", marks=pytest.mark.soak),
    ],
)
def test_what_is_cut_off_anywhere_is_taken_up(world: World, repository: Repository, version: str, point: str) -> None:
    other = NEW if version == OLD else OLD
    if other not in world.sh("dpkg-query -W -f '${Version}' nvidia-driver-cuda 2>/dev/null || :"):
        world.bring(inputs(repository, other))
    for after in (False, True):
        cut = World(CutOff(world.host, point, after=after))  # type: ignore[arg-type]
        with pytest.raises(HostUnreachable):
            cut.bring(inputs(repository, version))
    world.bring(inputs(repository, version))
    assert world.drift(inputs(repository, version)) == set()
    assert world.sh("ls /var/lib/swarmctl/driver") == "current\n"


class CutOff:
    """A machine whose connection ends at a command, before that is done or after."""

    def __init__(self, host: Host, point: str, *, after: bool) -> None:
        self._host = host
        self._point = re.compile(point)
        self._after = after
        self.name = host.name

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        found = self._point.search(stdin.decode())
        if found and not self._after:
            raise HostUnreachable("cut off")
        done = self._host.run(argv, stdin=stdin, timeout=timeout, check=check)
        if found:
            raise HostUnreachable("cut off")
        return done

    def __getattr__(self, name: str) -> Any:
        return getattr(self._host, name)
