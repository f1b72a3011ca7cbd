"""The shell of `swarm:hostbaseline:Mounts` that writes `/etc/fstab`."""

from __future__ import annotations

FSTAB = r"""
reload='' given_back=''
ours() { anyones "$1" | awk -F '\t' -v mark=",$mark," 'index("," $4 ",", mark)'; }
# Lines that were made comments for this baseline, each without what makes it one.
made_comments() {
  prefix="#swarmctl:$baseline# " awk '
    index($0, ENVIRON["prefix"]) == 1 { print substr($0, length(ENVIRON["prefix"]) + 1) }' /etc/fstab 2>/dev/null || :
}
# Whether somebody's own line is for the place, now or when it is given back.
somebodys() {
  [ -n "$(theirs "$1")" ] || made_comments | awk -v path="$1" "$place_of"'
    place_of($2) == path { found = 1 }
    END { exit !found }'
}
# table PLACES LINES: lines of ours go, those that were made comments are what they were, and those for the wanted
# places become comments; what another baseline has in the table for these is ours from then on. All baselines' lines
# are at the end, each after those for what it lies in, and before the first of somebody's for what lies in it:
# `mount -a` goes by the table.
table() {
  local text marked_lines
  one_at_a_time
  [ -e /etc/fstab ] || : >/etc/fstab
  given_back=$(made_comments | wanted=$1 awk "$place_of"'
    { $2 = place_of($2) }
    !index(ENVIRON["wanted"], " " $2 " ") && !index("," $4 ",", ",noauto,") && $3 != "swap" { print $2 }')
  text=$(prefix="#swarmctl:$baseline# " mark=",$mark," wanted=$1 awk "$place_of"'
    function is_wanted(line, field) {
      split(line, field)
      return index(ENVIRON["wanted"], " " place_of(field[2]) " ")
    }
    {
      line = $0
      if (index(line, ENVIRON["prefix"]) == 1) line = substr(line, length(ENVIRON["prefix"]) + 1)
      else if (match(line, /^#swarmctl:[a-z0-9-]+# /) && is_wanted(substr(line, RLENGTH + 1)))
        line = substr(line, RLENGTH + 1)
      if (line !~ /^[ \t]*#/) {
        split(line, field)
        if (index("," field[4] ",", ENVIRON["mark"])) next
        if (is_wanted(line) && index("," field[4], ",x-swarmctl.")) next
        if (is_wanted(line)) line = ENVIRON["prefix"] line
      }
      print line
    }' /etc/fstab && printf '%s' "$2" && echo x) || unwritten /etc/fstab
  marked_lines=$(printf '%s' "${text%x}" | awk '!/^[ \t]*#/ && index("," $4, ",x-swarmctl.")' | sort -k2,2)
  text=$(printf '%s' "${text%x}" | awk '/^[ \t]*#/ || !index("," $4, ",x-swarmctl.")' | marked_lines=$marked_lines awk '
    BEGIN {
      count = split(ENVIRON["marked_lines"], line, "\n")
      for (i = 1; i <= count; i++) { split(line[i], field); place[i] = field[2] }
    }
    $1 !~ /^#/ {
      for (i = 1; i <= count; i++)
        if (line[i] != "" && (index($2, place[i] "/") == 1 || index($1 "/", place[i] "/") == 1)) {
          print line[i]
          line[i] = ""
        }
    }
    { print }
    END { for (i = 1; i <= count; i++) if (line[i] != "") print line[i] }' && echo x) || unwritten /etc/fstab
  ! rewritten /etc/fstab "${text%x}" || reload=yes
  next_one
}
# Ours, each before what it is in; what was cut off before it came into the table, too.
listed() {
  {
    lines | awk -F '\t' -v mark=",$mark," 'index("," $4 ",", mark) { print $1 }'
    cut -f 1 "$record/did"
  } 2>/dev/null | sort -ru
}
"""
"""Needs `MOUNTED`, `mark` and what all aspects have."""
