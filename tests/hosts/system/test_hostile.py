"""Machines that lie: whatever they print becomes facts of bounded size, or one error that names the machine."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts.system import READING, SystemFacts
from swarmctl.hosts.system.parse import LIMIT, PARTS
from swarmctl.hosts.system.text import MOST, MUCH

from .machines import BARE, MACHINES, output

WORDS = sorted({word for text in [*BARE.values(), *MACHINES["b200"].values()] for word in text.split()} | {"@@", "end"})
LINE = st.one_of(
    st.text(max_size=40),
    st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join),
    st.lists(st.sampled_from(WORDS), max_size=8).map("\t".join),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "blockdevices",
                    "name",
                    "type",
                    "size",
                    "ifname",
                    "mtu",
                    "flags",
                    "addr_info",
                    "local",
                    "linkinfo",
                    "address",
                ]
            )
            | st.text(max_size=8),
            inner,
            max_size=6,
        )
    ),
    max_leaves=20,
)
PART = st.one_of(st.lists(LINE, max_size=12).map("\n".join), JSON.map(lambda it: msgspec.json.encode(it).decode()))


def parsed(raw: bytes) -> SystemFacts | None:
    try:
        return READING.parse(raw, "n1")
    except WorldUnreadable as error:
        found = error
    assert "n1" in found.message
    assert found.message.isprintable()
    return None


def strings(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for one in pair for text in strings(one)]
    return [text for one in value for text in strings(one)] if isinstance(value, list) else []


@settings(max_examples=60, deadline=None)
@given(st.dictionaries(st.sampled_from(PARTS), PART, max_size=6))
def test_a_part_that_is_nonsense_leaves_the_rest_as_it_is(parts: dict[str, str]) -> None:
    found = parsed(output(**parts))
    if found is None:
        assert set(parts) & {"hostname", "now", "kernel", "architecture"} or any(
            "@@" in text for text in parts.values()
        )
        return
    plain = msgspec.to_builtins(found)
    assert all(text.isprintable() and len(text) <= 200 for text in strings(plain))
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(found)), SystemFacts) == found


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=2000))
def test_noise_is_an_error(raw: bytes) -> None:
    assert parsed(raw) is None


@settings(max_examples=40, deadline=None)
@given(st.integers(0, len(output())), st.binary(max_size=20))
def test_an_answer_that_is_damaged_somewhere(place: int, noise: bytes) -> None:
    whole = output()
    parsed(whole[:place] + noise + whole[place + len(noise) :])


@pytest.mark.parametrize("part", PARTS)
def test_an_answer_that_breaks_off_is_an_error(part: str) -> None:
    whole = output()
    with pytest.raises(WorldUnreadable, match="broke off before"):
        READING.parse(whole[: whole.index(f"@@ {part}\n".encode())], "n1")


def test_too_much_is_an_error() -> None:
    with pytest.raises(WorldUnreadable, match="more than 16 MiB"):
        READING.parse(output(os="x" * LIMIT), "n1")


@pytest.mark.parametrize("part", ["hostname", "now", "kernel", "architecture"])
@pytest.mark.parametrize("text", ["", "\x1b[31m", "-1", "6.1; reboot", "x" * 300])
def test_without_the_least_of_facts_there_are_none(part: str, text: str) -> None:
    if part == "hostname" and text:
        text = "\x00"
    with pytest.raises(WorldUnreadable, match="that makes sense"):
        READING.parse(output(**{part: text}), "n1")


def listed(count: int) -> dict[str, dict[str, str]]:
    """Parts of an answer by what there are so many of in them, by each way in which a machine tells it."""
    modules = "there\n" + "\n".join(f"m{n}" for n in range(count))
    groups = "\n".join(f"{n}/devices/{n:04x}:00:00.0" for n in range(count))
    disks = ",".join(f'{{"name":"d{n}","type":"disk","size":1}}' for n in range(count))
    links = ",".join(f'{{"ifname":"e{n}","mtu":1500}}' for n in range(count))
    cards = "".join(f"{n:04x}:00:00.0 3D controller [0302]: N [10de:2330]\n" for n in range(count))
    sysfs = "bus\n" + "".join(f"{n:04x}:00:00.0\t0x10de\t0x2330\t0x030200\n" for n in range(count))
    return {
        "kernel modules": {"modules": modules, "builtin": ""},
        "devices in IOMMU groups": {"groups": groups},
        "disks": {"lsblk": f'{{"blockdevices": [{disks}]}}'},
        "disks by sysfs": {"lsblk": "", "block": "".join(f"d{n}\t8\t0\tx\t\n" for n in range(count))},
        "network interfaces": {"link": f"[{links}]"},
        "network interfaces by sysfs": {
            "link": "",
            "net": "".join(f"e{n}\t\tup\t1500\t-1\t\t\n" for n in range(count)),
        },
        "PCI devices": {"lspci": cards},
        "PCI devices by sysfs": {"lspci": "", "pci": sysfs},
    }


@pytest.mark.parametrize("what", listed(0))
def test_what_there_is_too_much_of_is_an_error_and_not_the_half_of_it(what: str) -> None:
    found = READING.parse(output(**listed(MOST)[what]), "n1")
    assert found.iommu is not None
    counts = [len(one or ()) for one in (found.disks, found.nics, found.pci, found.modules, found.iommu.groups)]
    assert MOST in counts, "so many are told"
    with pytest.raises(WorldUnreadable) as raised:
        READING.parse(output(**listed(MOST + 1)[what]), "n1")
    told = what.removesuffix(" by sysfs")
    assert raised.value.message == f"the system of n1 cannot be read: it tells of more than 4,096 {told}"
    assert raised.value.hint


@pytest.mark.parametrize(("part", "program"), [("lspci", "lspci"), ("link", "ip address")])
def test_what_a_program_prints_without_end_is_an_error(part: str, program: str) -> None:
    endless = "0000:10:00.0 3D controller [0302]: N [10de:2330]\n" * (MUCH // 49 + 1)
    with pytest.raises(WorldUnreadable) as raised:
        READING.parse(output(**{part: endless[:MUCH]}), "n1")
    assert raised.value.message.endswith(f"it tells of what `{program}` prints in more than 1 MiB")
    assert f"head -c {MUCH};" in READING.argv[-1], "the script takes just so much"


def test_an_lspci_that_was_ended_in_time_tells_of_no_card() -> None:
    sysfs = listed(8)["PCI devices by sysfs"]["pci"]
    half = listed(3)["PCI devices"]["lspci"]
    found = READING.parse(output(lspci=f"{half}ended 124\n", pci=sysfs), "n1").pci
    assert found is not None
    assert len(found) == 8
    assert READING.parse(output(lspci=f"{half}ended 124\n", pci=""), "n1").pci is None
    other = READING.parse(output(lspci=f"{half}ended 1\n", pci=sysfs), "n1").pci
    assert len(other or ()) == 3, "it came to its end, and did not like something"


def test_deep_json_is_no_way_to_end_a_run() -> None:
    deep = "[" * 200_000
    found = parsed(output(lsblk=deep, link=deep))
    assert found is not None
    assert found.disks is None


@pytest.mark.parametrize("number", ["9" * 16, "9" * 400, str(2**53 + 1), "1e9", "0x10", "-1", "\u0661", "1_0", " "])
def test_numbers_that_nothing_can_have_are_unknown(number: str) -> None:
    found = parsed(
        output(
            memory=f"MemTotal: {number} kB\nSwapTotal: {2**53} kB",
            lsblk=f'{{"blockdevices": [{{"name": "a", "type": "disk", "size": "{number}"}}]}}',
            net="",
            capacity=f"tdx {number}",
        )
    )
    assert found is not None
    assert (found.memory.total, found.disks, found.tee["tdx"].capacity) == (None, (), None)
    assert msgspec.convert(msgspec.json.decode(msgspec.json.encode(found)), SystemFacts) == found
