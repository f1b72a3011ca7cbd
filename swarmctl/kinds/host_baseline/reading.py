"""The one script that reads all aspects of a machine, and the parser of what it prints. Pure: no I/O here.

Whatever a baseline has set has a record on the machine, in `/var/lib/swarmctl/baseline/NAME/ASPECT` (root's, 0700): it
is there before anything is changed, holds what was there before, and goes last. So only what has a record is read, and
a record is what an aspect is known by when no state knows it.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts.readings import Reading
from swarmctl.kinds.host_baseline.mounted import MOUNTED

RECORDS = "/var/lib/swarmctl/baseline"
LIMIT = 4 * 1024 * 1024
"""Bytes of a reading; a machine with all aspects and a hundred users needs less than a tenth of it."""
LONGEST = 100_000
"""Lines of a reading."""

SCRIPT = r"""
umask 077
coded() { printf '='; head -c 262144 | base64 -w0; }
text() { printf '%s' "$1" | coded; }
look_packages() {
  [ -s "$2/before" ] || return 0
  while IFS='	' read -r package version held; do
    case $package in '' | *[!a-z0-9.+-]*) continue ;; esac
    [ "$version" != - ] || version=
    printf 'before\t%s\t%s\t%s\t%s\n' "$1" "$package" "$(text "$version")" "$held"
  done <"$2/before"
  fields='${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n'
  cut -f 1 "$2/before" | xargs dpkg-query -W -f "$fields" 2>/dev/null |
    awk -F '\t' -v name="$1" -v native="$(dpkg --print-architecture)" \
      '$3 == native || $3 == "all" { sub(/ +$/, "", $1); printf "package\t%s\t%s\t%s\t%s\n", name, $2, $1, $4 }'
}
look_kernel() {
  file=/etc/default/grub.d/zz-swarmctl-$1.cfg
  [ ! -e "$2/pending" ] || file=/dev/null
  printf 'kernel\t%s\t%s\t%s\n' "$1" "$(cat "$file" 2>/dev/null | coded)" \
    "$(coded </proc/cmdline)"
}
look_sysctl() {
  file=/etc/sysctl.d/99-zz-swarmctl-$1.conf
  [ -f "$file" ] || return 0
  while IFS= read -r line || [ -n "$line" ]; do
    key=${line%% = *}
    case $key in '' | *[!A-Za-z0-9_./-]*) continue ;; esac
    path=/proc/sys/$(printf '%s' "$key" | tr ./ /.)
    printf 'sysctl\t%s\t%s\t%s\t%s\n' "$1" "$key" "$(text "${line#* = }")" "$(head -c 4096 "$path" 2>/dev/null | coded)"
  done <"$file"
}
look_users() {
  for mine in "$2"/*/; do
    [ -d "$mine" ] || continue
    user=${mine%/}
    user=${user##*/}
    entry=$(awk -F: -v user="$user" '$1 == user' /etc/passwd | head -n 1)
    [ -n "$entry" ] || continue
    IFS=: read -r _ _ uid gid _ home shell <<END
