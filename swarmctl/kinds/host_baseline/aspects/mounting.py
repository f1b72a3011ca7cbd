"""The shell of `swarm:hostbaseline:Mounts`.

Only what a baseline has mounted is ever unmounted, by the record's `did`; and all of a change holds, or nothing of it:
what has been unmounted is mounted again where something fails.
"""

from __future__ import annotations

from swarmctl.kinds.host_baseline.aspects.fstab import FSTAB
from swarmctl.kinds.host_baseline.aspects.making_way import MAKING_WAY
from swarmctl.kinds.host_baseline.aspects.mount_checks import CHECKS
from swarmctl.kinds.host_baseline.mounted import MOUNTED

_SETTING = r"""
mark=x-swarmctl.$baseline let_go=''
set -f
# With nofail mount(8) says nothing of what fails.
at_once() { printf '%s' "$1" | tr , '\n' | awk '$0 != "nofail"' | paste -sd, - | sed 's/^$/defaults/'; }
first_of() { printf '%s\n' "$1" | tr '\t' ' ' | awk 'NF { sub(/^ +/, ""); print; exit }' | cut -c 1-200; }
# remounted PATH OPTIONS: with the device beside the place mount(8) goes by these options alone, and not by what the
# table says, or did. Why not is in `said`. Older ones have no word for the contrary of nosymfollow, nor that itself.
remounted() {
  local flags
  look "$1"
  flags=$2
  case ,$live_options,:,$2, in *,nosymfollow,*:*,nosymfollow,*) ;; *,nosymfollow,*:*) flags=$flags,symfollow ;; esac
  said=$(mount -o "$flags" "$(live_name)" "$1" 2>&1)
}
# this_alone FLAGS: of what is mounted elsewhere, too, the flags of this mount are all that is changed.
this_alone() {
  if [ -z "$(elsewhere)" ]; then printf '%s' "$1"; return 0; fi
  printf '%s' "$1" | tr , '\n' | awk '
    /^(remount|ro|rw|(no)?(suid|dev|exec|atime|diratime|symfollow)|(no)?relatime|(no)?strictatime)$/
    $0 == "remount" { print "bind" }' | paste -sd, -
}
# as_it_was PATH OPTIONS: mounted with what was told of it then.
as_it_was() {
  local flags atime size option
  flags=remount,rw,suid,dev,exec,diratime,async atime=strictatime size=''
  for option in $(printf '%s' "$2" | tr , ' '); do
    case $option in
      ro | nosuid | nodev | noexec | nodiratime | sync | nosymfollow | lazytime) flags=$flags,$option ;;
      noatime | relatime) atime=$option ;;
      size=*) size=$option ;;
    esac
  done
  look "$1"
  if [ -z "$size" ] && sized "$live_options"; then size=size=50%; fi
  if [ "$live_type" = tmpfs ] && [ -n "$size" ] && remounted "$1" "$flags,$atime,$size"; then return 0; fi
  remounted "$1" "$(this_alone "$flags,$atime")"
}
# Folders that another baseline has made are ours to take away with what it has mounted there; what that one has found
# mounted stays mounted with ours.
inherited() {
  local taken
  [ -z "$(row "$1" "$record/$2")" ] || return 0
  taken=$(others_have "$2" | while read -r file; do row "$1" "$file"; done | head -n 1)
  [ -z "$taken" ] || noted "$record/$2" "$taken"
}
inherit() {
  local at
  inherited "$1" did
  inherited "$1" there
  at=$1
  while [ -n "$at" ]; do
    inherited "$at" made
    at=${at%/*}
  done
}
# What somebody has mounted there, as declared, is not ours to unmount: nothing says that a baseline has mounted it.
found() {
  if ! is_said "$1" "$2" "$3" "$4" || mine "$1" || [ -n "$(row "$1" "$record/there")" ]; then return 0; fi
  noted "$record/there" "$(printf '%s\t%s' "$1" "$live_options")"
}
# What was mounted for the baseline goes; what was there before stays, with the options that it had. The record tells
# the one from the other until the table is written: a second try must not take what was there for ours.
freed() {
  local was device type options
  let_go="$let_go $1"
  ! handed_over "$1" || return 0
  was=$(row "$1" "$record/there")
  if [ -z "$was" ]; then
    ! mine "$1" || release "$1"
    return 0
  fi
  IFS='	' read -r _ device type options <<END
$(anyones "$1" | head -n 1)
END
  if is_said "$1" "$device" "$type" "$options"; then
    turned="$1 $live_options$nl$turned"
    as_it_was "$1" "${was#*	}" || :
  fi
}
# Where it goes, with the folders on the way there.
folder() {
  local missing step
  missing='' step=$1
  while [ ! -d "$step" ]; do
    missing="$step $missing" step=${step%/*}
    step=${step:-/}
  done
  for step in $missing; do
    [ -n "$(row "$step" "$record/made")" ] || noted "$record/made" "$step"
    fresh_folders="$step $fresh_folders"
  done
  mkdir -p "$1" 2>/dev/null || unwritten "$1"
}
# What somebody's line is for stays: without its folder a machine may not start.
unmade() {
  local at
  at=$1
  while [ -n "$(row "$at" "$record/made")" ] && ! somebodys "$at" && rmdir "$at" 2>/dev/null; do at=${at%/*}; done
}
# brought PATH DEVICE TYPE OPTIONS: mounted where nothing is; as it was, if it only had to make way. What is in there of
# baselines makes way, and is back in it.
brought() {
  local kept line step
  inner_away "$1" in_use
  for step in $(made_within "$1"); do rmdir "$step" 2>/dev/null || :; done
  folder "$1"
  drop "$1" "$record/there"
  kept=$(aside_of "$1")
  if is_said "$kept" "$2" "$3" "$4"; then
    mount --bind "$kept" "$1" 2>/dev/null || refuse "$1 cannot be mounted again" "see what \`dmesg\` says there"
    spared "$1"
    return 0
  fi
  # Of a device that is mounted elsewhere, too, not all options would count.
  if [ -n "$live_source" ] && [ "$live_type" != tmpfs ]; then
    spared "$1"
    gone="$gone $1"
  fi
  line=$(printf '%s\t%s\t%s\t%s' "$1" "$2" "$3" "${4:-defaults}")
  if ! grep -qxF -e "$line" "$record/did" 2>/dev/null; then
    rows=$rows$line$nl
    noted "$record/did" "$line"
  fi
  said=$(mount -t "$3" -o "$(at_once "$4")" "$2" "$1" 2>&1) ||
    refuse "$2 cannot be mounted at $1: $(first_of "$said")" "see what \`dmesg\` says there"
  anew="$1 $anew"
}
# in_place PATH DEVICE TYPE OPTIONS MUST NEVER ANEW: after it nothing else can be there.
in_place() {
  local how also
  if there "$1" && ! says "$2" "$3" "$4"; then
    mine "$1" || foreign "$1"
    release "$1"
    ! there "$1" || foreign "$1"
  fi
  there "$1" || brought "$1" "$2" "$3" "$4"
  is_said "$1" "$2" "$3" "$4" || refuse "$2 is mounted at $1, and told as $live_source ($live_type)" \
    "declare it as \`findmnt\` tells it there"
  # Of a device that is mounted elsewhere, too, not all options count.
  case " $anew" in *" $1 "*) ! in_force "$1" "$5" "$6" || return 0 ;; esac
  is_due "$@" || return 0
  how=$7
  # Of a file system in memory no size means half of the memory, and not the one that it had.
  if [ "$3" = tmpfs ] && sized "$(by_line "$1")" && ! sized "$4"; then how=$how,size=50%; fi
  look "$1"
  turned="$1 $live_options$nl$turned"
  if ! remounted "$1" "$(this_alone "$how")"; then
    case $said in
      *busy*) refuse "$1 cannot be mounted anew with $4: $(first_of "$said")" "see by \`fuser -vm $1\` who uses it" ;;
      *) refuse "$1 cannot be mounted anew with $4: $(first_of "$said")" \
        "leave out what it does not take, or unmount it by \`umount $1\` first: then it is mounted with them" ;;
    esac
  fi
  in_force "$1" "$5" "$6" && return 0
  also=$(elsewhere)
  [ -z "$also" ] || refuse "$2 is mounted at $also, too, and so at $1 with $live_options in place of $4" \
    "unmount it there, or declare what it has there"
  refuse "$1 is kept mounted with $live_options in place of $4" \
    "what is read-only is declared \`ro\`; what went read-only by an error is unmounted and checked first"
}
others() {
  local left
  for left in $(listed); do
    case $1 in *" $left "*) continue ;; esac
    freed "$left"
    # A folder in another mount is in sight no more when that goes.
    unmade "$left"
  done
}
# From here on nothing is undone any more.
no_way_back() {
  local one
  for_good=yes
  for one in $let_go; do
    drop "$one" "$record/there"
    drop "$one" "$record/did"
  done
}
# is_now PATH DEVICE TYPE OPTIONS: what is mounted there is what somebody had mounted, or ours, with what the kernel
# calls it. One row takes the place of the other: in between nobody would know whose it is.
is_now() {
  local named line rest
  if [ -n "$(row "$1" "$record/there")" ]; then
    drop "$1" "$record/did"
    return 0
  fi
  is_said "$1" "$2" "$3" "$4" || return 0
  # What mount(8) makes of a file is another file's as soon as this one is unmounted.
  named=-
  [ -f "$(real "$2")" ] || named=$live_source
  line=$(printf '%s\t%s\t%s\t%s\t%s\t%s' "$1" "$2" "$3" "${4:-defaults}" "$named" "$(uuid_of "$(live_name)")")
  [ "$(row "$1" "$record/did")" != "$line" ] || return 0
  rest=$(awk -F '\t' -v path="$1" '$1 != path && NF' "$record/did" 2>/dev/null || :)
  put "$record/did" 0600 "${rest:+$rest$nl}$line" || :
}
# What lines of somebody's mount that hold again is mounted, as with the next start; but for what is not there.
given() {
  local path
  for path in $given_back; do
    [ -n "$(real "$(theirs "$path" | cut -f 2 | head -n 1)")" ] || continue
    there "$path" || mount "$path" 2>/dev/null || lost="$lost $path"
  done
}
folders() {
  local text path
  [ -e "$record/made" ] || return 0
  text=
  for path in $(sort -ru "$record/made"); do
    case $1 in
      *" $path "* | *" $path/"*) text=$path${text:+$nl$text} ;;
      *) somebodys "$path" || rmdir "$path" 2>/dev/null || : ;;
    esac
  done
  put "$record/made" 0600 "$text" || :
}
# Told when all else is done; what systemd makes of the table is no reason to undo anything.
ending() {
  local failed
  failed='' said=''
  [ -z "$reload" ] || ! systemd || said=$(systemctl daemon-reload 2>&1) || failed=yes
  told_of_back
  [ -z "$failed" ] || refuse "systemd does not take /etc/fstab anew${said:+: $(first_of "$said")}" \
    "all else is done; see what \`systemctl daemon-reload\` says there"
}
"""
LIBRARY = MOUNTED + FSTAB + MAKING_WAY + CHECKS + _SETTING
