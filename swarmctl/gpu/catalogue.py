"""The cards and driver branches that are known, from the tables in `data/`. Pure; a table is read once."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Literal

import msgspec

from swarmctl.gpu.model import Flavour

Vendor = Literal["nvidia", "amd"]
VENDORS: Mapping[str, Vendor] = {"10de": "nvidia", "1002": "amd"}
"""PCI vendor id → name."""
GPU_CLASSES = frozenset({"0300", "0302", "0380", "1200"})
"""PCI classes that a GPU can have; its audio and USB functions have others (pci.ids, list of device classes)."""
BRANDS = ("nvidia", "amd", "tesla", "quadro", "geforce", "instinct")
"""Words before a model's name that nobody needs to write."""
DETAIL = re.compile(r"pcie|sxm|nvl|hbm3e|[0-9]{1,4}gb")
"""Words in a model's name that tell its form and memory."""


class Architecture(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What all cards of one architecture have in common."""

    flavours: tuple[Flavour, ...]
    """Kernel modules that drive it, the preferred one first."""
    minimum: str = ""
    """The first driver version that knows it; empty for every one of the table."""
    last: int | None = None
    """The last branch that drives it."""
    cpu: str = ""
    """The only CPU architecture that it comes with."""


class Mig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The MIG profiles of one kind of card."""

    slices: int
    """Memory slices of the card."""
    profiles: dict[str, int]
    """Name → how many fit when nothing else is there."""
    balanced: dict[str, int]
    """The layout that mig-parted calls `all-balanced`."""


class Card(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one PCI device id stands for."""

    models: tuple[str, ...]
    """Several where products share the id."""
    architecture: str
    memory: int
    """GB, of one PCI device."""
    form: Literal["PCIe", "SXM", "OAM", "APU", "superchip"]
    nvlink: int = 0
    """Generation; 0 for none."""
    confidential: bool = False
    """Whether the vendor supports confidential computing on it."""
    mig: str = ""
    """Name of its table of profiles; empty when it has none, or none is known."""
    minimum: str = ""
    """The first driver version that knows it, where that is later than its architecture's."""

    @property
    def name(self) -> str:
        """Its models in one phrase."""
        return " or ".join(self.models)


class Catalogue(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One vendor's cards."""

    vendor: str
    sources: dict[str, str]
    """Which facts are taken from where."""
    architectures: dict[str, Architecture]
    cards: dict[str, Card]
    """By PCI device id."""
    switches: dict[str, str] = {}
    """NVSwitches, by PCI device id."""
    mig: dict[str, Mig] = {}

    def architecture(self, card: Card) -> Architecture:
        """The architecture of `card`, which is one of this catalogue."""
        return self.architectures[card.architecture]

    def minimum(self, card: Card) -> str:
        """The first driver version that knows `card`; empty for every one of the table."""
        return card.minimum or self.architecture(card).minimum


class Branch(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One branch of a vendor's driver."""

    version: str
    kind: str
    ends: str = ""
    """The month in which its support ends or ended, such as `2027-03`; empty when none is published."""
    ended: bool = False
    auto: int | None = None
    """Its place in the order of `auto`; None when it is taken only if declared."""
    cuda: int | None = None
    rocm: str = ""
    """The release of ROCm that is installed with it."""
    module: str = ""
    """Version of the kernel module, where that is another than the driver's."""


class Counters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Fields of DCGM that the exporter is to have on."""

    source: str
    extra: tuple[str, ...]
    """Off in the exporter's own list."""
    nvlink: tuple[str, ...]
    """Off too, and only of use where there is NVLink."""
    kept: tuple[str, ...]
    """On already, and not to be lost with a list of one's own."""


class Drivers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One vendor's driver branches, and the tools around them."""

    sources: dict[str, str]
    branches: dict[str, Branch]
    tools: dict[str, str] = {}
    """Package → version."""
    counters: Counters | None = None


class Tables(msgspec.Struct, frozen=True):
    """All that is known of one vendor."""

    catalogue: Catalogue
    drivers: Drivers


def tables(vendor: Vendor) -> Tables:
    """Both tables of `vendor`, as they are shipped. Raises msgspec.ValidationError as those do."""
    return Tables(catalogue(vendor), drivers(vendor))


@cache
def catalogue(vendor: Vendor) -> Catalogue:
    """The cards of `vendor`. Raises msgspec.ValidationError when the table is not as it must be."""
    return msgspec.convert(_table(vendor), Catalogue)


@cache
def drivers(vendor: Vendor) -> Drivers:
    """The driver branches of `vendor`. Raises msgspec.ValidationError when the table is not as it must be."""
    return msgspec.convert(_table(f"{vendor}-drivers"), Drivers)


def version_key(version: str) -> tuple[int, ...]:
    """A version that can be compared: `580.95.05` → (580, 95, 5). Raises ValueError when it is not one."""
    if not re.fullmatch(r"[0-9]{1,6}(\.[0-9]{1,6}){0,4}", version):
        raise ValueError(f"not a driver version: {version!r}")
    return tuple(int(part) for part in version.split("."))


def is_model(wanted: str, card: Card) -> bool:
    """Whether `wanted` names `card`: the first words of a model, and of form and memory as much as one likes.

    `H100`, `H100 80GB` and `nvidia h100-sxm` all name an `H100 SXM5 80GB`; `RTX 6000` names no `RTX PRO 6000`.
    """
    words, details = _words(wanted)
    return bool(words) and any(
        there[: len(words)] == words and details <= more for there, more in map(_words, card.models)
    )


def _words(model: str) -> tuple[list[str], set[str]]:
    """A model's name, and what it says of form and memory."""
    words = re.findall(r"[a-z0-9]+", re.sub(r"\bsxm\d\b", "sxm", model.lower()))
    while words and words[0] in BRANDS:
        words = words[1:]
    details = {word for word in words if DETAIL.fullmatch(word)}
    return [word for word in words if word not in details], details


def _table(name: str) -> object:
    return tomllib.loads(resources.files("swarmctl.gpu").joinpath("data", f"{name}.toml").read_text("utf-8"))
