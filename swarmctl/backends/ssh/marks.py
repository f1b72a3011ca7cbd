"""What a machine says of itself before anything is made on it, whose it is, and how all of it is taken away. Pure.

`/var/lib/swarmctl/machine` holds stack, node and the host key it is known by, a line each; beside it lies the record
that fences compare (`hosts/fence.py`). What a machine prints is taken line by line, and no further than it makes sense.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from swarmctl.hosts.fence import FOLDER, one_line

MACHINE = f"{FOLDER}/machine"
FOLDERS = ("/etc/swarmctl", "/run/swarmctl", "/var/log/swarmctl", FOLDER)
"""All that is ever written below these is swarmctl's."""
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
_LOOK = r"""
echo "arch $(uname -m)"
echo "clock $(date +%s)"
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
  echo "room $(df -Pk "$folder" 2>/dev/null | awk 'END { if ($4 ~ /^[0-9]+$/) print $4 }') $folder"
  break
done
lines() { [ -f "$2" ] && head -c 2048 -- "$2" | sed "s/^/$1 /"; }
lines owner /var/lib/swarmctl/owner
lines machine /var/lib/swarmctl/machine
exit 0
"""
# What was made is looked for by its own marks and names, beside the folders: files that others read, processes that
# still have something of ours open.
_LEFT = r"""
for folder in /etc/swarmctl /run/swarmctl /var/log/swarmctl /var/lib/swarmctl; do
  [ ! -e "$folder" ] || echo "left $folder"
done
for unit in /etc/systemd/system/swarmctl-*; do
  [ ! -f "$unit" ] || ! grep -qE '^X-Swarmctl=|/etc/swarmctl/' "$unit" || echo "left $unit"
done
for link in /sys/class/net/*; do
  case $(cat "$link/ifalias" 2>/dev/null) in
    swarmctl:* | swarmctl-rotation:*) echo "left the interface ${link##*/}" ;;
  esac
done
if command -v nft >/dev/null && nft list table inet swarmctl 2>/dev/null | grep -q 'chain policy-'; then
  echo "left the nftables table inet swarmctl"
fi
for file in /etc/sysctl.d/99-zz-swarmctl-*.conf /etc/default/grub.d/zz-swarmctl-*.cfg \
  /etc/systemd/timesyncd.conf.d/zz-swarmctl-*.conf /etc/apt/apt.conf.d/99zz-swarmctl-* \
  /etc/sudoers.d/swarmctl-* /etc/apt/sources.list.d/swarmctl-* /etc/apt/keyrings/swarmctl-* \
  /etc/apt/preferences.d/*swarmctl-* /etc/yum.repos.d/swarmctl-* /etc/pki/rpm-gpg/RPM-GPG-KEY-swarmctl-* \
  /etc/modules-load.d/swarmctl-* /etc/dcgm-exporter/swarmctl-counters.csv; do
  [ ! -e "$file" ] || echo "left $file"
done
for file in /etc/chrony/chrony.conf /etc/chrony.conf; do
  ! head -n 1 "$file" 2>/dev/null | grep -q '^# By swarmctl:' || echo "left $file"
done
for made in /var/lib/swarmctl/baseline/*/users/*/made; do
  user=${made%/made}
  [ ! -e "$made" ] || ! cut -d : -f 1 /etc/passwd | grep -qxF -e "${user##*/}" || echo "left the account ${user##*/}"
done
for record in /var/lib/swarmctl/baseline/*/*/; do
  record=${record%/}
  name=${record%/*}
  [ ! -d "$record" ] || echo "left what the baseline ${name##*/} has set there as ${record##*/} (noted in $record)"
done
if grep -qs -e 'x-swarmctl\.' -e '^#swarmctl:' /etc/fstab; then echo "left lines in /etc/fstab"; fi
using() {
  for process in /proc/[0-9]*; do
    [ "${process##*/}" != $$ ] || continue
    case $(ls -l "$process/fd" "$process/cwd" 2>/dev/null) in
      # A folder that is removed, and is where a process works, stands there with a blank behind.
      *' -> /etc/swarmctl'[/\ ]* | *' -> /run/swarmctl'[/\ ]* | \
        *' -> /var/log/swarmctl'[/\ ]* | *' -> /var/lib/swarmctl'[/\ ]*)
        echo "left the process ${process##*/} ($(cat "$process/comm" 2>/dev/null))" ;;
    esac
  done
}
tries=0
while found=$(using); [ -n "$found" ] && [ "$tries" -lt 6 ]; do  # what ends just now is gone in a moment
  tries=$((tries + 1))
  sleep 0.5
done
[ -z "$found" ] || echo "$found"
echo looked
"""
# What was found there, each thing by its own mark (units also by what they run, which lies in our folder), in an order
# in which nothing is made again by something that runs.
_WIPE = r"""
for unit in /etc/systemd/system/swarmctl-*; do
  [ -f "$unit" ] && grep -qE '^X-Swarmctl=|/etc/swarmctl/' "$unit" || continue
  systemctl disable -q --now "${unit##*/}"
  rm -f -- "$unit" /etc/systemd/system/*.target.wants/"${unit##*/}"
  again=1
done
[ -z "${again-}" ] || systemctl daemon-reload
for link in /sys/class/net/*; do
  case $(cat "$link/ifalias" 2>/dev/null) in
    swarmctl:* | swarmctl-rotation:*) ip link del "${link##*/}" ;;
  esac
done
if command -v nft >/dev/null && nft list table inet swarmctl 2>/dev/null | grep -q 'chain policy-'; then
  nft delete table inet swarmctl
fi
tries=0
while [ "$tries" -lt 100 ]; do  # services without a note, and those that end just now: what is killed is not gone yet
  again=
  for process in /proc/[0-9]*; do
    case $(readlink "$process/fd/1" 2>/dev/null) in
      /var/log/swarmctl/*) again=1; kill -s KILL "${process##*/}" 2>/dev/null ;;
    esac
  done
  [ -n "$again" ] || break
  tries=$((tries + 1))
  sleep 0.05
done
if command -v shred >/dev/null; then
  find /etc/swarmctl -xdev -type f -exec shred -n 1 -z -- {} + 2>/dev/null
fi
rm -rf -- /etc/swarmctl /run/swarmctl /var/log/swarmctl
# What a baseline has set is given back by its own resources, before this. What nobody has given back is known by its
# record alone, with all that was there before, so that stays until somebody has.
for record in /var/lib/swarmctl/baseline/*/*/; do
  if [ -d "$record" ]; then
    find /var/lib/swarmctl -mindepth 1 -maxdepth 1 ! -name baseline -exec rm -rf -- {} +
    exit 0
  fi
done
rm -rf -- /var/lib/swarmctl
"""
# Of a machine that could not be marked: no more than that leaves there. What a baseline has noted there once, and
# nobody has given back, stays, and so does what another stack has written meanwhile.
_UNMARK = r"""
cd /var/lib/swarmctl 2>/dev/null || exit 0
for mark in owner machine; do
  if [ -f "$mark" ] && [ -s "$mark" ] && [ "$(head -n 1 "$mark")" != "$1" ]; then exit 0; fi
done
rm -f -- owner owner.lock .owner.new machine .machine.swarmctl
cd /
rmdir /var/lib/swarmctl 2>/dev/null || :
"""
LOOK: Sequence[str] = ("sh", "-c", _LOOK, "swarmctl-look")
WIPE: Sequence[str] = ("sh", "-c", _WIPE, "swarmctl-wipe")
LEFT: Sequence[str] = ("sh", "-c", _LEFT, "swarmctl-left")
_UNMARKED = 79
"""Exit status for a machine without a mark, together with the marker."""
_WHERE_MARKED = r"""
nonce=$1
shift
[ -f /var/lib/swarmctl/machine ] || { printf '%s %s unmarked\n' @swarmctl-ssh "$nonce" >&2; exit 79; }
exec "$@"
"""