$entry
END
    # As that user: what it puts in place of its files leads nowhere that it could not go itself. A pipe has no end.
    keys=$(timeout -k 1 5 setpriv --reuid="$uid" --regid="$gid" --clear-groups -- \
      sh -c '[ -f "$1" ] && head -c 262144 -- "$1"' sh "$home/.ssh/authorized_keys" 2>/dev/null | coded)
    printf 'user\t%s\t%s\t%s\t%s\t%s\n' "$1" "$user" "$(text "$shell")" \
      "$(head -c 4096 "/etc/sudoers.d/swarmctl-$user" 2>/dev/null | coded)" "$keys"
  done
}
runs() {
  if [ "$init" = systemd ]; then
    # What is started by others is enabled by none of these words.
    case $(systemctl is-enabled "$1" 2>/dev/null) in disabled | masked) echo no; return 0 ;; esac
    systemctl is-active -q "$1" 2>/dev/null && echo yes || echo no
  else
    cat /proc/[0-9]*/comm 2>/dev/null | grep -qx "$2" && echo yes || echo no
  fi
}
look_time() {
  daemon=$(head -c 64 "$2/daemon" 2>/dev/null)
  file=$(head -c 256 "$2/file" 2>/dev/null)
  unit=$(head -c 64 "$2/unit" 2>/dev/null)
  [ -n "$file" ] || return 0
  printf 'time\t%s\t%s\t%s\t%s\n' "$1" "$(text "$daemon")" "$(runs "$unit" "$daemon")" \
    "$(cat "$file" 2>/dev/null | coded)"
}
look_upgrades() {
  [ -f "/etc/apt/apt.conf.d/99zz-swarmctl-$1" ] || return 0
  timer=yes
  if [ "$init" = systemd ]; then
    for unit in apt-daily.timer apt-daily-upgrade.timer; do
      [ "$(systemctl is-enabled "$unit" 2>/dev/null)" = enabled ] || timer=no
    done
  else
    # As a whole word of a command; neither this script nor this grep has it as one.
    grep -qzx 'swarmctl-apt-dail[y]' /proc/[0-9]*/cmdline 2>/dev/null || timer=no
  fi
  able=no
  ! command -v unattended-upgrade >/dev/null || able=yes
  printf 'upgrades\t%s\t%s\t%s\t%s\n' "$1" "$timer" "$able" \
    "$(apt-config dump 2>/dev/null | grep -E '^(APT::Periodic::|Unattended-Upgrade::)' | coded)"
}
MOUNTED
# What another baseline has a record of is that one's own place.
others_have() { :; }
row_without_line() {
  cut -f 1-4 "$record/did" 2>/dev/null | while IFS='	' read -r path device type options; do
    [ -z "$device" ] || [ -n "$(anyones "$path")$(row "$path" "$record/there")" ] ||
      printf '%s\t%s\t%s\t%s\tunlisted\n' "$path" "$device" "$type" "$options"
  done
}
look_mounts() {
  record=$2
  # What was mounted by a run that was killed, or of which somebody has made the line a comment, has none.
  {
    lines | awk -F '\t' -v mark=",x-swarmctl.$1," 'index("," $4 ",", mark)'
    row_without_line
  } | while IFS='	' read -r path device type options odd; do
    look "$path"
    as_said=no whose=theirs
    ! is_of "$(real "$device")" || as_said=yes
    ! mine "$path" || whose=ours
    if [ -n "$live_cover" ]; then odd=$live_cover; elif [ -n "$(theirs "$path")" ]; then odd=twice; fi
    [ "$odd $whose" != "unlisted theirs" ] || continue
    printf 'mount\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$(text "$path")" "$(text "$device")" \
      "$(text "$type")" "$(text "$options")" "$as_said" "$(text "$live_source $live_type $live_options")" "$whose" \
      "$(text "$odd")"
  done
}
look_swap() {
  active=$(($(wc -l </proc/swaps) - 1))
  listed=$(awk '$1 !~ /^#/ && $3 == "swap"' /etc/fstab 2>/dev/null | wc -l)
  masked=yes
  [ "$init" != systemd ] || [ "$(systemctl is-enabled swap.target 2>/dev/null)" = masked ] || masked=no
  printf 'swap\t%s\t%s\t%s\t%s\n' "$1" "$active" "$listed" "$masked"
}
init=other
[ ! -d /run/systemd/system ] || init=systemd
for folder in RECORDS/*/*/; do
  [ -d "$folder" ] || continue
  folder=${folder%/}
  aspect=${folder##*/}
  name=${folder%/*}
  name=${name##*/}
  case $name in *[!a-z0-9-]*) continue ;; esac
  case $aspect in
    packages | kernel | sysctl | users | time | upgrades | mounts | swap)
      printf 'record\t%s\t%s\n' "$name" "$aspect"
      "look_$aspect" "$name" "$folder"
      ;;
  esac
done
echo end
""".replace("RECORDS", RECORDS).replace("\nMOUNTED\n", MOUNTED)
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True, slots=True)
class Seen:
    """What a machine has of the aspects that baselines have set."""

    records: frozenset[tuple[str, str]]
    """Names of baselines with an aspect each."""
    lines: Mapping[tuple[str, str], Sequence[Sequence[str]]]
    """By the word that a line begins with and the name of the baseline: the fields after these."""

    def of(self, word: str, baseline: str) -> Iterator[Sequence[str]]:
        """The lines of one baseline that begin with a word."""
        return iter(self.lines.get((word, baseline), ()))


FIELDS = {
    **{"record": 1, "package": 3, "before": 3, "kernel": 2, "sysctl": 3, "user": 4},
    **{"time": 3, "upgrades": 3, "mount": 8, "swap": 3},
}
"""How many fields follow the name of the baseline, by the first word of a line."""


def parse(output: bytes, host: str) -> Seen:
    """What the script printed on the machine called `host`. Raises WorldUnreadable when that makes no sense."""
    lines = output.decode("utf-8", "replace").splitlines()
    if len(output) > LIMIT or len(lines) > LONGEST:
        raise _unreadable(host, f"it printed more than {LIMIT >> 20} MiB")
    if not lines or lines[-1] != "end":
        raise _unreadable(host, "its answer broke off")
    records: set[tuple[str, str]] = set()
    found: dict[tuple[str, str], list[list[str]]] = {}
    for line in lines[:-1]:
        word, *rest = line.split("\t")
        if FIELDS.get(word) != len(rest) - 1 or not _NAME.fullmatch(rest[0]):
            raise _unreadable(host, f"it printed {line[:80]!r}")
        try:
            fields = [_decoded(field) for field in rest[1:]]
        except (ValueError, binascii.Error) as error:
            raise _unreadable(host, f"it printed {line[:80]!r}") from error
        if word == "record":
            records.add((rest[0], fields[0]))
        else:
            found.setdefault((word, rest[0]), []).append(fields)
    return Seen(frozenset(records), found)


READING = Reading("baseline", ("sh", "-c", SCRIPT), parse, timeout=60.0)
"""Below a second on a machine with all aspects; systemd is asked several times, and answers late under load."""


def _decoded(field: str) -> str:
    """A field: base64 after `=`, or as it is."""
    if not field.startswith("="):
        return field
    return base64.b64decode(field[1:], validate=True).decode("utf-8", "replace")


def _unreadable(host: str, why: str) -> WorldUnreadable:
    return WorldUnreadable(
        f"the baseline of {host} cannot be read: {why}",
        f"look at what `swarmctl exec {host} -- ls -lR {RECORDS}` prints",
    )
