"""`swarm:hostbaseline:Kernel`: parameters of the kernel's command line, by a file of GRUB's of our own.

Debian's and Ubuntu's `grub-mkconfig` reads `/etc/default/grub.d/*.cfg` after `/etc/default/grub`, so nothing that was
there is touched, and what is added goes with the file.
"""

from __future__ import annotations

import re
from shlex import quote

from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import Seen

_LINE = re.compile(r'GRUB_CMDLINE_LINUX="\$GRUB_CMDLINE_LINUX ([^"\\$`]*)"')


class KernelType(Aspect):
    """The file, and the boot loader's configuration made from it."""

    name = "kernel"
    library = r"""
file=/etc/default/grub.d/zz-swarmctl-$baseline.cfg
bootable() {
  command -v update-grub >/dev/null ||
    refuse "there is no update-grub, so kernel parameters cannot be set" \
      "declare them for machines that GRUB starts, with Debian's or Ubuntu's tools"
}
has() { tr -s ' \t' '\n\n' </boot/grub/grub.cfg | grep -qxF -e "$1"; }
# A file that can't be written leaves all as it was, the note too.
undone() { [ "$was" = pending ] || rm -f "$record/pending"; }
# What has broken off elsewhere may have changed the file already, so there the note stays.
broken_off() { :; }
# Whatever breaks off before GRUB's configuration is made from the file leaves a note, and all counts as not set.
made() {
  update-grub >"$record/log" 2>&1 || return 1
  rm -f "$record/pending"
}
"""

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What the next start will have."""
        found: list[str] = []
        for filed, _running in seen.of("kernel", inputs["baseline"]):
            match = _LINE.search(filed)
            found = match[1].split() if match else []
        return {"parameters": found}

    def setting(self, inputs: Inputs) -> str:
        """When the boot loader's configuration can't be made, all is as it was."""
        parameters = inputs["parameters"]
        text = f'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {" ".join(parameters)}"'
        checks = "\n".join(f"has {quote(one)} || lost={quote(one)}" for one in parameters)
        return f"""
bootable
begin
was=
if [ -e "$record/pending" ]; then
  was=pending
else
  rm -f "$record/.file"
  [ ! -e "$file" ] || cp -p "$file" "$record/.file" 2>/dev/null || unwritten "$record/.file"
  : >"$record/pending"
fi
put "$file" 0644 {quote(text)} || :
lost=
if made; then
{checks}
else
  lost=all
fi
if [ -n "$lost" ]; then
  if [ -e "$record/.file" ]; then
    begun=$was was=pending
    put "$file" 0644 "$(cat "$record/.file")" || :
    was=$begun
    rm -f "$record/.file"
  else
    rm -f -- "$file"
  fi
  # What failed at once has left the configuration as it was; after anything else it has to be made from the file.
  made || [ "$was$lost" != all ] || rm -f "$record/pending"
  if [ ! -e "$file" ] && [ ! -e "$record/pending" ]; then forget; fi
  if [ "$lost" = all ]; then
    refuse "update-grub failed, so the kernel's parameters are as they were" "run update-grub there to see why"
  fi
  refuse "GRUB's configuration does not take the parameter $lost, so all are as they were" \\
    "see whether /etc/default/grub sets GRUB_CMDLINE_LINUX after other files"
fi
rm -f "$record/.file"
"""

    def taking_away(self, inputs: Inputs) -> str:
        """The file goes, and the configuration is made without it."""
        return (
            'if [ -e "$file" ] || [ -e "$record/pending" ]; then\n  : >"$record/pending"\n  rm -f -- "$file"\n'
            '  made || refuse "update-grub failed" "run update-grub there to see why"\nfi\nforget'
        )

    def items(self, inputs: Inputs) -> dict[str, str]:
        """The line: its order counts."""
        parameters = inputs.get("parameters", [])
        text = " ".join(map(known, parameters)) if isinstance(parameters, (list, tuple)) else known(parameters)
        return {"kernel parameters": text} if text else {}

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """They hold from the next start on."""
        before = old.get("parameters") if old is not None else []
        after = new.get("parameters") if new is not None else []
        node = (new or old or {})["node"]
        return f"{node} has to be restarted for its kernel parameters; nothing restarts it" if before != after else ""


KERNEL = KernelType()
