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
active() { awk 'NR > 1 { print $1 }' /proc/swaps; }
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
  rewritten /etc/fstab "${text%x}" || { next_one; return 0; }
  next_one
  ! systemd || systemctl daemon-reload
}
# What was in use is in use again.
undone() {
  [ -z "${turned_off-}" ] || printf '%s\n' "$turned_off" | while read -r area; do swapon "$area" 2>/dev/null || :; done
}
masked() { [ "$(systemctl is-enabled swap.target 2>/dev/null)" = masked ]; }
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
if systemd && ! masked; then systemctl mask -q swap.target; fi
"""

    def taking_away(self, inputs: Inputs) -> str:
        """As it was before."""
        return r"""
if [ -n "$(others_have active)" ]; then
  forget
  exit 0
fi
table no
if systemd && [ ! -e "$record/masked" ]; then systemctl unmask -q swap.target; fi
if [ -e "$record/active" ]; then
  while read -r area; do
    [ -n "$area" ] || continue
    active | grep -qxF -e "$area" || [ ! -e "$area" ] || swapon "$area" 2>/dev/null || :
  done <"$record/active"
fi
forget
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
