"""What a machine's driver is, as far as commands tell: one call, and the parser of what it prints. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts import readings, startup
from swarmctl.hosts.packages import openpgp
from swarmctl.hosts.readings import Reading
from swarmctl.kinds.node_pool.accelerators import at_start, bounded, signing
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA, Places, same
from swarmctl.kinds.node_pool.accelerators.scripts import LIST
from swarmctl.kinds.node_pool.accelerators.services import COUNTERS, DAEMONS, STATES
from swarmctl.kinds.node_pool.accelerators.signing import UNSIGNED, Signing


def unverified(at: Places) -> str:
    """What tells whether a driver was changed and never verified since; `is_unverified` takes it."""
    return f"part unverified; for at in {at.old} {at.unverified}; do [ ! -e $at ] || echo yes; done"


def is_unverified(parts: Mapping[str, str]) -> bool:
    """What `unverified` has printed."""
    return "yes" in parts.get("unverified", "")


SCRIPT = f"""
part() {{ printf '\\n@@ %s\\n' "$1"; }}
{bounded.SCRIPT}
part loaded; cat /sys/module/nvidia/version 2>/dev/null
part module; cat /proc/driver/nvidia/version 2>/dev/null
if command -v nvidia-smi >/dev/null; then
  part smi; said=$(bounded {bounded.SECONDS} nvidia-smi {LIST}); printf '%s\\n' "$said"
  # Where it hangs, asking once more would only take the same time.
  case $said in *'@ 124' | *'@ 137') ;; *) part instances; bounded {bounded.SECONDS} nvidia-smi -L ;; esac
fi
if command -v nv-fabricmanager >/dev/null; then
  part fabric; bounded 10 sh -c 'exec nv-fabricmanager --version 2>/dev/null'
fi
part units; {STATES}
part cdi; grep -o 'libcuda\\.so\\.[0-9][0-9.]*' {NVIDIA.cdi} 2>/dev/null | head -n 1
part startup; {at_start.READ}
part counters; sed -n 's/^\\(DCGM_FI_[A-Z0-9_]*\\),.*/\\1/p' {COUNTERS} 2>/dev/null
part sources; cat {NVIDIA.sources} {NVIDIA.yum} 2>/dev/null
part keyring; for key in {NVIDIA.keyring} {NVIDIA.rpm_key}; do [ ! -f $key ] || base64 -w 0 $key; done
part modules; cat {NVIDIA.modules} 2>/dev/null
{unverified(NVIDIA)}
{signing.SCRIPT}
part end
"""
VERSION = re.compile(r"[0-9]{1,6}(?:\.[0-9]{1,6}){1,4}")
SOURCE = re.compile(r"(?m)^(?:deb \[signed-by=\S+\] (?P<apt>\S{1,400}) /|baseurl=(?P<dnf>\S{1,400}))$")
SHOWN = 200


@dataclass(frozen=True, slots=True)
class Card:
    """One card that `nvidia-smi` or `amd-smi` sees."""

    index: int
    pci: str
    """As the kernel writes it: `0000:17:00.0`."""
    version: str
    mig: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """Everything that one reading tells."""

    loaded: str = ""
    """Version of the driver whose kernel module is loaded; empty when none is."""
    flavour: str = ""
    """`open`, `proprietary`, or that it is the kernel's own; empty when it can't be told."""
    cards: tuple[Card, ...] = ()
    failure: str = ""
    """What the tool says instead; empty when it answers, or is not there."""
    hangs: bool = False
    """Whether it says nothing at all, in time: so does one that waits for a card."""
    instances: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    """PCI address → MIG profile → how many."""
    fabric: str = ""
    """Version of Fabric Manager's program."""
    running: frozenset[str] = frozenset()
    """Units."""
    cdi: str = ""
    """Version of the libraries that the CDI specification names."""
    counters: frozenset[str] = frozenset()
    source: tuple[str, ...] = ()
    """Address in our sources list, if that is as we write it."""
    origin: str = ""
    """Of the repositories that apt prefers, if our file for that is as we write it."""
    fingerprints: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()
    unverified: bool = False
    """Whether it was changed, and never verified since."""
    startup: Mapping[str, str] | None = None
    """Digests of what divides the cards when it starts, by path; None where systemd does not run."""
    signing: Signing = UNSIGNED
    """By whom modules are signed here, and whether the firmware takes that."""

    def lost(self, cards: Iterable[str]) -> list[str]:
        """Which of these the tool does not see, though it sees others, by PCI address: where it sees none, what it says
        instead tells more."""
        return sorted({*cards} - {card.pci for card in self.cards}) if self.cards else []

    @property
    def answers(self) -> str:
        """The one version that the tool tells for all cards; empty when it does not."""
        versions = {card.version for card in self.cards}
        return versions.pop() if len(versions) == 1 and not self.failure else ""


