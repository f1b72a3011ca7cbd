"""Reading a machine's packages in one call: the script, and the parser of what it prints. Pure."""

from __future__ import annotations

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts.packages.model import NAME, VERSION, Manager, Packages
from swarmctl.hosts.readings import Reading

MOST = 100_000
"""Packages of one machine that are taken; large ones have some thousands."""

SCRIPT = r"""
if command -v dpkg-query >/dev/null && command -v apt-get >/dev/null; then
  echo "@ apt $(dpkg --print-architecture)"
  dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n'
  for file in /var/lib/dpkg/updates/*; do [ ! -e "$file" ] || { echo '@ interrupted'; break; }; done
elif command -v dnf >/dev/null; then echo '@ dnf'
else echo '@ none'
fi
echo '@ end'
"""
THERE = frozenset("HUFWti")
"""dpkg's letters for what is there: half-installed, unpacked, half-configured, triggers-awaited, triggers-pending,
installed (dpkg-query(1), db:Status-Abbrev)."""
WHOLE = "i"


def parse(output: bytes, host: str) -> Packages:
    """What `SCRIPT` printed on `host`. Raises WorldUnreadable when it did not come to its end."""
    lines = output.decode("utf-8", "replace").splitlines()
    if not lines or lines[-1] != "@ end":
        raise WorldUnreadable(
            f"{host}: the packages that are installed can't be read",
            "see what `dpkg-query -W` says there",
        )
    manager, _, native = lines[0].removeprefix("@ ").partition(" ")
    if manager != "apt":
        known: Manager = "dnf" if manager == "dnf" else ""
        return Packages(known)
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


READING: Reading[Packages] = Reading("packages", ("sh", "-eu", "-c", SCRIPT), parse)
