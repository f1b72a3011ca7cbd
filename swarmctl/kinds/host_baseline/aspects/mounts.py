"""`swarm:hostbaseline:Mounts`: file systems in their places, by lines of `/etc/fstab` with an option of our own.

Options that begin with `x-` are for others than mount(8) and the kernel. A line of somebody else's for the same place
becomes a comment, and is one no more when the place is given back. Nothing is formatted; folders that were made go when
they are empty.
"""

from __future__ import annotations

from shlex import quote

from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline import options
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import Seen


class MountsType(Aspect):
    """Place by place."""

    name = "mounts"
    library = r"""
mark=x-swarmctl.$baseline anew= aside= lost=
set -f
# Without its line in the table, nobody would know any more that it is ours.
undone() {
  for path in $anew; do
    umount "$path" 2>/dev/null || :
    [ -z "$(ours "$path")" ] || mount "$path" 2>/dev/null || :
  done
}
# What a path stands for: links to devices are known to the kernel by what they lead to, volumes by either name.
meant() { case $1 in /*) readlink -f -- "$1" 2>/dev/null || printf '%s' "$1" ;; *) printf '%s' "$1" ;; esac; }
real() {
  case $1 in
    /*) meant "$1" ;;
    *=*) meant "$(findfs "$1" 2>/dev/null || :)" ;;
    *) printf '%s' "$1" ;;
  esac
}
source_of() { findmnt -rnfo SOURCE --mountpoint "$1" 2>/dev/null || :; }
# Whether it is that device, by any of its names; a file is one that a loop device makes, and of a btrfs the kernel
# tells the folder, too.
is_of() {
  live=$(source_of "$1")
  [ "$(type_of "$1")" != btrfs ] || live=${live%%"["*}
  [ -n "$live" ] || return 1
  if [ "$(meant "$live")" = "$2" ]; then return 0; fi
  [ -f "$2" ] && losetup -j "$2" 2>/dev/null | grep -q "^$live:"
}
type_of() { findmnt -rnfo FSTYPE --mountpoint "$1" 2>/dev/null || :; }
anyones() { awk -v path="$1" '$2 == path && index("," $4, ",x-swarmctl.")' /etc/fstab 2>/dev/null; }
ours() { awk -v path="$1" -v mark=",$mark," '$2 == path && index("," $4 ",", mark)' /etc/fstab 2>/dev/null; }
possible() {
  [ -n "$(real "$2")" ] || refuse "there is no $2 to mount at $1" "see what \`lsblk -f\` prints there"
  if [ -n "$(source_of "$1")" ]; then
    is_of "$1" "$(real "$2")" || [ -n "$(anyones "$1")" ] ||
      refuse "something else is mounted at $1" "unmount it, or choose another path"
  elif [ -d "$1" ] && [ -n "$(ls -A "$1")" ]; then
    refuse "$1 is not empty, and what is in it could not be seen any more" "move it away, or choose another path"
  fi
}
# Baselines' mounts within a place, of any of them, the innermost first.
within() {
  awk -v base="$1/" 'index("," $4, ",x-swarmctl.") && index($2, base) == 1 { print $2 }' /etc/fstab 2>/dev/null |
    sort -r
}
in_use() {
  aside_back
  refuse "$1 is in use, so it is not unmounted" "see by \`fuser -vm $1\` who uses it"
}
release() {
  [ -n "$(source_of "$1")" ] || return 0
  for inner in $(within "$1"); do
    [ -n "$(source_of "$inner")" ] || continue
    umount "$inner" 2>/dev/null || in_use "$inner"
    aside="$inner $aside"
  done
  umount "$1" 2>/dev/null || in_use "$1"
}
# What made way for what it lies in is mounted again, the outermost first; where its folder is gone by that, it is made.
# That, and what is ours of the folders around it, is taken away with it then.
with_it() {
  [ -n "$(row "$2" "$1/made")" ] || noted "$1/made" "$2"
  [ -e "$record/made" ] || return 0
  while read -r outer; do
    case $2 in "$outer"/*) [ -n "$(row "$outer" "$1/made")" ] || noted "$1/made" "$outer" ;; esac
  done <"$record/made"
}
aside_back() {
  for path in $aside; do
    whose=$(anyones "$path" | sed 's/.*[ ,]x-swarmctl\.\([a-z0-9-]*\).*/\1/')
    [ -n "$whose" ] && [ -z "$(source_of "$path")" ] || continue
    if [ ! -d "$path" ]; then
      mkdir -p "$path"
      kept=$records/$whose/mounts
      [ ! -d "$kept" ] || with_it "$kept" "$path"
    fi
    mount "$path" 2>/dev/null || lost=$path
  done
}
all_back() {
  aside_back
  [ -z "$lost" ] || refuse "$lost cannot be mounted again" "see what \`dmesg\` says there"
}
# With nofail mount(8) says nothing of what fails.
at_once() { printf '%s' "$1" | tr , '\n' | awk '$0 != "nofail"' | paste -sd, - | sed 's/^$/defaults/'; }
# in_force PATH MUST NEVER: by the words that are told of it, of which some must be there and others must not.
in_force() {
  live=,$(findmnt -rnfo OPTIONS --mountpoint "$1"),
  for option in $2; do
    case $live in *",$option,"*) ;; *) return 1 ;; esac
  done
  for option in $3; do
    case $live in *",$option,"*) return 1 ;; esac
  done
}
# With the device beside the place mount(8) goes by these options alone, and not by what the table says, or did.
remounted() {
  device=$(source_of "$1")
  [ "$(type_of "$1")" != btrfs ] || device=${device%%"["*}
  mount -o "$2" "$device" "$1" 2>/dev/null
}
# A server tells which version of its protocol it is.
is_a() {
  type=$(type_of "$1")
  [ "$type" = "$2" ] || [ "$2 $type" = "nfs nfs4" ]
}
# By the path, which begins a line: of a record's file, and all but that.
row() { awk -F '\t' -v path="$1" '$1 == path' "$2" 2>/dev/null || :; }
drop() {
  [ -z "$(row "$1" "$2")" ] || put "$2" 0600 "$(awk -F '\t' -v path="$1" '$1 != path && NF' "$2")" || :
}
# A folder that another baseline has made is ours to take away with what it has mounted there; what that one has found
# mounted stays mounted with ours.
inherit() {
  for file in made did there; do
    [ -z "$(row "$1" "$record/$file")" ] || continue
    taken=$(others_have "$file" | while read -r path; do row "$1" "$path"; done | head -n 1)
    [ -z "$taken" ] || noted "$record/$file" "$taken"
  done
}
# What somebody has mounted there, as declared, is not ours to unmount: nothing says that a baseline has mounted it.
found() {
  is_of "$1" "$(real "$2")" && is_a "$1" "$3" || return 0
  [ -z "$(anyones "$1")$(row "$1" "$record/did")$(row "$1" "$record/there")" ] || return 0
  noted "$record/there" "$(printf '%s\t%s' "$1" "$(findmnt -rnfo OPTIONS --mountpoint "$1")")"
}
# It stays mounted, with the options that it had; what was mounted for the baseline goes.
freed() {
  was=$(row "$1" "$record/there")
  if [ -z "$was" ]; then
    release "$1"
  elif [ -n "$(source_of "$1")" ]; then
    flags=rw,suid,dev,exec,diratime,async atime=strictatime
    for option in $(printf '%s' "${was#*	}" | tr , ' '); do
      case $option in
        ro | nosuid | nodev | noexec | nodiratime | sync) flags=$flags,$option ;;
        noatime | relatime) atime=$option ;;
      esac
    done
    remounted "$1" "remount,$flags,$atime" || :
  fi
  drop "$1" "$record/there"
  drop "$1" "$record/did"
}
# Which part of a btrfs is mounted is decided when it is.
rooted() {
  live=,$(findmnt -rnfo OPTIONS --mountpoint "$1"),
  for option in $(printf '%s' "$2" | tr , ' '); do
    case $option in
      subvol=*) one=subvol=/$(printf '%s' "${option#subvol=}" | sed 's,^/*,,') ;;
      subvolid=*) one=$option ;;
      *) continue ;;
    esac
    case $live in *",$one,"*) ;; *) return 1 ;; esac
  done
}
# in_place PATH DEVICE TYPE OPTIONS MUST NEVER ANEW
in_place() {
  if [ -n "$(source_of "$1")" ] &&
    { ! is_of "$1" "$(real "$2")" || ! is_a "$1" "$3" || ! rooted "$1" "$4"; }; then
    release "$1"
    drop "$1" "$record/there"
  fi
  if [ -n "$(source_of "$1")" ]; then
    case $3,$4 in tmpfs,*size=*) sized=yes ;; *) sized= ;; esac
    if [ -n "$sized" ] || [ "$(ours "$1" | awk '{ print $4 }')" != "$4,$mark" ] || ! in_force "$1" "$5" "$6"; then
      remounted "$1" "$7" && in_force "$1" "$5" "$6" ||
        refuse "$1 cannot be mounted anew with $4" "see what \`dmesg\` says there; what is read-only is declared \`ro\`"
    fi
    return 0
  fi
  if [ ! -d "$1" ]; then
    noted "$record/made" "$1"
    mkdir -p "$1" 2>/dev/null || unwritten "$1"
  fi
  drop "$1" "$record/there"
  [ -n "$(row "$1" "$record/did")" ] || noted "$record/did" "$1"
  mount -t "$3" -o "$(at_once "$4")" "$2" "$1" 2>"$record/log" ||
    refuse "$2 cannot be mounted at $1: $(tail -n 1 "$record/log" | cut -c 1-200)" "see what \`dmesg\` says there"
  anew="$1 $anew"
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
  rewritten /etc/fstab "${text%x}" || { next_one; return 0; }
  next_one
  ! systemd || systemctl daemon-reload
}
# Ours, each before what it is in.
listed() { awk -v mark=",$mark," 'index("," $4 ",", mark) { print $2 }' /etc/fstab 2>/dev/null | sort -r; }
others() {
  for path in $(listed); do
    case $1 in *" $path "*) continue ;; esac
    freed "$path"
    # A folder in another mount is in sight no more when that goes.
    ! grep -qxF -- "$path" "$record/made" 2>/dev/null || rmdir "$path" 2>/dev/null || :
  done
}
folders() {
  [ -e "$record/made" ] || return 0
  text=
  while read -r path; do
    [ -n "$path" ] || continue
    case $1 in *" $path "*) text=${text:+$text$nl}$path ;; *) rmdir "$path" 2>/dev/null || : ;; esac
  done <"$record/made"
  put "$record/made" 0600 "$text" || :
}
"""

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What is mounted and will be after a restart; a place where nothing is, is not there."""
        found = {}
        for path, device, kind, line, real, live in seen.of("mount", inputs["baseline"]):
            mark = f"x-swarmctl.{inputs['baseline']}"
            source, fstype, flags, *_ = [*live.split(), "", "", ""]
            if not source:
                continue
            # What is there by hand is not what the line says, and with both it is nothing that is declared next.
            same_type = fstype == kind or (kind, fstype) == ("nfs", "nfs4")
            found[path] = {
                "device": device if source == real else f"{source} ({device} in /etc/fstab)",
                "type": kind if same_type else f"{fstype} ({kind} in /etc/fstab)",
                "options": options.told([one for one in line.split(",") if one != mark], fstype, flags.split(",")),
            }
        return {"mounts": found}

    def setting(self, inputs: Inputs) -> str:
        """Mounted first: a line that can't be mounted never gets into the table."""
        mounts = sorted(inputs["mounts"].items())
        wanted = quote(" ".join(["", *(path for path, _ in mounts), ""]))
        rows = "".join(
            f"{it['device']} {path} {it['type']} {_options(inputs, it)} 0 {_pass(it)}\n" for path, it in mounts
        )
        lines = [f"possible {quote(path)} {quote(it['device'])}" for path, it in mounts]
        lines += ["begin", f"others {wanted}", *(f"inherit {quote(path)}" for path, _ in mounts)]
        lines += [f"found {quote(path)} {quote(it['device'])} {it['type']}" for path, it in mounts]
        lines += [f"in_place {quote(path)} {quote(it['device'])} {it['type']} {_compared(it)}" for path, it in mounts]
        return "\n".join([*lines, f"table {wanted} {quote(rows)}", "all_back", f"folders {wanted}"])

    def taking_away(self, inputs: Inputs) -> str:
        """Lines of others are what they were, and what they mount is mounted again."""
        return """
others ' '
back=$(awk -v prefix="#swarmctl:$baseline# " 'index($0, prefix) == 1 { split(substr($0, length(prefix) + 1), field); \
print field[2] }' /etc/fstab 2>/dev/null) || :
table ' ' ''
for path in $back; do [ -n "$(source_of "$path")" ] || mount "$path" 2>/dev/null || :; done
all_back
folders ' '
forget
"""

    def items(self, inputs: Inputs) -> dict[str, str]:
        """By place."""
        return {
            f"mount {path}": f"{known(it['device'])}, {known(it['type'])}, {','.join(it['options'])}"
            for path, it in inputs.get("mounts", {}).items()
        }

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """What is not there any more, or for a moment."""
        before = old.get("mounts", {}) if old is not None else {}
        after = new.get("mounts", {}) if new is not None else {}
        gone = [path for path in sorted(before) if path not in after]
        anew = [
            path
            for path in sorted(before)
            if path in after and any(before[path][name] != after[path][name] for name in ("device", "type"))
        ]
        anew = [
            path for path in sorted(before) if path in after and f"{path}/".startswith(tuple(f"{it}/" for it in anew))
        ]
        told = [f"unmounts {', '.join(gone)}"] if gone else []
        told += [f"unmounts {', '.join(anew)} and mounts what is declared"] if anew else []
        return ", ".join(told)


def _compared(mount: Inputs) -> str:
    """The options, what of them can be seen, and what brings it about."""
    must, never = options.words(mount["options"])
    declared = mount["options"]
    return " ".join(map(quote, (",".join(declared), " ".join(must), " ".join(never), options.anew(declared))))


def _options(inputs: Inputs, mount: Inputs) -> str:
    return ",".join([*mount["options"], f"x-swarmctl.{inputs['baseline']}"])


def _pass(mount: Inputs) -> int:
    """Whether the file system is checked at the start, after the root's (fstab(5))."""
    return 2 if mount["type"] in ("ext4", "vfat") else 0


MOUNTS = MountsType()
