"""What is read from machines of many sorts."""

from __future__ import annotations

import pytest

from swarmctl.gpu.model import Device
from swarmctl.hosts.system import READING, Clock, Disk, Nic, Tee
from swarmctl.operations.facts import accelerators

from .machines import BOOT, MACHINES, NOW, RECORDED, read


def test_a_bare_machine() -> None:
    found = read()
    assert (found.hostname, found.boot_id, found.now) == ("node", BOOT, NOW)
    assert (found.os.id, found.os.version_id, found.os.codename) == ("ubuntu", "24.04", "noble")
    assert found.os.name == "Ubuntu 24.04.3 LTS"
    assert (found.cpu.cores, found.cpu.threads, found.cpu.sockets) == (112, 224, 2)
    assert found.cpu.model == "Intel(R) Xeon(R) Platinum 8480C"
    assert (found.memory.total, found.memory.swap) == (2113456789 * 1024, 0)
    assert found.disks is not None
    assert found.disks[-1] == Disk("nvme8n1", 1_920_383_410_176, False, "SAMSUNG MZ1L21T9HCLS", "nvme", used=True)
    assert [disk.used for disk in found.disks] == [False] * 8 + [True]
    assert found.nics == (Nic("ens1f0np0", "94:6d:ae:00:00:01", True, 9000, "", 400_000, "mlx5_core", "0000:18:00.0"),)
    assert found.addresses == {"ens1f0np0": ("203.0.113.10/24",)}
    assert found.pci == ()
    assert found.modules == {"mlx5_core": "24.10-1.1.4", "nf_tables": "", "wireguard": "1.0.0"}
    assert found.secure_boot is True
    assert found.iommu is not None
    assert (found.iommu.units, found.iommu.modes) == (("dmar0", "dmar1"), ("DMA-FQ", "identity"))
    assert found.iommu.groups == {"0000:10:00.0": 3, "0000:11:00.0": 4}
    assert (found.virtualisation.machine, found.virtualisation.product) == ("none", "DGXH100")
    assert found.tee["tdx"] == Tee(cpu=True, enabled=True, capacity=63)
    assert found.tee["sev"] == Tee(cpu=False, enabled=None, capacity=0)
    assert found.tee_guest == ""
    assert (found.clock.synchronised, found.clock.services) == (True, ("chronyd",))
    assert (found.init, found.cgroups) == ("systemd", 2)


@pytest.mark.parametrize(
    ("name", "count", "model"),
    [
        ("a100", 8, "A100 SXM4 80GB"),
        ("hgx-h100", 8, "H100 SXM5 80GB"),
        ("h200", 8, "H200 SXM 141GB"),
        ("b200", 8, "B200"),
        ("gh200", 1, "GH200"),
        ("gb200", 4, "GB200"),
    ],
)
def test_accelerators_are_known_by_their_pci_ids(name: str, count: int, model: str) -> None:
    found = accelerators(read(**MACHINES[name]))
    assert len(found) == count
    assert all(one.card is not None and one.card.name.startswith(model) for one in found), found[0].card


def test_nvswitches_and_a_managers_graphics_are_no_accelerators() -> None:
    found = read(**MACHINES["hgx-h100"])
    assert found.pci is not None
    assert Device("0000:07:00.0", "10de", "22a3", "0680") in found.pci
    assert Device("0000:04:00.0", "1a03", "2000", "0300") in found.pci
    assert len(found.pci) == 13


def test_a_virtual_machine_says_so() -> None:
    found = read(**MACHINES["a100"])
    assert (found.virtualisation.machine, found.virtualisation.vendor) == ("microsoft", "Microsoft Corporation")
    assert found.iommu is not None
    assert not found.iommu.on
    # Whether it is a guest of SEV itself can't be seen from inside.
    assert found.tee_guest is None


def test_mixed_cards_on_a_machine_without_lsblk_and_ip() -> None:
    found = read(**MACHINES["mixed"])
    assert [one.device.device for one in accelerators(found)] == ["1db5", "1db5", "1eb8", "1eb8"]
    assert found.disks is None
    assert [(nic.name, nic.speed) for nic in found.nics or ()] == [("ens1f0np0", 400_000)]


