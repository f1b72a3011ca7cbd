"""The shell of `swarm:hostbaseline:Mounts`.

Only what a baseline has mounted is ever unmounted, by the record's `did`; and all of a change holds, or nothing of it:
what has been unmounted is mounted again where something fails.
"""

from __future__ import annotations

from swarmctl.kinds.host_baseline.mounted import MOUNTED

LIBRARY = (
    MOUNTED
    + r"""
mark=x-swarmctl.$baseline hold=/run/swarmctl-mounts
anew= gone= fresh= turned= rows= let_go= lost= reload=
set -f
# All baselines' mounts are one tree, and what makes way is in one folder: one run at a time, also where one goes on
# whose connection is lost. What serves a file system as a program outlives the run, and must not have the lock.
alone() {
  exec 8</run
  flock -w 60 8 || refuse "something else changes mounts all the time" "apply again when it has ended"
}
mount() { command mount "$@" 8<&-; }
ours() { awk -v path="$1" -v mark=",$mark," '$2 == path && index("," $4 ",", mark)' /etc/fstab 2>/dev/null; }
drop() {
  [ -z "$(row "$1" "$2")" ] || put "$2" 0600 "$(awk -F '\t' -v path="$1" '$1 != path && NF' "$2")" || :
}
without() { [ ! -e "$2" ] || put "$2" 0600 "$(grep -vxF -e "$1" "$2")" || :; }
foreign() {
  refuse "something else is mounted at $1" \
    "only what a baseline has mounted is unmounted; unmount it yourself, or choose another path"
}
# possible PATH DEVICE TYPE OPTIONS
possible() {
  [ -n "$(real "$2")" ] || refuse "there is no $2 to mount at $1" "see what \`lsblk -f\` prints there"
  if [ -n "$(source_of "$1")" ]; then
    is_said "$@" || mine "$1" || foreign "$1"
  elif [ -d "$1" ] && [ -n "$(ls -A "$1")" ]; then
    refuse "$1 is not empty, and what is in it could not be seen any more" "move it away, or choose another path"
  fi
}
# Baselines' mounts within a place, of any of them, the innermost first.
within() {
  awk -v base="$1/" 'index("," $4, ",x-swarmctl.") && index($2, base) == 1 { print $2 }' /etc/fstab 2>/dev/null |
    sort -r
}
in_use() { refuse "$1 is in use, so it is not unmounted" "see by \`fuser -vm $1\` who uses it"; }
# What makes way is mounted again by the table where that says what is there; all else is bound elsewhere meanwhile, so
# that a file system in memory keeps what is in it. No path has a `%`.
aside_of() { printf '%s/%s' "$hold" "$(printf '%s' "$1" | tr / %)"; }
aside() {
  kept=$(aside_of "$1")
  (umask 077 && mkdir -p "$kept") 2>/dev/null && mount --bind "$1" "$kept" 2>/dev/null && umount "$1" 2>/dev/null
}
spared() {
  umount "$(aside_of "$1")" 2>/dev/null || :
  rmdir "$(aside_of "$1")" "$hold" 2>/dev/null || :
}
by_table() {
  IFS='	' read -r _ device type options <<END
$(lined "$1")
END
  [ "$type" != tmpfs ] && is_said "$1" "$device" "$type" "$options"
}
inner_away() {
  for inner in $(within "$1"); do
    [ -n "$(source_of "$inner")" ] || continue
    if by_table "$inner"; then
      umount "$inner" 2>/dev/null || { "$2" "$inner"; continue; }
      gone="$gone $inner"
    else
      aside "$inner" || "$2" "$inner"
    fi
  done
}
release() {
  [ -n "$(source_of "$1")" ] || return 0
  inner_away "$1" in_use
  if [ "$(type_of "$1")" = tmpfs ]; then
    aside "$1" || in_use "$1"
  else
    umount "$1" 2>/dev/null || in_use "$1"
    gone="$gone $1"
  fi
}
# What made way for what it lies in is back, the outermost first; where its folder is gone by that, it is made.
# That, and what is ours of the folders around it, is taken away with it then.
with_it() {
  [ -n "$(row "$2" "$1/made")" ] || noted "$1/made" "$2"
  [ -e "$record/made" ] || return 0
  while read -r outer; do
    case $2 in "$outer"/*) [ -n "$(row "$outer" "$1/made")" ] || noted "$1/made" "$outer" ;; esac
  done <"$record/made"
}
# back PLACES: these are mounted by the table, and all that is aside is where it was, if the table has it still.
back() {
  for place in $({ ls "$hold" 2>/dev/null | tr % /; printf '%s\n' $1; } | sort -u); do
    kept=$(aside_of "$place")
    whose=$(anyones "$place" | sed 's/.*[ ,]x-swarmctl\.\([a-z0-9-]*\).*/\1/' | head -n 1)
    if [ -n "$whose" ] && [ -z "$(source_of "$place")" ]; then
      if [ ! -d "$place" ]; then
        mkdir -p "$place"
        theirs=$records/$whose/mounts
        [ ! -d "$theirs" ] || with_it "$theirs" "$place"
      fi
      if [ -d "$kept" ]; then
        mount --bind "$kept" "$place" 2>/dev/null || { lost=$place; continue; }
      else
        mount "$place" 2>/dev/null || lost=$place
      fi
    fi
    [ ! -d "$kept" ] || spared "$place"
  done
}
all_back() {
  back "$gone"
  [ -z "$lost" ] || refuse "$lost cannot be mounted again" "see what \`dmesg\` says there"
}
# All is as it was: without its line in the table, nobody would know any more what is ours.
refusing() { undone; }
undone() {
  undone() { :; }
  # A folder in a new mount is in sight as long as that is there; what somebody has put something in is theirs by now.
  for path in $(printf '%s\n' $anew $fresh | sort -ru); do
    case " $anew" in *" $path "*)
      inner_away "$path" :
      umount "$path" 2>/dev/null || :
      ;;
    esac
    case " $fresh" in *" $path "*)
      rmdir "$path" 2>/dev/null || :
      (drop "$path" "$record/made") 2>/dev/null || :
      ;;
    esac
  done
  (back "$gone") 2>/dev/null || :
  printf '%s' "$turned" | while read -r path flags; do as_it_was "$path" "$flags" || :; done
  printf '%s' "$rows" | while IFS= read -r line; do (without "$line" "$record/did") 2>/dev/null || :; done
}
# With nofail mount(8) says nothing of what fails.
at_once() { printf '%s' "$1" | tr , '\n' | awk '$0 != "nofail"' | paste -sd, - | sed 's/^$/defaults/'; }
# in_force PATH MUST NEVER: by the words that are told of it, of which some must be there and others must not.
in_force() {
  live=,$(options_of "$1"),
  for option in $2; do
    case $live in *",$option,"*) ;; *) return 1 ;; esac
  done
  for option in $3; do
    case $live in *",$option,"*) return 1 ;; esac
  done
}
first_of() { printf '%s\n' "$1" | tr '\t' ' ' | awk 'NF { sub(/^ +/, ""); print; exit }' | cut -c 1-200; }
# With the device beside the place mount(8) goes by these options alone, and not by what the table says, or did.
remounted() {
  beside=$(source_of "$1")
  [ "$(type_of "$1")" != btrfs ] || beside=${beside%%"["*}
  said=$(mount -o "$2" "$beside" "$1" 2>&1)
}
sized() { case ,$1 in *,size=* | *,nr_blocks=*) ;; *) return 1 ;; esac; }
# as_it_was PATH OPTIONS: mounted with what was told of it then.
as_it_was() {
  flags=remount,rw,suid,dev,exec,diratime,async atime=strictatime size=
  for option in $(printf '%s' "$2" | tr , ' '); do
    case $option in
      ro | nosuid | nodev | noexec | nodiratime | sync) flags=$flags,$option ;;
      noatime | relatime) atime=$option ;;
      size=*) size=$option ;;
    esac
  done
  if [ -z "$size" ] && sized "$(options_of "$1")"; then size=size=50%; fi
  if [ "$(type_of "$1")" = tmpfs ] && [ -n "$size" ] && remounted "$1" "$flags,$atime,$size"; then return 0; fi
  remounted "$1" "$flags,$atime"
}
# Folders that another baseline has made are ours to take away with what it has mounted there; what that one has found
# mounted stays mounted with ours.
inherited() {
  [ -z "$(row "$1" "$record/$2")" ] || return 0
  taken=$(others_have "$2" | while read -r path; do row "$1" "$path"; done | head -n 1)
  [ -z "$taken" ] || noted "$record/$2" "$taken"
}
inherit() {
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
  if ! is_said "$@" || mine "$1" || [ -n "$(row "$1" "$record/there")" ]; then return 0; fi
  noted "$record/there" "$(printf '%s\t%s' "$1" "$(options_of "$1")")"
}
# What was mounted for the baseline goes; what was there before stays, with the options that it had. The record tells
# the one from the other until the table is written: a second try must not take what was there for ours.
freed() {
  let_go="$let_go $1"
  [ -z "$(anyones "$1")" ] || [ -n "$(ours "$1")" ] || return 0
  was=$(row "$1" "$record/there")
  if [ -z "$was" ]; then
    ! mine "$1" || release "$1"
    return 0
  fi
  IFS='	' read -r _ device type options <<END
$(lined "$1")
END
  if is_said "$1" "$device" "$type" "$options"; then
    turned="$1 $(options_of "$1")$nl$turned"
    as_it_was "$1" "${was#*	}" || :
  fi
}
# Where it goes, with the folders on the way there.
folder() {
  missing='' step=$1
  while [ ! -d "$step" ]; do
    missing="$step $missing" step=${step%/*}
    step=${step:-/}
  done
  for step in $missing; do
    [ -n "$(row "$step" "$record/made")" ] || noted "$record/made" "$step"
    fresh="$step $fresh"
  done
  mkdir -p "$1" 2>/dev/null || unwritten "$1"
}
unmade() {
  at=$1
  while [ -n "$(row "$at" "$record/made")" ] && rmdir "$at" 2>/dev/null; do at=${at%/*}; done
}
# mounted PATH DEVICE TYPE OPTIONS: as it was, if it only had to make way.
mounted() {
  folder "$1"
  drop "$1" "$record/there"
  kept=$(aside_of "$1")
  if is_said "$kept" "$2" "$3" "$4"; then
    mount --bind "$kept" "$1" 2>/dev/null || refuse "$1 cannot be mounted again" "see what \`dmesg\` says there"
    spared "$1"
    return 0
  fi
  # Of a device that is mounted elsewhere, too, not all options would count.
  if [ -d "$kept" ] && [ "$(type_of "$kept")" != tmpfs ]; then
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
# in_place PATH DEVICE TYPE OPTIONS MUST NEVER ANEW
in_place() {
  if [ -n "$(source_of "$1")" ] && ! is_said "$1" "$2" "$3" "$4"; then
    mine "$1" || foreign "$1"
    release "$1"
  fi
  if [ -z "$(source_of "$1")" ]; then mounted "$1" "$2" "$3" "$4"; fi
  case " $anew" in *" $1 "*) return 0 ;; esac
  before=$(anyones "$1" | awk '{ print $4 }') how=$7
  # Of a file system in memory no size means half of the memory, and not the one that it had.
  if [ "$3" = tmpfs ] && sized "$before" && ! sized "$4"; then how=$how,size=50%; fi
  if { [ "$3" = tmpfs ] && sized "$4"; } || [ "$before" != "$4,$mark" ] || ! in_force "$1" "$5" "$6"; then
    turned="$1 $(options_of "$1")$nl$turned"
    remounted "$1" "$how" ||
      refuse "$1 cannot be mounted anew with $4: $(first_of "$said")" "see by \`fuser -vm $1\` who uses it"
    in_force "$1" "$5" "$6" ||
      refuse "$1 is kept mounted with $(options_of "$1") in place of $4" "what is read-only is declared \`ro\`"
  fi
}
# Lines of ours go, those that were made comments are what they were, and those for the wanted places become comments;
# what another baseline has in the table for these is ours from then on. All baselines' lines are at the end, each after
# those for what it lies in: `mount -a` goes by the table.
table() {
  one_at_a_time
  [ -e /etc/fstab ] || : >/etc/fstab
  text=$(prefix="#swarmctl:$baseline# " mark=",$mark," wanted=$1 awk '
    {
      line = $0
      if (index(line, ENVIRON["prefix"]) == 1) line = substr(line, length(ENVIRON["prefix"]) + 1)
      else if (match(line, /^#swarmctl:[a-z0-9-]+# /)) {
        split(substr(line, RLENGTH + 1), field)
        if (index(ENVIRON["wanted"], " " field[2] " ")) line = substr(line, RLENGTH + 1)
      }
      count = split(line, field)
      comment = line ~ /^[ \t]*#/
      if (!comment && count >= 4 && index("," field[4] ",", ENVIRON["mark"])) next
      there = !comment && count >= 2 && index(ENVIRON["wanted"], " " field[2] " ")
      if (there && index("," field[4], ",x-swarmctl.")) next
      if (there) line = ENVIRON["prefix"] line
      print line
    }' /etc/fstab && printf '%s' "$2" && echo x) || unwritten /etc/fstab
  lines=$(printf '%s' "${text%x}" | awk '!/^[ \t]*#/ && index("," $4, ",x-swarmctl.")' | sort -k2,2)
  text=$(printf '%s' "${text%x}" | awk '/^[ \t]*#/ || !index("," $4, ",x-swarmctl.")' && echo x) || unwritten /etc/fstab
  text=${text%x}${lines:+$lines$nl}x
  ! rewritten /etc/fstab "${text%x}" || reload=yes
  next_one
}
# At the end: the table is as it is to be, and what systemd makes of it is no reason to undo anything.
reloaded() {
  [ -n "$reload" ] && systemd || return 0
  said=$(systemctl daemon-reload 2>&1) || refuse "systemd does not take /etc/fstab anew${said:+: $(first_of "$said")}" \
    "all else is done; see what \`systemctl daemon-reload\` says there"
}
# Ours, each before what it is in; what was cut off before it came into the table, too.
listed() {
  {
    awk -v mark=",$mark," 'index("," $4 ",", mark) { print $2 }' /etc/fstab
    cut -f 1 "$record/did"
  } 2>/dev/null | sort -ru
}
others() {
  for left in $(listed); do
    case $1 in *" $left "*) continue ;; esac
    freed "$left"
    # A folder in another mount is in sight no more when that goes.
    unmade "$left"
  done
}
# From here on nothing is undone any more.
written() {
  undone() { :; }
  for one in $let_go; do
    drop "$one" "$record/there"
    drop "$one" "$record/did"
  done
}
# is_now PATH DEVICE TYPE OPTIONS: what is mounted there is what somebody had mounted, or ours, with what the kernel
# calls it. One row takes the place of the other: in between nobody would know whose it is.
is_now() {
  if [ -n "$(row "$1" "$record/there")" ]; then
    drop "$1" "$record/did"
    return 0
  fi
  # What mount(8) makes of a file is another file's as soon as this one is unmounted.
  named=
  [ -f "$(real "$2")" ] || named=$(source_of "$1")
  line=$(printf '%s\t%s\t%s\t%s%s' "$1" "$2" "$3" "${4:-defaults}" "${named:+	$named}")
  [ "$(row "$1" "$record/did")" != "$line" ] || return 0
  rest=$(awk -F '\t' -v path="$1" '$1 != path && NF' "$record/did" 2>/dev/null || :)
  put "$record/did" 0600 "${rest:+$rest$nl}$line" || :
}
folders() {
  [ -e "$record/made" ] || return 0
  text=
  for path in $(sort -ru "$record/made"); do
    case $1 in *" $path "* | *" $path/"*) text=$path${text:+$nl$text} ;; *) rmdir "$path" 2>/dev/null || : ;; esac
  done
  put "$record/made" 0600 "$text" || :
}
"""
)
