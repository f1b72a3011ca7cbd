"""What hosts print of their PCI devices; the texts are composed after what `lspci -nn -D` of pciutils 3.9 prints."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from swarmctl.gpu.model import Device
from swarmctl.gpu.pci import LONGEST, from_lspci, from_sysfs, silent

COMPOSED = """\
0000:00:00.0 Host bridge [0600]: Intel Corporation Ice Lake Memory Map/VT-d [8086:09a2] (rev 04)
0000:04:00.0 VGA compatible controller [0300]: ASPEED Technology, Inc. ASPEED Graphics Family [1a03:2000] (rev 52)
0000:07:00.0 Bridge [0680]: NVIDIA Corporation GH100 [H100 NVSwitch] [10de:22a3] (rev a1)
0000:1b:00.0 3D controller [0302]: NVIDIA Corporation GH100 [H100 SXM5 80GB] [10de:2330] (rev a1)
0009:01:00.0 3D controller [0302]: NVIDIA Corporation Device [10de:2941] (rev a1)
0000:c1:00.0 Processing accelerators [1200]: Advanced Micro Devices, Inc. [AMD/ATI] Aqua Vanjaram [1002:74a1]
10000:e1:00.0 Non-Volatile memory controller [0108]: Intel Corporation NVMe [8086:0a54] (prog-if 02 [NVM Express])
"""


def test_lspci_is_read_by_numbers_alone() -> None:
    assert from_lspci(COMPOSED) == (
        Device("0000:00:00.0", "8086", "09a2", "0600"),
        Device("0000:04:00.0", "1a03", "2000", "0300"),
        Device("0000:07:00.0", "10de", "22a3", "0680"),
        Device("0000:1b:00.0", "10de", "2330", "0302"),
        Device("0000:c1:00.0", "1002", "74a1", "1200"),
        Device("0009:01:00.0", "10de", "2941", "0302"),
        Device("10000:e1:00.0", "8086", "0a54", "0108"),
    )


def test_noise_and_lies_are_left_out() -> None:
    noise = [
        "Welcome to the machine room!",
        "1b:00.0 3D controller [0302]: without a domain [10de:2330]",
        "0000:1b:00.0 3D controller [0302]: NVIDIA Corporation [10de:23XX]",
        "0000:1b:00.9 3D controller [0302]: no such function [10de:2330]",
        "0000:1b:00.0 3D controller: without a class [10de:2330]",
        "0000:1b:00.0 3D controller [0302]: " + "x" * LONGEST + " [10de:2330]",
        "\tKernel driver in use: nvidia",
        "0000:1c:00.0 3D controller [0302]: NVIDIA Corporation [T4] [10de:1eb8] (rev a1)",
        "0000:1c:00.0 3D controller [0302]: the same place again [10de:2330] (rev a1)",
    ]
    assert from_lspci("\r\n".join(noise)) == (Device("0000:1c:00.0", "10de", "1eb8", "0302"),)


def test_a_card_whose_revision_reads_as_ones_has_left_the_bus() -> None:
    assert silent(COMPOSED) == frozenset()
    assert silent(COMPOSED.replace("[10de:2330] (rev a1)", "[10de:2330] (rev ff)")) == {"0000:1b:00.0"}
    assert silent("what somebody says (rev ff)") == frozenset()


def test_no_card_is_cut_off() -> None:
    lines = [f"{number:08x}:00:00.0 Bridge [0680]: x [10de:22a3]" for number in range(5000)]
    assert len(from_lspci("\n".join(lines))) == len(lines), "who reads a host says when there are too many"


def test_sysfs_tells_the_same() -> None:
    entries = {
        "0000:1b:00.0": {"vendor": "0x10de\n", "device": "0x2330\n", "class": "0x030200\n"},
        "0000:07:00.0": {"vendor": "0x10de\n", "device": "0x22a3\n", "class": "0x068000\n"},
        "0000:1c:00.0": {"vendor": "0x10de\n", "device": "0x2330\n"},
        "0000:1d:00.0": {"vendor": "10de\n", "device": "0x2330\n", "class": "0x030200\n"},
        "0000:1e:00.0": {"vendor": "0x10de\n", "device": "0x2330", "class": "0x0302\n"},
        "../../etc/passwd": {"vendor": "0x10de\n", "device": "0x2330\n", "class": "0x030200\n"},
    }
    assert from_sysfs(entries) == (
        Device("0000:07:00.0", "10de", "22a3", "0680"),
        Device("0000:1b:00.0", "10de", "2330", "0302"),
    )


@given(st.text(max_size=300))
def test_whatever_is_printed_is_read_without_an_error(text: str) -> None:
    assert all(len(device.vendor) == 4 for device in from_lspci(text))
