"""Reading a machine's packages in one call: the script, and the parser of what it prints. Pure."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping, Sequence

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts.packages.dnf import STREAM
from swarmctl.hosts.packages.dnf_program import LOCKLIST, STREAMS, UNFINISHED
from swarmctl.hosts.packages.model import NAME, RPM_NAME, RPM_VERSION, VERSION, Packages
from swarmctl.hosts.readings import Reading

MOST = 100_000
"""Packages of one machine that are taken; large ones have some thousands."""

BY_APT = "command -v dpkg-query >/dev/null && command -v apt-get >/dev/null && [ -s /var/lib/dpkg/status ]"
"""Condition of shell: whether a machine's packages are apt's. EPEL has dpkg for machines with dnf, too."""

SCRIPT = (
    r"""
if BY_APT; then
  echo "@ apt $(dpkg --print-architecture)"
  dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n'
  for file in /var/lib/dpkg/updates/*; do [ ! -e "$file" ] || { echo '@ interrupted'; break; }; done
elif command -v dnf >/dev/null && [ "$(readlink -f "$(command -v dnf)" | sed 's|.*/||')" != dnf5 ]; then
  echo "@ dnf $(uname -m)"
  rpm -qa --qf '%{NAME}\t%{ARCH}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{INSTALLTIME}\n'
  sed 's/^/@ lock /' LOCKLIST 2>/dev/null || :
  for file in STREAMS/*.module; do
    [ ! -e "$file" ] || sed -n 's/^\(name\|stream\|state\)=/@ \1 /p' "$file"
  done
  [ ! -e UNFINISHED ] || echo '@ interrupted'
else echo '@ none'
fi
echo '@ end'
""".replace("BY_APT", BY_APT)
    .replace("LOCKLIST", LOCKLIST)
    .replace("STREAMS", STREAMS)
    .replace("UNFINISHED", UNFINISHED)
)
THERE = frozenset("HUFWti")
"""dpkg's letters for what is there: half-installed, unpacked, half-configured, triggers-awaited, triggers-pending,
installed (dpkg-query(1), db:Status-Abbrev)."""
WHOLE = "i"
LOCKS = 1000
"""Lines of versionlock that are taken."""
LOCKED = re.compile(r"[A-Za-z0-9*?._+:~^-]{1,200}")
STARS = 4
SEVERAL = re.compile(r"(kernel|installonlypkg|kmod-(?!nvidia-(open|latest)-dkms))")
"""What may be there in several versions at once: kernels, and modules that are built for one."""


def parse(output: bytes, host: str) -> Packages:
    """What `SCRIPT` printed on `host`. Raises WorldUnreadable when it did not come to its end."""
    lines = output.decode("utf-8", "replace").splitlines()
    if not lines or lines[-1] != "@ end":
        raise WorldUnreadable(
            f"{host}: the packages that are installed can't be read",
            "see what `dpkg-query -W` or `rpm -qa` says there",
        )
    manager, _, native = lines[0].removeprefix("@ ").partition(" ")
    if manager == "dnf":
        return _rpm(lines[1 : MOST + 1], native)
    if manager != "apt":
        return Packages("")
    installed: dict[str, str] = {}
    held, broken = set(), []
    for line in lines[1 : MOST + 1]:
        status, _, rest = line.partition("\t")
        name, _, rest = rest.partition("\t")
        architecture, _, version = rest.partition("\t")
        if len(status) < 2 or status[1] not in THERE:
            continue
        name = name if architecture in (native, "all") else f"{name}:{architecture}"
        if not NAME.fullmatch(name):
            continue
        if VERSION.fullmatch(version):
            installed[name] = version
        if status[0] == "h":
            held.add(name)
        if status[1] != WHOLE or status[2:3] == "R":
            broken.append(name)
    return Packages("apt", installed, frozenset(held), tuple(sorted(broken)), "@ interrupted" in lines)


def _rpm(lines: Sequence[str], native: str) -> Packages:
    """`nvidia-imex<TAB>x86_64<TAB>3:595.91.07-1.el9<TAB>1763770000`: name, architecture, version, when it came."""
    found: dict[str, list[tuple[int, str]]] = {}
    for line in lines:
        fields = line.split("\t")
        if len(fields) != 4 or not fields[3].isdecimal() or fields[0] == "gpg-pubkey":
            continue
        name, architecture, version, when = fields
        name = name if architecture in (native, "noarch") else f"{name}.{architecture}"
        if RPM_NAME.fullmatch(name) and RPM_VERSION.fullmatch(version):
            found.setdefault(name, []).append((int(when[:15]), version.removeprefix("0:")))
    installed = {name: max(versions)[1] for name, versions in found.items()}
    locks = [line.removeprefix("@ lock ").strip() for line in lines if line.startswith("@ lock ")][:LOCKS]
    return Packages(
        "dnf",
        installed,
        frozenset(_held(installed, locks)),
        tuple(sorted(name for name, there in found.items() if len(there) > 1 and not SEVERAL.match(name))),
        "@ interrupted" in lines,
        _streams(lines),
    )


def _held(installed: Mapping[str, str], locks: Sequence[str]) -> Iterator[str]:
    """What versionlock has at the version that is there: `nvidia-imex-3:595.91.07-1.el9.*`, or a wider pattern."""
    patterns = [lock for lock in locks if LOCKED.fullmatch(lock) and lock.count("*") <= STARS]
    fits = re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or "(?!)").match
    for name, version in installed.items():
        epoch, _, plain = version.rpartition(":")
        forms = (plain.partition("-")[0], plain, f"{plain}.any", f"{epoch or 0}:{plain}", f"{epoch or 0}:{plain}.any")
        if any(fits(f"{name}-{form}") for form in forms):
            yield name


def _streams(lines: Sequence[str]) -> frozenset[str]:
    """Of the lines `@ name N`, `@ stream S` and `@ state enabled`, those that are enabled."""
    found, name, stream = set(), "", ""
    for line in lines:
        key, _, value = line.removeprefix("@ ").partition(" ")
        if key == "name":
            name, stream = value.strip(), ""
        elif key == "stream":
            stream = value.strip()
        elif key == "state" and value.strip() == "enabled" and STREAM.fullmatch(f"{name}:{stream}"):
            found.add(f"{name}:{stream}")
    return frozenset(found)


READING: Reading[Packages] = Reading("packages", ("sh", "-eu", "-c", SCRIPT), parse)
