"""Shell that says what is mounted at a place, what the table says of it, and whether a baseline has mounted it.

By the record's `did`: the place, what was declared of it, what the kernel called it then (`-` for what is made of a
file) and the file system's UUID. `there` has what somebody else had mounted before. Both reading and setting go by it.
Pure: no I/O here.
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
# All that is mounted: its number, what it lies in, device, place, source, type, the options of the file system, these
# with the ones of the mount, and the peer group (`-`: none). As the kernel tells it (proc_pid_mountinfo(5)): not every
# findmnt tells the second.
all_mounted() {
  awk -F '[ ]' '
    function own(options) { gsub(/,(rw|ro),/, ",", options); return options }
    {
      group = "-"
      for (i = 7; $i != "-" && i < NF; i++) if ($i ~ /^shared:/) group = $i
      source = ($(i + 2) == "" ? "none" : $(i + 2)) ($4 == "/" ? "" : "[" $4 "]")
      options = (index("," $6 "," $(i + 3) ",", ",ro,") ? "ro" : "rw") own("," $6 ",") own("," $(i + 3) ",")
      gsub(/,+/, ",", options)
      sub(/,$/, "", options)
      print $1, $2, $3, $5, source, $(i + 1), $(i + 3), options, group
    }' /proc/self/mountinfo 2>/dev/null
}
# look PATH: what people see there is in `live_…` afterwards, with `live_super` for the options that all mounts of the
# file system share, and `live_layers` for how many lie there, one over the other. Where what is mounted there can't be
# seen, `live_cover` is where what hides it is mounted. From mount to mount, as the kernel walks: its table tells a path
# of a mount also when that is hidden, and a file system that does not answer must not be asked.
look() {
  IFS=' ' read -r live_layers live_cover live_id live_device live_source live_type live_super live_options <<SEEN
$(all_mounted | awk -F '[ ]' -v path="$1" '
  { parent[$1] = $2; place[$1] = $4; told[$1] = $1 " " $3 " " $5 " " $6 " " $7 " " $8 }
  END {
    for (one in place) over[(parent[one] in place) && parent[one] != one ? parent[one] : "", place[one]] = one
    here = ""
    count = split(path, part, "/")
    step = "/"
    for (i = 1; i <= count; i++) {
      if (i > 1) step = (i > 2 ? step : "") "/" part[i]
      for (layers = 0; (here, step) in over; layers++) here = over[here, step]
    }
    if (layers) print layers " - " told[here]
    else for (one in place) if (place[one] == path) { print "0 " place[here]; exit }
  }')
SEEN
  live_layers=${live_layers:-0}
  [ "$live_cover" != - ] || live_cover=
  # What went read-only by an error is.
  case ,$live_options, in *,emergency_ro,*) live_options=ro,${live_options#rw,} ;; esac
}
there() { look "$1" && [ -n "$live_source" ]; }
uuid_of() { case $1 in /*) blkid -p -s UUID -o value "$1" 2>/dev/null || : ;; esac; }
# The device alone: of a btrfs the kernel tells the folder, too.
live_name() {
  if [ "$live_type" = btrfs ]; then printf '%s' "${live_source%%"["*}"; else printf '%s' "$live_source"; fi
}
# Whether what `look` has found is that device, by any of its names. A file is one that a loop device makes, and a btrfs
# of several devices is told by one of them.
is_of() {
  local name uuid
  [ -n "$live_source" ] || return 1
  name=$(live_name)
  if [ "$(meant "$name")" = "$1" ]; then return 0; fi
  if [ -f "$1" ]; then
    losetup -j "$1" 2>/dev/null | grep -q "^$name:"
  else
    [ "$live_type" = btrfs ] && uuid=$(uuid_of "$name") && [ -n "$uuid" ] && [ "$uuid" = "$(uuid_of "$1")" ]
  fi
}
# A server tells which version of its protocol it is.
is_a() { [ "$live_type" = "$1" ] || [ "$1 $live_type" = "nfs nfs4" ]; }
# Which part of a btrfs is mounted is decided when it is.
rooted() {
  local option one
  for option in $(printf '%s' "$1" | tr , ' '); do
    case $option in
      subvol=*) one=subvol=/$(printf '%s' "${option#subvol=}" | sed 's,^/*,,; s,/*$,,') ;;
      subvolid=*) one=$option ;;
      *) continue ;;
    esac
    case ,$live_options, in *",$one,"*) ;; *) return 1 ;; esac
  done
}
# says DEVICE TYPE OPTIONS: whether that is what `look` has found.
says() { is_of "$(real "$1")" && is_a "$2" && rooted "$3"; }
# is_said PATH DEVICE TYPE OPTIONS: whether that is what is mounted there.
is_said() { look "$1" && says "$2" "$3" "$4"; }
# For awk: a place as it is declared. More slashes than one, and one at the end, mean nothing.
place_of='function place_of(text) { gsub("/+", "/", text); if (text != "/") sub("/$", "", text); return text }'
# The lines of the table that count, in rows: place, device, type, options.
lines() {
  awk "$place_of"'
  $1 !~ /^#/ && NF >= 3 {
    print place_of($2) "\t" $1 "\t" $3 "\t" (NF > 3 ? $4 : "defaults")
  }' /etc/fstab 2>/dev/null || :
}
# By the path, which begins a row.
row() { awk -F '\t' -v path="$1" '$1 == path' "$2" 2>/dev/null || :; }
marked() { awk -F '\t' 'index("," $4, ",x-swarmctl.")'; }
anyones() { lines | row "$1" - | marked; }
theirs() { lines | row "$1" - | awk -F '\t' '!index("," $4, ",x-swarmctl.")'; }
# Whether what is mounted there is what a baseline has mounted there: by what is declared, or by what the kernel called
# it then, since a label may be another device's by now; and a name may be another file system's. Without any record of
# it, and of a record that has no more than the place, the line says so. In a shell of its own, for its variables.
mine() (
  look "$1"
  [ -n "$live_source" ] || exit 1
  {
    row "$1" "$record/did"
    others_have did | while read -r file; do row "$1" "$file"; done
    [ -n "$(row "$1" "$record/did")$(row "$1" "$record/there")" ] || printf '%s\n' "$1"
  } | while IFS='	' read -r _ device type options source uuid; do
    if [ -z "$device" ]; then
      IFS='	' read -r _ device type options <<END
$(anyones "$1" | head -n 1)
END
    fi
    [ -n "$device" ] || continue
    if says "$device" "$type" "$options"; then echo yes; fi
    is_a "$type" || continue
    if [ -n "$uuid" ]; then
      if [ "$uuid" = "$(uuid_of "$(live_name)")" ] && rooted "$options"; then echo yes; fi
    elif [ "$source" = "$live_source" ]; then
      echo yes
    fi
  done | grep -q yes
)
"""
"""Needs `record`, and `others_have`."""
