"""What a machine says of itself before anything is made on it: whether it can be a node, and whose it is. Pure.

The facts of a machine tell it along with everything else, so that many new machines need not be asked twice. What a
machine prints is taken line by line, and no further than it makes sense.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from swarmctl.hosts.fence import one_line

PACKAGES: Mapping[str, str] = {
    "bash": "bash",
    "flock": "util-linux",
    "ip": "iproute2",
    "nft": "nftables",
    "wg": "wireguard-tools",
    "wireguard-go": "wireguard-go",
}
"""Debian's package of each program that a node needs; others call them much the same."""
_INSTALL: Mapping[str, str] = {
    "apt-get": "apt-get install",
    "dnf": "dnf install",
    "zypper": "zypper install",
    "apk": "apk add",
    "pacman": "pacman -S",
}
_ELSEWHERE: Mapping[str, Mapping[str, str]] = {"dnf": {"iproute2": "iproute"}}

# Programs are looked for on the path that all commands get. Of WireGuard, what `ip link add type wireguard` finds.
SCRIPT = r"""
echo "connection ${SSH_CONNECTION-}"
for tool in bash flock ip nft wg; do command -v "$tool" >/dev/null || echo "missing $tool"; done
[ -d /sys/module/wireguard ] || command -v wireguard-go >/dev/null || modprobe -nq wireguard 2>/dev/null ||
  echo "missing wireguard-go"
for manager in apt-get dnf zypper apk pacman; do
  if command -v "$manager" >/dev/null; then echo "manager $manager"; break; fi
done
for folder in /var/lib/swarmctl /var/lib /; do
  [ -d "$folder" ] || continue
  [ -w "$folder" ] || echo "locked $folder"
  got=$(stat -f -c '%a %S' "$folder" 2>/dev/null)
  case $got in *[!0-9\ ]* | '') ;; *) echo "room $((${got% *} * ${got#* } / 1024)) $folder" ;; esac
  break
done
lines() { [ -f "$2" ] && head -c 2048 -- "$2" | sed "s/^/$1 /"; }
lines owner /var/lib/swarmctl/owner
lines machine /var/lib/swarmctl/machine
"""
ALONE = f'echo "arch $(uname -m)"\necho "clock $(date +%s)"{SCRIPT}exit 0\n'
"""The same for one who knows nothing of the machine yet."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A machine as it says it is."""

    architecture: str = ""
    """As `uname -m`."""
    clock: int | None = None
    """Unix time in seconds."""
    client: str = ""
    """The address that we come from, as the machine sees it."""
    port: int = 0
    """TCP port that its SSH server took our connection on; 0 when it doesn't say."""
    missing: tuple[str, ...] = ()
    """Programs that a node needs and it lacks, in the order of `PACKAGES`."""
    manager: str = ""
    """Its package manager's program."""
    stack: str = ""
    """Whose it is by its record or its mark; empty for nobody's."""
    token: int = 0
    owner: str = ""
    node: str = ""
    """Which node it was made; empty when it has no mark."""
    known_by: str = ""
    room: int | None = None
    """KiB that are free where its mark lies; None when it doesn't say."""
    locked: str = ""
    """That folder, where not even root may write to it."""


@dataclass(slots=True)
class _Lines:
    single: dict[str, str] = field(default_factory=dict)
    many: dict[str, list[str]] = field(default_factory=lambda: {"missing": [], "owner": [], "machine": []})


def parse(output: bytes) -> Seen:
    """What `ALONE` printed; what makes no sense counts as not said."""
    lines = _Lines()
    for line in output.decode("utf-8", "replace").splitlines():
        word, _, rest = line.partition(" ")
        if word in lines.many:
            lines.many[word].append(one_line(rest))
        else:
            lines.single.setdefault(word, one_line(rest))
    owner, machine = ([*lines.many[name], "", "", ""] for name in ("owner", "machine"))
    connection = [*lines.single.get("connection", "").split(), "", "", "", ""]
    clock = lines.single.get("clock", "")
    room = lines.single.get("room", "").partition(" ")[0]
    return Seen(
        architecture=lines.single.get("arch", ""),
        clock=int(clock) if re.fullmatch("[0-9]{1,12}", clock) else None,
        client=connection[0],
        port=_number(connection[3], 5),
        missing=tuple(tool for tool in PACKAGES if tool in lines.many["missing"]),
        manager=lines.single.get("manager", "") if lines.single.get("manager") in _INSTALL else "",
        stack=owner[0] or machine[0],
        token=_number(owner[1], 18),
        owner=owner[2],
        node=machine[1],
        known_by=machine[2],
        room=int(room) if re.fullmatch("[0-9]{1,15}", room) else None,
        locked=lines.single.get("locked", ""),
    )


def install(seen: Seen) -> str:
    """How to install what is missing."""
    names = _ELSEWHERE.get(seen.manager, {})
    packages = " ".join(sorted({names.get(PACKAGES[tool], PACKAGES[tool]) for tool in seen.missing}))
    return f"`{_INSTALL[seen.manager]} {packages}` there" if seen.manager else f"install there: {packages}"


def _number(text: str, digits: int) -> int:
    return int(text) if re.fullmatch(f"[0-9]{{1,{digits}}}", text) else 0