def parse(output: bytes, host: str) -> Seen:
    """What `SCRIPT` printed. Raises WorldUnreadable when it did not come to its end."""
    found = readings.parts(output[: 4 << 20].decode("utf-8", "replace"))
    parts = {name: text.strip("\n") for name, text in found.items()}
    if "end" not in parts:
        raise WorldUnreadable(f"{host}: what driver runs there can't be read", "see whether `nvidia-smi` hangs there")
    cards, failure, hangs = _cards(parts.get("smi", ""))
    return Seen(
        loaded=_version(parts.get("loaded", "")),
        flavour=_flavour(parts.get("module", "")),
        cards=cards,
        failure=failure,
        hangs=hangs,
        instances=_instances(parts.get("instances", ""), cards),
        fabric=_version(parts.get("fabric", "")),
        running=frozenset(parts.get("units", "").split()) & DAEMONS.keys(),
        cdi=_version(parts.get("cdi", "").rstrip(".")),
        counters=frozenset(re.findall(r"(?m)^DCGM_FI_[A-Z0-9_]{1,80}$", parts.get("counters", ""))),
        source=tuple(same(match["apt"] or match["dnf"]) for match in SOURCE.finditer(parts.get("sources", "")[:9999])),
        fingerprints=fingerprints(parts.get("keyring", "")),
        modules=modules(parts.get("modules", "")),
        unverified=is_unverified(parts),
        startup=startup.parse(parts.get("startup", "")),
        signing=signing.parse(parts.get("enrolled", "")),
    )


READING: Reading[Seen] = Reading("nvidia driver", ("sh", "-c", SCRIPT), parse, timeout=90.0)


def plain(text: str) -> str:
    """The beginning of what a machine said, as a terminal may show it."""
    return "".join(char if char.isprintable() else "?" for char in text[:SHOWN])


def modules(text: str) -> tuple[str, ...]:
    """Lines that are names of kernel modules."""
    return tuple(re.findall(r"(?m)^[a-z0-9_]{1,60}$", text))


def _version(text: str) -> str:
    match = VERSION.search(text[:SHOWN])
    return match[0] if match else ""


def _flavour(text: str) -> str:
    """`NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  595.91.07 …`; the other one does not say `Open`."""
    if not text.startswith("NVRM version:"):
        return ""
    return "open" if " Open Kernel Module " in text.partition("\n")[0] else "proprietary"


def ended(text: str) -> tuple[str, str]:
    """What a program printed that `bounded` has asked, and its status; empty where that is missing."""
    body, at, status = f"\n{text.rstrip()}".rpartition("\n@ ")
    return (body.strip("\n"), status) if at and status.isdecimal() else (text, "")


def _cards(text: str) -> tuple[tuple[Card, ...], str, bool]:
    """Lines such as `0, 00000000:17:00.0, 595.91.07, Disabled`, what it said where it failed, and whether it hangs."""
    if not text:
        return (), "", False
    body, status = ended(text)
    lines = body.strip().splitlines()
    if status != "0":
        said = plain(" ".join(lines[0].split())) if lines else ""
        return (), bounded.failure("nvidia-smi", said, status), status in bounded.HUNG
    found = []
    for line in lines[:256]:
        match = re.fullmatch(
            rf"([0-9]{{1,3}}), ([0-9A-Fa-f]{{4,8}}):([0-9A-Fa-f:]{{5}}\.[0-7]), ({VERSION.pattern}), (.+)",
            line,
        )
        if match:
            pci = f"{int(match[2], 16):04x}:{match[3].lower()}"
            found.append(Card(int(match[1]), pci, match[4], match[5] == "Enabled"))
    return tuple(found), "" if found else "it sees no card", False


def _instances(text: str, cards: tuple[Card, ...]) -> Mapping[str, Mapping[str, int]]:
    """`GPU 0: …` and below it `  MIG 1g.10gb     Device  0: (UUID: …)`."""
    pci = {card.index: card.pci for card in cards}
    found: dict[str, Counter[str]] = {card.pci: Counter() for card in cards if card.mig}
    index = -1
    for line in text.splitlines()[:4096]:
        if match := re.match(r"GPU ([0-9]{1,3}): ", line):
            index = int(match[1])
        elif (match := re.match(r"\s+MIG ([1-7]g\.[0-9]{1,3}gb\S{0,9})\s+Device\s", line)) and index in pci:
            found.setdefault(pci[index], Counter())[match[1]] += 1
    return {address: dict(profiles) for address, profiles in found.items()}


def fingerprints(text: str) -> tuple[str, ...]:
    """Of a keyring in base64; none where it is none."""
    try:
        return tuple(openpgp.fingerprints(base64.b64decode(text, validate=True))) if text else ()
    except (ValueError, binascii.Error):
        return ()