def unmark(stack: str) -> list[str]:
    """The command that takes away what a takeover for this stack has left that did not come to its end."""
    return ["sh", "-c", _UNMARK, "swarmctl-unmark", one_line(stack)]


def where_marked(argv: Sequence[str], nonce: str) -> list[str]:
    """The command that runs `argv` on a machine that bears a mark, and does nothing on another."""
    return ["sh", "-c", _WHERE_MARKED, "swarmctl-marked", nonce, *argv]


def unmarked(returncode: int, stderr: bytes, nonce: str) -> bool:
    """Whether that is what `where_marked` has answered."""
    return returncode == _UNMARKED and stderr == f"@swarmctl-ssh {nonce} unmarked\n".encode()


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
    """What `LOOK` printed; what makes no sense counts as not said."""
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


def content(stack: str, node: str, known_by: str) -> bytes:
    """What the mark says."""
    return "".join(f"{one_line(word)}\n" for word in (stack, node, known_by)).encode()


_RECORDED = re.compile(r"what the baseline ([a-z0-9-]{1,63}) has set there as ")


def left(output: bytes) -> list[str]:
    """What `LEFT` found: things of swarmctl's, as clauses."""
    lines = output.decode("utf-8", "replace").splitlines()
    return [one_line(line.removeprefix("left ")) for line in lines if line.startswith("left ")]


def mend(left: Sequence[str], node: str) -> str:
    """What to do where something is left. What baselines have set only a baseline of that name can give back."""
    names = sorted({match[1] for one in left if (match := _RECORDED.match(one))})
    if not names:
        return "see there what keeps it, and apply again: until nothing is left, the machine stays in the state"
    which = f"the HostBaseline{'s' if len(names) > 1 else ''} {', '.join(names)}"
    return (
        f"declare {node} once more, with {which}, and apply; take it away from {which}, and apply; then take out the "
        "machine. Or undo there by hand what the records note, remove these, and apply again"
    )


def looked(output: bytes) -> bool:
    """Whether `LEFT` has looked at everything."""
    return output.endswith(b"looked\n")


def install(seen: Seen) -> str:
    """How to install what is missing."""
    names = _ELSEWHERE.get(seen.manager, {})
    packages = " ".join(sorted({names.get(PACKAGES[tool], PACKAGES[tool]) for tool in seen.missing}))
    return f"`{_INSTALL[seen.manager]} {packages}` there" if seen.manager else f"install there: {packages}"


def _number(text: str, digits: int) -> int:
    return int(text) if re.fullmatch(f"[0-9]{{1,{digits}}}", text) else 0