def test_which_of_nvidias_modules_is_loaded() -> None:
    assert read(**MACHINES["hgx-h100"]).nvidia_module == "open"
    closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.309.01  Sat Jul  4 20:18:47 UTC 2026\n"
    assert read(nvidia=closed).nvidia_module == "proprietary"
    assert read().nvidia_module is None


@pytest.mark.parametrize(
    ("switches", "says"),
    [
        (MACHINES["b200"]["switches"], True),
        ("".join(f"0000:0{n}:00.0\t1\n" for n in range(4)), False),
        ("".join(f"0000:0{n}:00.0\t{1 if n else 124}\n" for n in range(4)), None),
        ("".join(f"0000:0{n}:00.0\t{1 if n else 'none'}\n" for n in range(4)), False),
        ("0000:00:00.0\t1\n", None),
    ],
)
def test_nvlinks_switches_show_in_the_vpd(switches: str, says: bool | None) -> None:
    assert read(lspci=MACHINES["b200"]["lspci"], switches=switches).switch_management is says


def test_without_a_mellanox_device_there_are_none() -> None:
    assert read(**MACHINES["gh200"]).switch_management is False


def test_an_arm_machine() -> None:
    found = read(**MACHINES["gh200"])
    assert (found.cpu.model, found.cpu.cores, found.cpu.threads) == ("Neoverse-V2", 72, 72)
    assert {one.cpu for one in found.tee.values()} == {None}


def test_an_amd_machine_that_can_have_confidential_guests() -> None:
    found = read(**MACHINES["h200"])
    assert found.tee["sev-snp"] == Tee(cpu=True, enabled=True)
    assert found.tee["sev-es"] == Tee(cpu=True, enabled=True, capacity=99)
    assert found.tee["tdx"].cpu is False


def test_sysfs_where_there_is_no_lspci_or_it_fails() -> None:
    sysfs = "bus\n0000:17:00.0\t0x10de\t0x2330\t0x030200\n0000:18:00.0\t0x15b3\t0x1021\t0x020700\n"
    expected = (Device("0000:17:00.0", "10de", "2330", "0302"), Device("0000:18:00.0", "15b3", "1021", "0207"))
    assert read(pci=sysfs).pci == expected
    assert read(pci=sysfs, lspci="lspci: Cannot open /sys/bus/pci/devices\n").pci == expected
    assert read(pci="", lspci="").pci is None


@pytest.mark.parametrize(
    ("parts", "on"),
    [
        ({"secureboot": "  22   0   0   0   0"}, False),
        ({"secureboot": "", "mokutil": "SecureBoot enabled\n"}, True),
        ({"secureboot": "", "mokutil": "SecureBoot disabled\nPlatform is in Setup Mode\n"}, False),
        ({"secureboot": "", "mokutil": "EFI variables are not supported on this system\n"}, None),
        ({"secureboot": "", "firmware": "acpi\nmemmap"}, False),
        ({"secureboot": "", "firmware": ""}, None),
        ({"secureboot": "   6   0   0   0   7"}, None),
    ],
)
def test_secure_boot(parts: dict[str, str], on: bool | None) -> None:
    assert read(**parts).secure_boot is on


@pytest.mark.parametrize(
    ("parts", "state"),
    [
        ({"clock": "NTPSynchronized=no"}, False),
        (
            {"clock": "chrony=A29FC87B,162.159.200.123,3,1732241234.5,0.0001,-0.0001,0.0002,1.1,64.2,Normal"},
            True,
        ),
        ({"clock": "chrony=7F7F0101,,0,0.0,0,0,0,0,0,0,0,0,0,Not synchronised"}, False),
        ({"clock": "chrony=506 Cannot talk to daemon"}, None),
        ({"clock": ""}, None),
    ],
)
def test_whether_the_clock_is_kept(parts: dict[str, str], state: bool | None) -> None:
    assert read(**parts).clock.synchronised is state


@pytest.mark.parametrize(
    ("parts", "machine"),
    [
        ({"virtualisation": "machine\tkvm\ncontainer\tnone"}, "kvm"),
        ({"virtualisation": "", "cpu": "flags\t: fpu hypervisor\n"}, "vm-other"),
        ({"virtualisation": "", "cpu": "flags\t: fpu\n"}, "none"),
        ({"virtualisation": "", "cpu": ""}, None),
    ],
)
def test_virtualisation(parts: dict[str, str], machine: str | None) -> None:
    assert read(**parts).virtualisation.machine == machine


