"""The shell of `swarm:hostbaseline:Mounts` that refuses what can't be, before anything is touched.

What is there, why it can't be, and what to do is told; who follows that applies again.
"""

from __future__ import annotations

CHECKS = r"""
foreign() {
  look "$1"
  refuse "something else is mounted at $1: $live_source ($live_type)" \
    "only what a baseline has mounted is unmounted; unmount it yourself, or choose another path"
}
# leads PATH: where a link on the way to it, or in its place, leads; nothing where there is none.
leads() {
  local step led
  step=$1
  while [ ! -e "$step" ] && [ ! -L "$step" ]; do
    step=${step%/*}
    step=${step:-/}
  done
  led=$(readlink -f -- "$step") || led="where nothing is"
  [ "$led" = "$step" ] || printf '%s%s' "$led" "${1#"$step"}"
}
# What is in a folder, but for what baselines have made and mounted there: that makes way.
in_folder() {
  find "$1" -xdev -mindepth 1 2>/dev/null | known="$nl$(made_within "$1")$nl$(within "$1")$nl" awk '
    !index(ENVIRON["known"], "\n" $0 "\n") { print; exit }'
}
made_within() {
  { cat "$record/made"; others_have made | while read -r file; do cat "$file"; done; } 2>/dev/null |
    awk -v base="$1/" 'index($0, base) == 1' | sort -ru
}
# The same with other letters, where there is one: of most file systems the UUID is in small letters.
likewise() {
  local other
  for other in $(printf '%s\n' "${1#*=}" | awk '{ print tolower($0); print toupper($0) }'); do
    [ -z "$(real "${1%%=*}=$other")" ] || printf ', but %s' "${1%%=*}=$other"
  done
}
# free_place PATH: whether something can be mounted where nothing is.
free_place() {
  local led
  led=$(leads "$1")
  [ -z "$led" ] || refuse "$1 is no place of its own: a link leads to $led" "write the path without links"
  [ -d "$1" ] || [ ! -e "$1" ] || refuse "$1 is a file, and not a folder" "move it away, or choose another path"
  [ ! -d "$1" ] || [ -z "$(in_folder "$1")" ] ||
    refuse "$1 is not empty, and what is in it could not be seen any more" "move it away, or choose another path"
}
hidden() {
  look "$1"
  [ -z "$live_cover" ] || [ -z "$(row "$1" "$record/did")$(row "$1" "$record/there")" ] ||
    refuse "$1 cannot be reached: it is hidden by what is mounted at $live_cover" "unmount that, and try again"
}
# possible PATH DEVICE TYPE OPTIONS MUST NEVER ANEW OWN: refused before anything is touched where it can't be.
possible() {
  local line
  case $2 in *=*) line=$(likewise "$2") ;; *) line= ;; esac
  [ -n "$(real "$2")" ] || refuse "there is no $2 to mount at $1$line" "see what \`lsblk -f\` prints there"
  line=$(theirs "$1" | cut -f 2 | head -n 1)
  [ -z "$line" ] || [ -z "$(anyones "$1")" ] ||
    refuse "/etc/fstab has a line of somebody's for $1, of $line, beside the one of the baseline" \
      "take it out of there, or the mount out of the baseline"
  hidden "$1"
  if [ -z "$live_source" ]; then
    free_place "$1"
  elif says "$2" "$3" "$4"; then
    not_shared "$@"
  else
    mine "$1" || foreign "$1"
    may_go "$1"
  fi
}
handed_over() { [ -n "$(anyones "$1")" ] && [ -z "$(ours "$1")" ]; }
# may_leave PLACES: the same for what is to be unmounted, with the baseline or since it is not among these places.
may_leave() {
  local left led device type options
  for left in $(listed); do
    case $1 in *" $left "*) continue ;; esac
    ! handed_over "$left" || continue
    hidden "$left"
    # With something over it what is the baseline's would stay, and nobody would know any more whose it is.
    if [ -n "$live_source" ]; then
      [ -n "$(row "$left" "$record/there")" ] || { [ "$live_layers" -le 1 ] && ! mine "$left"; } || may_go "$left"
      continue
    fi
    # As could be declared once.
    led=$(leads "$left")
    [ -n "$led" ] || continue
    IFS='	' read -r _ device type options _ <<END
$(row "$left" "$record/did" | head -n 1)
END
    [ -z "$device" ] || ! is_said "$led" "$device" "$type" "$options" ||
      refuse "$left is no place of its own: a link leads to $led, where $device is mounted" \
        "unmount that, and try again"
  done
}
# in_force PATH MUST NEVER: by the words that are told of it, of which some must be there and others must not.
in_force() {
  local option
  look "$1"
  for option in $2; do
    case ,$live_options, in *",$option,"*) ;; *) return 1 ;; esac
  done
  for option in $3; do
    case ,$live_options, in *",$option,"*) return 1 ;; esac
  done
}
sized() { case ,$1 in *,size=* | *,nr_blocks=*) ;; *) return 1 ;; esac; }
# by_line PATH: with which options a baseline has it in the table.
by_line() { anyones "$1" | cut -f 4 | head -n 1; }
# is_due PATH DEVICE TYPE OPTIONS MUST NEVER: whether options are to be set of what is mounted.
is_due() {
  { [ "$3" = tmpfs ] && sized "$4"; } || [ "$(by_line "$1")" != "$4,$mark" ] || ! in_force "$1" "$5" "$6"
}
# Where else the file system is mounted that `look` has found, but for baselines' own places, and for copies that the
# kernel makes of this mount and takes away with it: these are of its peer group.
elsewhere() {
  local place
  all_mounted | awk -F '[ ]' -v id="$live_id" -v device="$live_device" -v hold="$hold/" '
    $1 == id { same = $5 " " $9; alone = $9 == "-" }
    $3 == device && $1 != id && index($4, hold) != 1 { place[NR] = $4; of[NR] = $5 " " $9 }
    END { for (i = 1; i <= NR; i++) if (i in place && (alone || of[i] != same)) print place[i] }' |
    while read -r place; do
      [ -n "$(anyones "$place")" ] || printf '%s\n' "$place"
    done | head -n 1
}
# What a file system has in common wherever it is mounted is not changed under somebody's feet. Read-only can be one
# mount alone, and what is in force, or in somebody's line for the place, does not change; nor which part is mounted.
not_shared() {
  local place before option turns
  is_due "$@" || return 0
  look "$1"
  place=$(elsewhere) before=,$(by_line "$1"),$(theirs "$1" | cut -f 4 | head -n 1),$live_super, turns=
  [ -n "$place" ] || return 0
  case " $5 :,$live_super," in *" ro "*:*) ;; *:*,ro,*) turns="$turns ro" ;; esac
  case " $5 :,$live_super," in *" sync "*:*,sync,*) ;; *" sync "*:* | *:*,sync,*) turns="$turns sync" ;; esac
  for option in $8; do
    case $option$before in subvol=* | subvolid=* | *",$option,"*) ;; *) turns="$turns $option" ;; esac
  done
  [ -z "$turns" ] || refuse "$2 is mounted at $place, too, and$turns would change there as well" \
    "unmount it there, or leave these options as they are"
}
"""
"""Needs `MOUNTED`, `FSTAB`, `MAKING_WAY`, and what all aspects have."""
