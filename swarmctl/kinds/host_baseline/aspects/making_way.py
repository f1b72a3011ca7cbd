"""The shell of `swarm:hostbaseline:Mounts` by which what is mounted makes way, and is where it was again.

What lies in memory is lost when it is unmounted for the last time. So it is bound elsewhere meanwhile, and let go only
where what is at its place is the same, or when it is not wanted any more and the table says so.
"""

from __future__ import annotations

MAKING_WAY = r"""
hold=/run/swarmctl-mounts
# anew: mounted by this run. fresh_folders: made by it. gone: unmounted, to be mounted again by the table. spent: not to
# be mounted again. turned: what was mounted with other options. rows: added to the record. lost: what could not be
# mounted again. waiting: what is kept since something else is in its place.
anew='' fresh_folders='' gone='' spent='' turned='' rows='' lost='' waiting='' undoing='' for_good=''
# All baselines' mounts are one tree, and what makes way is in one folder: one run at a time, also where one goes on
# whose connection is lost. What serves a file system as a program outlives the run, and must not have the lock.
alone() {
  exec 8</run
  flock -w 60 8 || refuse "something else changes mounts all the time" "apply again when it has ended"
  [ -n "$(all_mounted)" ] || refuse "what is mounted cannot be read" "see \`cat /proc/self/mountinfo\` there"
}
mount() { command mount "$@" 8<&-; }
drop() {
  [ -z "$(row "$1" "$2")" ] || put "$2" 0600 "$(awk -F '\t' -v path="$1" '$1 != path && NF' "$2")" || :
}
without() { [ ! -e "$2" ] || put "$2" 0600 "$(grep -vxF -e "$1" "$2")" || :; }
# Baselines' mounts within a place, of any of them, the innermost first.
within() { lines | marked | awk -F '\t' -v base="$1/" 'index($1, base) == 1 { print $1 }' | sort -ru; }
in_use() {
  local inner
  inner=$(all_mounted | awk -F '[ ]' -v base="$1/" 'index($4, base) == 1 { print $4; exit }')
  [ -z "$inner" ] || refuse "$1 is in use, so it is not unmounted: $inner is mounted within it" \
    "unmount that yourself, or leave $1 as it is"
  refuse "$1 is in use, so it is not unmounted" "see by \`fuser -vm $1\` who uses it"
}
# may_go PATH: refused before anything is touched where that, or what has to make way for it, could not come back.
may_go() {
  local one
  for one in "$1" $(within "$1"); do
    look "$one"
    [ "$live_layers" -le 1 ] ||
      refuse "several file systems are mounted at $one, one over the other, so none is unmounted" \
      "see them by \`findmnt --mountpoint $one\`, unmount what is not needed by \`umount $one\`, and try again"
  done
}
# What makes way is mounted again by the table where that says what is there; all else is bound elsewhere meanwhile, so
# that a file system in memory keeps what is in it. No path has a `%`.
aside_of() { printf '%s/%s' "$hold" "$(printf '%s' "$1" | tr / %)"; }
aside() {
  local kept
  kept=$(aside_of "$1")
  (umask 077 && mkdir -p "$kept") 2>/dev/null && mount --bind "$1" "$kept" 2>/dev/null && umount "$1" 2>/dev/null
}
spared() {
  umount "$(aside_of "$1")" 2>/dev/null || :
  rmdir "$(aside_of "$1")" "$hold" 2>/dev/null || :
}
by_table() {
  local device type options
  IFS='	' read -r _ device type options <<END
$(anyones "$1" | head -n 1)
END
  [ "$type" != tmpfs ] && is_said "$1" "$device" "$type" "$options"
}
inner_away() {
  local inner
  for inner in $(within "$1"); do
    there "$inner" || continue
    if by_table "$inner"; then
      umount "$inner" 2>/dev/null || { "$2" "$inner"; continue; }
      gone="$gone $inner"
    else
      aside "$inner" || "$2" "$inner"
    fi
  done
}
release() {
  there "$1" || return 0
  inner_away "$1" in_use
  look "$1"
  if [ "$live_type" = tmpfs ] || [ -z "$(anyones "$1")" ]; then
    aside "$1" || in_use "$1"
    spent="$spent $1"
  else
    umount "$1" 2>/dev/null || in_use "$1"
    gone="$gone $1"
  fi
}
# What made way for what it lies in is back, the outermost first; where its folder is gone by that, it is made.
# That, and what is ours of the folders around it, is taken away with it then.
with_it() {
  local outer
  [ -n "$(row "$2" "$1/made")" ] || noted "$1/made" "$2"
  [ -e "$record/made" ] || return 0
  while read -r outer; do
    case $2 in "$outer"/*) [ -n "$(row "$outer" "$1/made")" ] || noted "$1/made" "$outer" ;; esac
  done <"$record/made"
}
is_spent() { case "$spent " in *" $1 "*) ;; *) return 1 ;; esac; }
# in_the_way PATH TYPE SAME: of what is kept, for which `look` has found something else at its place. What the baseline
# has mounted there in its stead is no other one in memory: that came there by somebody, or by a restart of a unit.
in_the_way() {
  if [ "$3" = "$live_device $live_source" ] || { [ -n "$for_good" ] && is_spent "$1"; }; then
    spared "$1"
  elif [ "$2 $live_type" = "tmpfs tmpfs" ] || ! mine "$1"; then
    waiting="$waiting $1"
  elif [ -n "$for_good" ]; then
    spared "$1"
  fi
}
# Whether any baseline's record has the place: what somebody has made a comment of in the table is not over with it.
recorded() { [ -n "$(row "$1" "$record/did")$(others_have did | while read -r file; do row "$1" "$file"; done)" ]; }
one_back() {
  local kept same type whose their_record
  kept=$(aside_of "$1") same='' type=''
  if there "$kept"; then same="$live_device $live_source" type=$live_type; elif [ -d "$kept" ]; then spared "$1"; fi
  if there "$1"; then
    [ -z "$same" ] || in_the_way "$1" "$type" "$same"
    return 0
  fi
  whose=$(anyones "$1" | sed 's/.*x-swarmctl\.\([a-z0-9-]*\).*/\1/' | head -n 1)
  if [ -z "$whose" ]; then
    [ -n "$same" ] || return 0
    if ! is_spent "$1"; then
      recorded "$1" || spared "$1"
      return 0
    fi
    [ -z "$for_good" ] || spared "$1"
    [ -n "$undoing" ] || return 0
  fi
  if [ ! -d "$1" ]; then
    mkdir -p "$1"
    their_record=$records/$whose/mounts
    [ -z "$whose" ] || [ ! -d "$their_record" ] || with_it "$their_record" "$1"
  fi
  # With nofail mount(8) says nothing of what fails.
  if [ -n "$same" ]; then mount --bind "$kept" "$1" 2>/dev/null || :; else mount "$1" 2>/dev/null || :; fi
  if ! there "$1"; then lost="$lost $1"; elif [ -n "$same" ]; then spared "$1"; fi
}
# back PLACES: these are mounted by the table, and all that is aside is where it was, if the table has it still.
back() {
  local place
  for place in $({ ls "$hold" 2>/dev/null | tr % /; printf '%s\n' $1; } | sort -u); do one_back "$place"; done
}
# told_of_back: what is not back.
told_of_back() {
  local first all_else
  all_else=${for_good:+; all else is done}
  first=${waiting# }
  first=${first%% *}
  [ -z "$first" ] ||
    refuse "something else is mounted at $first, and what was there is kept at $(aside_of "$first")$all_else" \
    "unmount what is at $first, after copying what is needed of it, and try again: then what is kept is there again"
  [ -z "$lost" ] || refuse "$(listing "$lost") cannot be mounted again$all_else" \
    "see what \`dmesg\` says there"
}
listing() { printf '%s' "${1# }" | sed 's/ /, /g'; }
# All is as it was: without its line in the table, nobody would know any more what is ours. What could not be brought
# back is told after the reason.
refusing() { undone; }
undone() {
  local path flags line
  [ -z "$undoing$for_good" ] || return 0
  undoing=yes
  # A folder in a new mount is in sight as long as that is there; what somebody has put something in is theirs by now.
  for path in $(printf '%s\n' $anew $fresh_folders | sort -ru); do
    case " $anew" in *" $path "*)
      inner_away "$path" :
      umount "$path" 2>/dev/null || :
      ;;
    esac
    case " $fresh_folders" in *" $path "*)
      rmdir "$path" 2>/dev/null || :
      (drop "$path" "$record/made") 2>/dev/null || :
      ;;
    esac
  done
  lost=$(lost='' && back "$gone" 2>/dev/null && printf '%s' "$lost") || lost=
  afterwards=${lost:+; $(listing "$lost") could not be mounted again}
  printf '%s' "$turned" | while read -r path flags; do as_it_was "$path" "$flags" || :; done
  printf '%s' "$rows" | while IFS= read -r line; do (without "$line" "$record/did") 2>/dev/null || :; done
}
"""
"""Needs `MOUNTED`, and what all aspects have."""