@pytest.mark.parametrize(
    ("flags", "tee", "kind", "expected"),
    [
        ("sme sev sev_es", "kvm_amd\tthere\nsev\tN\nsev_es\tN\nsev_snp\tN", "sev-snp", Tee(cpu=None, enabled=False)),
        ("sme sev sev_es", "kvm_amd\tthere\nsev\tY\nsev_es\tY", "sev-snp", Tee(cpu=None, enabled=False)),
        ("sme sev", "sev\t1", "sev", Tee(cpu=True, enabled=True)),
        ("fpu", "", "sev-snp", Tee(cpu=False, enabled=None)),
        ("sgx", "dev/sgx_enclave\tthere", "sgx", Tee(cpu=True, enabled=True)),
        ("tme", "kvm_intel\tthere", "tdx", Tee(cpu=None, enabled=False)),
    ],
)
def test_trusted_execution(flags: str, tee: str, kind: str, expected: Tee) -> None:
    found = read(cpu=f"flags\t: {flags}\n", tee=tee, capacity="")
    assert found.tee[kind] == expected


@pytest.mark.parametrize(("tee", "guest"), [("dev/sev-guest\tthere", "sev-snp"), ("dev/tdx_guest\tthere", "tdx")])
def test_a_confidential_guest_knows_that_it_is_one(tee: str, guest: str) -> None:
    assert read(cpu="flags\t: hypervisor\n", tee=tee).tee_guest == guest


def test_an_interface_of_another_namespace_lends_nothing_to_ours() -> None:
    found = read(net="ens1f0np0\t00:00:00:00:00:99\tup\t1500\t1000\te1000\t0000:18:00.0")
    assert [(nic.speed, nic.driver) for nic in found.nics or ()] == [(None, "")]


def test_old_lsblk_writes_everything_as_text() -> None:
    line = (
        '"name":"sda","type":"disk","size":"480103981056","rota":"1","tran":"sata","model":"INTEL  SSD ","fstype":null'
    )
    (disk,) = read(lsblk=f'{{"blockdevices": [{{{line}}}]}}').disks or ()
    assert disk == Disk("sda", 480_103_981_056, True, "INTEL SSD", "sata", used=False)


def test_sysfs_where_there_is_no_lsblk() -> None:
    block = "sda\t937703088\t1\tINTEL\t1\nloop0\t8\t0\t\t\nnvme0n1\t7501476528\t0\tSAMSUNG\t\ndm-0\t8\t0\t\t"
    found = read(lsblk="", block=block).disks or ()
    assert [(disk.name, disk.size, disk.used) for disk in found] == [
        ("nvme0n1", 7501476528 * 512, None),
        ("sda", 937703088 * 512, True),
    ]


def test_a_recorded_machine_in_a_container() -> None:
    found = READING.parse((RECORDED / "microvm.txt").read_bytes(), "n1")
    assert found.modules is None
    assert found.virtualisation.container == "docker"
    assert [nic.driver for nic in found.nics or ()] == ["virtio_net", "", ""]


def test_a_recorded_machine_with_a_systemd_of_its_own() -> None:
    found = READING.parse((RECORDED / "guest.txt").read_bytes(), "n1")
    assert (found.kernel, found.init, found.cgroups) == ("6.1.0-56-cloud-amd64", "systemd", 2)
    assert (found.virtualisation.machine, found.virtualisation.vendor) == ("qemu", "QEMU")
    assert found.clock == Clock(False, ("systemd-timesyncd",))
    assert found.modules is not None
    assert len(found.modules) == 41
    assert found.modules["virtio_net"] == ""
    assert [(disk.name, disk.used) for disk in found.disks or ()] == [("vda", True), ("vdb", False)]
    assert [(nic.name, nic.driver, nic.pci) for nic in found.nics or ()] == [
        ("ens2", "virtio_net", "0000:00:02.0"),
        ("ens3", "virtio_net", "0000:00:03.0"),
    ]
    assert (found.secure_boot, found.pci is not None and len(found.pci)) == (False, 9)
