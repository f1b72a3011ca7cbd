"""AMD's driver on a machine: one reading, and the scripts in which it differs from NVIDIA's. Pure.

Sources: amdgpu's files in sysfs; AMD SMI's `version --json` and `list --json` (ROCm 7.2); rocminfo; the kernel's
documentation of /sys/class/kfd; AMD Container Toolkit 1.2.0, CDI guide. Which release is loaded no file tells: a module
has a version of its own, which several releases share. So the loaded one is compared, by the digest of its source, with
the one that the package has built.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from swarmctl.errors import WorldUnreadable
from swarmctl.gpu.amd import CORE, DKMS, FIRMWARE, ORIGIN, packaged
from swarmctl.gpu.amd import built as built_by
from swarmctl.hosts import packages, readings
from swarmctl.hosts.readings import Reading
from swarmctl.kinds.node_pool.accelerators import bounded, signing
from swarmctl.kinds.node_pool.accelerators.places import AMD, same
from swarmctl.kinds.node_pool.accelerators.reading import (
    SHOWN,
    VERSION,
    Card,
    Seen,
    ended,
    fingerprints,
    is_unverified,
    modules,
    plain,
    unverified,
)

TOOLS = "PATH=$PATH:/opt/rocm/bin"
"""Where ROCm puts its programs."""
OWN = "the kernel's own"
"""What the module counts as that comes with the kernel, and is of no release."""
SOURCE = re.compile(
    r"(?m)^(?:deb \[arch=amd64 signed-by=\S+\] (?P<apt>\S{1,400} [a-z]{1,20} main)|baseurl=(?P<dnf>\S{1,400}))$"
)
MOST = 256
"""Cards of one machine that are taken."""

SCRIPT = f"""
{TOOLS}
part() {{ printf '\\n@@ %s\\n' "$1"; }}
{bounded.SCRIPT}
has() {{
  if {packages.BY_APT}; then dpkg-query -W -f '${{Version}}\\n' "$1" 2>/dev/null
  else rpm -q --qf '%{{VERSION}}-%{{RELEASE}}\\n' "$1" 2>/dev/null | grep -v ' '; fi
}}
part loaded; cat /sys/module/amdgpu/version 2>/dev/null
part state; cat /sys/module/amdgpu/initstate 2>/dev/null
part source; cat /sys/module/amdgpu/srcversion 2>/dev/null
part built; modinfo -F srcversion amdgpu 2>/dev/null
part package; has {DKMS}
part firmware; has {FIRMWARE}
part rocm; has {CORE}
if command -v amd-smi >/dev/null; then
  part version; said=$(bounded {bounded.SECONDS} amd-smi version --json); printf '%s\\n' "$said"
  case $said in *'@ 124' | *'@ 137') ;; *) part list; bounded {bounded.SECONDS} amd-smi list --json ;; esac
