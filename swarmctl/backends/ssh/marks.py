"""How a machine is marked as a stack's node, and how all that was made on it is taken away. Pure.

`/var/lib/swarmctl/machine` holds stack, node and the host key it is known by, a line each; beside it lies the record
that fences compare (`hosts/fence.py`). What a machine prints is taken line by line, and no further than it makes sense.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from swarmctl.hosts import first_look
from swarmctl.hosts.fence import FOLDER, one_line

MACHINE = f"{FOLDER}/machine"
FOLDERS = ("/etc/swarmctl", "/run/swarmctl", "/var/log/swarmctl", FOLDER)
"""All that is ever written below these is swarmctl's."""
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
LOOK: Sequence[str] = ("sh", "-c", first_look.ALONE, "swarmctl-look")
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
