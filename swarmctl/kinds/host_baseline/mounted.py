"""Shell that says what is mounted at a place, and whether a baseline has mounted it.

By the record's `did`: the place, what was declared of it, and what the kernel called it then. `there` has what somebody
else had mounted before. Both reading and setting go by it. Pure: no I/O here.
"""

from __future__ import annotations

MOUNTED = r"""
# What a path stands for: links to devices are known to the kernel by what they lead to, volumes by either name.
meant() { case $1 in /*) readlink -f -- "$1" 2>/dev/null || printf '%s' "$1" ;; *) printf '%s' "$1" ;; esac; }
real() {
  case $1 in
    /*) meant "$1" ;;
    *=*) meant "$(findfs "$1" 2>/dev/null || :)" ;;
    *) printf '%s' "$1" ;;
  esac
}
# What lies uppermost there is what people see.
told_of() { findmnt -rno "$2" --mountpoint "$1" 2>/dev/null | tail -n 1; }
source_of() { told_of "$1" SOURCE; }
type_of() { told_of "$1" FSTYPE; }
options_of() { told_of "$1" OPTIONS; }
# Whether it is that device, by any of its names; a file is one that a loop device makes, and of a btrfs the kernel
# tells the folder, too.
is_of() {
  live=$(source_of "$1")
  [ "$(type_of "$1")" != btrfs ] || live=${live%%"["*}
  [ -n "$live" ] || return 1
  if [ "$(meant "$live")" = "$2" ]; then return 0; fi
  [ -f "$2" ] && losetup -j "$2" 2>/dev/null | grep -q "^$live:"
}
# A server tells which version of its protocol it is.
is_a() {
  kind=$(type_of "$1")
  [ "$kind" = "$2" ] || [ "$2 $kind" = "nfs nfs4" ]
}
# Which part of a btrfs is mounted is decided when it is.
rooted() {
  live=,$(options_of "$1"),
  for option in $(printf '%s' "$2" | tr , ' '); do
    case $option in
      subvol=*) one=subvol=/$(printf '%s' "${option#subvol=}" | sed 's,^/*,,; s,/*$,,') ;;
      subvolid=*) one=$option ;;
      *) continue ;;
    esac
    case $live in *",$one,"*) ;; *) return 1 ;; esac
  done
}
# is_said PATH DEVICE TYPE OPTIONS: whether that is what is mounted there.
is_said() { is_of "$1" "$(real "$2")" && is_a "$1" "$3" && rooted "$1" "$4"; }
anyones() { awk -v path="$1" '$2 == path && index("," $4, ",x-swarmctl.")' /etc/fstab 2>/dev/null; }
# By the path, which begins a line of a record's file.
row() { awk -F '\t' -v path="$1" '$1 == path' "$2" 2>/dev/null || :; }
# What a line of the table, or of a record that has no more than the place, stands for.
lined() { anyones "$1" | awk '{ print $2 "\t" $1 "\t" $3 "\t" $4 }' | head -n 1; }
# Whether what is mounted there is what a baseline has mounted there: by what is declared, or by what the kernel called
# it then, since a label may be another device's by now. Without any record of it the line says so. In a shell of its
# own, for its variables.
mine() (
  {
    row "$1" "$record/did"
    others_have did | while read -r file; do row "$1" "$file"; done
    [ -n "$(row "$1" "$record/did")$(row "$1" "$record/there")" ] || printf '%s\n' "$1"
  } | while IFS='	' read -r place device type options source; do
    if [ -z "$device" ]; then
      IFS='	' read -r place device type options <<END
$(lined "$1")
END
    fi
    [ -n "$device" ] || continue
    if is_said "$1" "$device" "$type" "$options"; then echo yes; fi
    if [ "$source" = "$(source_of "$1")" ] && is_a "$1" "$type"; then echo yes; fi
  done | grep -q yes
)
"""
"""Needs `record`, and `others_have`."""
