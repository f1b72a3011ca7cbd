"""`swarm:hostbaseline:Swap`: nothing is swapped out, now and after every restart.

Lines of `/etc/fstab` for swap become comments, and systemd's `swap.target` is masked, so that what its generators find
by themselves (swap partitions, zram) is not begun either. What was in use is in the record, and is again afterwards.
"""

from __future__ import annotations

from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs
from swarmctl.kinds.host_baseline.reading import Seen


class SwapType(Aspect):
    """All of it, or none."""

    name = "swap"
    library = r"""
turned_off='' reload='' failed=''
# Area and priority of each that is in use; a name with a blank in it is told with \040.
active() { awk 'NR > 1 { gsub(/\\040/, " ", $1); gsub(/\\134/, "\\", $1); print $1 "\t" $5 }' /proc/swaps; }
is_active() { active | cut -f 1 | grep -qxF -e "$1"; }
# on AREA PRIORITY: what the kernel has chosen itself is less than 0, and no priority that can be asked for.
on() {
  if is_active "$1" || [ ! -e "$1" ]; then return 0; fi
  case ${2-} in
    '' | -*) swapon "$1" 2>/dev/null || : ;;
    *) swapon -p "$2" "$1" 2>/dev/null || : ;;
  esac
}
all_on() { while IFS='	' read -r area priority; do [ -z "$area" ] || on "$area" "$priority"; done; }
table() {
  [ -e /etc/fstab ] || return 0
  one_at_a_time
  text=$(prefix="#swarmctl:$baseline/swap# " off=$1 awk '
    {
      line = $0
      if (match(line, /^#swarmctl:[a-z0-9-]+\/swap# /)) line = substr(line, RLENGTH + 1)
      split(line, field)
      if (ENVIRON["off"] == "yes" && line !~ /^[ \t]*#/ && field[3] == "swap") line = ENVIRON["prefix"] line
      print line
    }' /etc/fstab && echo x) || unwritten /etc/fstab
  ! rewritten /etc/fstab "${text%x}" || reload=yes
  next_one
}
# What was in use is in use again, also where only some of it could be turned off.
refusing() { undone; }
undone() { [ -z "$turned_off" ] || printf '%s\n' "$turned_off" | all_on; }
masked() { [ "$(systemctl is-enabled swap.target 2>/dev/null)" = masked ]; }
# asked COMMAND…: of systemd. That it does not do it is told when all else is done, and no reason to undo anything.
asked() {
  said=$(systemctl "$@" 2>&1) && return 0
  failed="\`systemctl $*\` failed: $(printf '%s' "$said" | head -n 1 | cut -c 1-200)"
}
ending() {
  turned_off=''
  [ -z "$reload" ] || ! systemd || asked daemon-reload
  [ -z "$failed" ] || refuse "$failed" "all else is done; see what it prints there"
}
"""

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """`off` when none is in use, and none will be after a restart."""
        for active, listed, masked in seen.of("swap", inputs["baseline"]):
            if (active, listed, masked) == ("0", "0", "yes"):
                return {"swap": "off"}
        return {"swap": "on"}

    def setting(self, inputs: Inputs) -> str:
        """What can't be brought back into memory is left as it is, and told."""
        return r"""
begin
if [ ! -e "$record/active" ]; then
  taken=$(others_have active | head -n 1)
  if [ -n "$taken" ]; then
    put "$record/.active" 0600 "$(cat "$taken")" || :
    [ ! -e "${taken%/*}/masked" ] || : >"$record/masked"
  else
    put "$record/.active" 0600 "$(active)" || :
    if systemd && masked; then : >"$record/masked"; fi
  fi
  mv "$record/.active" "$record/active"
fi
turned_off=$(active)
if [ -n "$turned_off" ]; then
  swapoff -a 2>"$record/log" || :
  [ -z "$(active)" ] || refuse "swap cannot be turned off: $(tail -n 1 "$record/log" | cut -c 1-200)" \
    "free some memory, and apply again"
fi
table yes
if systemd && ! masked; then asked mask -q swap.target; fi
ending
"""

    def taking_away(self, inputs: Inputs) -> str:
        """As it was before."""
        return r"""
if [ -n "$(others_have active)" ]; then
  forget
  exit 0
fi
table no
if systemd && [ ! -e "$record/masked" ]; then asked unmask -q swap.target; fi
[ ! -e "$record/active" ] || all_on <"$record/active"
forget
ending
"""

    def items(self, inputs: Inputs) -> dict[str, str]:
        """One."""
        return {"swap": str(inputs["swap"])} if "swap" in inputs else {}

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """What is swapped out comes back into memory."""
        if new is not None and (old is None or old.get("swap") != new["swap"]):
            return f"what {new['node']} has swapped out goes back into its memory"
        return ""


SWAP = SwapType()
