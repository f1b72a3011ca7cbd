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
from swarmctl.hosts.system.text import MOST

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


def test_there_is_a_limit_to_everything() -> None:
    many = 3 * MOST
    found = parsed(
        output(
            modules="there\n" + "\n".join(f"m{n}" for n in range(many)),
            groups="\n".join(f"{n}/devices/{n % 65536:04x}:00:{n // 65536:02x}.0" for n in range(many)),
            lsblk='{"blockdevices": ['
            + ",".join(f'{{"name":"d{n}","type":"disk","size":1}}' for n in range(many))
            + "]}",
            link="[" + ",".join(f'{{"ifname":"e{n}","mtu":1500}}' for n in range(many)) + "]",
            lspci="".join(f"{n:04x}:00:00.0 3D controller [0302]: N [10de:2330]\n" for n in range(many)),
        )
    )
    assert found is not None
    assert found.iommu is not None
    sizes = [len(one or ()) for one in (found.disks, found.nics, found.pci, found.modules, found.iommu.groups)]
    assert max(sizes) <= MOST + 1  # and what is built into the kernel


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