fi
part cdi; grep -o '"amd\\.com/gpu"' {AMD.cdi} 2>/dev/null | head -n 1
part sources; cat {AMD.sources} {AMD.yum} 2>/dev/null
part keyring; for key in {AMD.keyring} {AMD.rpm_key}; do [ ! -f $key ] || base64 -w 0 $key; done
part preferences; cat {AMD.preferences} 2>/dev/null
part modules; cat {AMD.modules} 2>/dev/null
{unverified(AMD)}
{signing.SCRIPT}
part end
"""


def parse(output: bytes, host: str) -> Seen:
    """What `SCRIPT` printed. Raises WorldUnreadable when it did not come to its end."""
    found = readings.parts(output[: 4 << 20].decode("utf-8", "replace"))
    parts = {name: text.strip("\n") for name, text in found.items()}
    if "end" not in parts:
        raise WorldUnreadable(f"{host}: what driver runs there can't be read", "see whether `amd-smi` hangs there")
    package, firmware = parts.get("package", "")[:SHOWN], parts.get("firmware", "")[:SHOWN]
    module, release = packaged(package)
    if not module:
        module, release = built_by(package, firmware)
    version = _whole(parts.get("loaded", ""))
    built = parts.get("built", "")
    is_built = version == module and bool(built) and parts.get("source", "") == built
    cards, failure = _cards(parts, version, release if is_built else version)
    asked = [ended(parts[name])[1] for name in ("version", "list") if name in parts]
    return Seen(
        loaded=release if is_built else version,
        flavour="open" if version else OWN if parts.get("state") == "live" else "",
        cards=cards,
        failure=failure,
        hangs=any(status in bounded.HUNG for status in asked),
        cdi="amd.com/gpu" if parts.get("cdi") == '"amd.com/gpu"' else "",
        source=tuple(it["apt"] or same(it["dnf"]) for it in SOURCE.finditer(parts.get("sources", "")[:9999])),
        origin=ORIGIN if parts.get("preferences", "") == preferences(ORIGIN).strip("\n") else "",
        fingerprints=fingerprints(parts.get("keyring", "")),
        modules=modules(parts.get("modules", "")),
        unverified=is_unverified(parts),
        signing=signing.parse(parts.get("enrolled", "")),
    )


READING: Reading[Seen] = Reading("amd driver", ("sh", "-c", SCRIPT), parse, timeout=120.0)


def _whole(text: str) -> str:
    return text if VERSION.fullmatch(text) else ""


def _cards(parts: dict[str, str], loaded: str, release: str) -> tuple[tuple[Card, ...], str]:
    """The cards that `amd-smi` lists, with the driver's release where it sees the module that is loaded and is itself
    of the ROCm that is installed; and what it said where it failed."""
    if "version" not in parts:
        return (), ""
    versions, failure = _answer(parts["version"])
    listed, other = ([], "") if failure else _answer(parts.get("list", ""))
    if failure or other:
        return (), failure or other
    first = versions[0] if versions else {}
    driver, rocm = _text(first.get("amdgpu_version")), _text(first.get("rocm_version"))
    installed = ".".join(parts.get("rocm", "")[:SHOWN].split(".")[:3])
    if rocm != installed:
        return (), f"amd-smi is of ROCm {rocm or 'unknown'}, and {CORE} of {plain(installed) or 'none'}"
    addresses = [_text(one.get("bdf")).lower() for one in listed[:MOST]]
    version = release if driver == loaded else driver
    found = {
        address: Card(number, address, version, False)
        for number, address in enumerate(addresses)
        if re.fullmatch(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[01][0-9a-f]\.[0-7]", address)
    }
    return tuple(found.values()), "" if found else "it sees no card"


def _answer(text: str) -> tuple[list[dict[str, Any]], str]:
    """The list of objects that it printed, warnings before it left out; or what it said where it failed."""
    body, status = ended(text)
    lines = body.strip().splitlines()
    if status != "0":
        said = plain(" ".join(lines[-1].split())) if lines else ""
        return [], bounded.failure("amd-smi", said, status)
    begins = re.search(r"\[\s*[{\]]", body)
    try:
        found, _ = json.JSONDecoder().raw_decode(body[begins.start() if begins else 0 :])
    except (ValueError, RecursionError):
        return [], "it did not answer in JSON"
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else [], ""


def _text(value: Any) -> str:
    return plain(value) if isinstance(value, str) else ""


def preferences(origin: str) -> str:
    """For apt: packages of that origin go before those of the distribution, which have the same names."""
    return f"Package: *\nPin: release o={origin}\nPin-Priority: 600\n"


def busy() -> str:
    """Prints the processes that have the cards open for computing: a folder for each."""
    return "ls /sys/class/kfd/kfd/proc 2>/dev/null || :\n"


def reload(version: str, flavour: str, modules: Sequence[str]) -> str:
    """Have the module loaded that is built. Says `stays` when another one can't be unloaded.

    `version` and `flavour` say nothing here: which module that is, its source tells.
    """
    return """
source() { cat /sys/module/amdgpu/srcversion 2>/dev/null || :; }
live() { cat /sys/module/amdgpu/initstate 2>/dev/null || :; }
if [ "$(live)" = live ] && [ "$(source)" != "$(modinfo -F srcversion amdgpu)" ]; then
  modprobe -r amdgpu 2>/dev/null || :
  if [ "$(live)" = live ]; then echo stays amdgpu; exit 0; fi
fi
modprobe amdgpu
echo loaded
"""


def cdi() -> str:
    """Write the CDI specification anew."""
    return f"mkdir -p {AMD.cdi.rpartition('/')[0]}\ntimeout -k 5 60 amd-ctk cdi generate --output={AMD.cdi} >&2\n"


def diagnose(cards: int) -> str:
    """Whether programs of ROCm find all cards: what the kernel's interface for computing tells goes through it."""
    return f"""
{TOOLS}
said=$(timeout -k 5 120 rocminfo 2>&1) || {{ status=$?; printf '%s\\n' "$said" | tail -n 3; exit "$status"; }}
seen=$(printf '%s\\n' "$said" | grep -c '^ *Device Type: *GPU *$') || :
[ "$seen" -ge {cards} ] || {{ echo "rocminfo fails to see all cards: $seen of {cards}"; exit 1; }}
"""


def forget() -> str:
    """Remove every file of ours."""
    return f"rm -rf {AMD.folder} {AMD.sources} {AMD.keyring} {AMD.yum} {AMD.rpm_key} {AMD.preferences} {AMD.modules}\n"
