"""`swarm:hostbaseline:Sysctl`: settings of the running kernel, and a file that sets them at every start.

The file is read after `/etc/sysctl.d/99-sysctl.conf`, so that it has the last word. What a setting was before is in the
record, and is put back when it is not declared any more, unless somebody has changed it since.
"""

from __future__ import annotations

from fnmatch import fnmatchcase
from shlex import quote

from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import Seen

ONE_WAY = (
    "kernel.modules_disabled 1",
    "kernel.kexec_load_disabled 1",
    "kernel.kexec_load_limit_panic *",
    "kernel.kexec_load_limit_reboot *",
    "kernel.unprivileged_bpf_disabled 1",
    "kernel.yama.ptrace_scope 3",
)
"""Keys with values, as patterns, that the kernel takes and does not let go (Linux, Documentation/admin-guide/sysctl/
kernel.rst and LSM/Yama.rst); a limit may still be lowered."""


class SysctlType(Aspect):
    """Setting by setting."""

    name = "sysctl"
    library = r"""
file=/etc/sysctl.d/99-zz-swarmctl-$baseline.conf moved= fresh=
# What is in force and what the file says stay the same; else nothing would be given back later.
undone() {
  undone() { :; }
  printf '%s' "$moved" | while IFS='	' read -r key was; do
    [ "$(now "$key")" = "$was" ] || back "$key" "$was" || :
  done
  printf '%s' "$fresh" | while IFS= read -r line; do
    (put "$record/coming" 0600 "$(grep -vxF -e "$line" "$record/coming")") 2>/dev/null || :
  done
}
turned_down() {
  undone
  refuse "$1" "$2"
}
squeezed() { tr -s '\t\n ' '   ' <"$1" | sed 's/^ //; s/ $//'; }
at() { printf '/proc/sys/%s' "$(printf '%s' "$1" | tr ./ /.)"; }
say() { printf '%s\n' "$2" 2>/dev/null >"$(at "$1")"; }
# Of these two the one counts that was set last, and the other is 0 then, which is no value that it could be set to.
other() {
  case $1 in
    vm.dirty_bytes | vm.dirty_background_bytes) printf '%s' "${1%bytes}ratio" ;;
    vm.dirty_ratio | vm.dirty_background_ratio) printf '%s' "${1%ratio}bytes" ;;
    vm.overcommit_kbytes) echo vm.overcommit_ratio ;;
    vm.overcommit_ratio) echo vm.overcommit_kbytes ;;
  esac
}
# What a setting is, and where it is 0 for the other one's sake, what that is: `0 by KEY VALUE`.
now() {
  value=$(squeezed "$(at "$1")") twin=$(other "$1") by=0
  if [ "$value" = 0 ] && [ -n "$twin" ] && [ -e "$(at "$twin")" ]; then by=$(squeezed "$(at "$twin")"); fi
  if [ "$by" != 0 ]; then printf '0 by %s %s' "$twin" "$by"; else printf '%s' "$value"; fi
}
back() {
  case $2 in
    '0 by '*)
      by=${2#0 by }
      say "${by%% *}" "${by#* }"
      ;;
    *) say "$1" "$2" ;;
  esac
}
# What it was before the other one was set by the baseline, which may have been first.
original() {
  twin=$(other "$1")
  theirs=${twin:+$( { rows "$twin" "$record/before"; of_others "$twin"; } | head -n 1 | sed 's/^[^	]*	/x/')}
  case $theirs in
    "x0 by $1 "*) printf '%s' "${theirs##* }" ;;
    x*) printf '0 by %s %s' "$twin" "${theirs#x}" ;;
    *) now "$1" ;;
  esac
}
# A value that the kernel does not let go before it starts again.
one_way() {
  case "$1 $2" in
ONE_WAY) return 0 ;;
  esac
  return 1
}
possible() {
  [ -e "$(at "$1")" ] || refuse "the kernel has no setting $1" "see what \`sysctl -a\` prints on the machine"
  [ -w "$(at "$1")" ] && [ "$(stat -c %a "$(at "$1")" | tr -d 0145)" != "" ] ||
    refuse "the setting $1 cannot be changed there" "it is the kernel's of a machine around it, or read-only"
  head -c 4096 "$(at "$1")" >/dev/null 2>&1 || refuse "the setting $1 cannot be read" "leave it out"
}
ours() { awk -v key="$1" 'index($0, key " = ") == 1 { print substr($0, length(key) + 4) }' "$file" 2>/dev/null || :; }
rows() { awk -F '\t' -v key="$1" '$1 == key' "$2"; }
of_others() { others_have before | while read -r path; do rows "$1" "$path"; done | head -n 1; }
set_to() {
  was=$(now "$1")
  if [ -z "$(rows "$1" "$record/before")" ]; then
    row=$(of_others "$1")
    [ -n "$row" ] || row=$(printf '%s\t%s' "$1" "$(original "$1")")
    noted "$record/before" "$row"
  fi
  [ "$was" != "$2" ] || return 0
  # What is cut off before the file is written is known by the record to be ours. A key that is in the file already may
  # be set without room for that.
  line=$(printf '%s\t%s' "$1" "$2")
  if ! grep -qxF -e "$line" "$record/coming" 2>/dev/null; then
    if [ -z "$(ours "$1")" ]; then noted "$record/coming" "$line"; else
      (undone() { :; } && noted "$record/coming" "$line") 2>/dev/null || :
    fi
    fresh=$fresh$line$nl
  fi
  # Of several numbers the kernel takes those before the one that it turns down.
  moved=$(printf '%s\t%s' "$1" "$was")$nl$moved
  if ! say "$1" "$2"; then
    ! one_way "$1" "$was" || turned_down "the kernel keeps $1 at $was until the next restart" \
      "leave it out, apply, restart the machine, then declare it"
    turned_down "the kernel does not take '$2' for $1" "see what values it takes"
  fi
  is=$(squeezed "$(at "$1")")
  [ "$is" = "$2" ] ||
    turned_down "the kernel makes '$is' of '$2' for $1" "declare a value that it takes as it is"
}
# Whether it is what a baseline has set it to.
set_by_us() {
  is=$(squeezed "$(at "$1")")
  [ "$is" = "$(ours "$1")" ] || grep -qxF -e "$(printf '%s\t%s' "$1" "$is")" "$record/coming" 2>/dev/null
}
# What is not declared any more is what it was, unless it is not what it was set to. Doing it again changes nothing, so
# the record is written last, and not at all where nothing was given back.
give_back() {
  kept= given=
  while IFS='	' read -r key was; do
    case $wanted in *" $key "*) kept=${kept:+$kept$nl}$(printf '%s\t%s' "$key" "$was") && continue ;; esac
    [ -n "$key" ] || continue
    given=yes
    if [ -z "$(of_others "$key")" ] && [ -e "$(at "$key")" ] && set_by_us "$key"; then
      back "$key" "$was" || one_way "$key" "$is" ||
        turned_down "the setting $key cannot be put back to '$was'" \
          "see what it takes by now, set that, and apply again"
    fi
  done <"$record/before"
}
"""

    library = library.replace("ONE_WAY", "    " + " | ".join(f"'{one}'".replace("*'", "'*") for one in ONE_WAY))

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What is in force, and what the next start makes of it where that is something else.

        Both are told then, as no declared value is: what is set by hand and declared afterwards is not in the file yet.
        """
        found = {}
        for key, filed, live in seen.of("sysctl", inputs["baseline"]):
            is_, will = _squeezed(live), _squeezed(filed)
            found[key] = is_ if is_ == will else f"{is_} ({will} after a restart)"
        return {"values": found}

    def setting(self, inputs: Inputs) -> str:
        """Nothing is set before all is known to be possible."""
        values = sorted(inputs["values"].items())
        lines = [f"possible {quote(key)}" for key, _ in values]
        lines += ["begin", '[ -e "$record/before" ] || : >"$record/before"']
        lines += [f"set_to {quote(key)} {quote(value)}" for key, value in values]
        lines += [f"wanted={quote(' '.join(['', *(key for key, _ in values), '']))}", "give_back"]
        lines += ['[ -z "$given" ] || put "$record/before" 0600 "$kept" || :']
        text = "\n".join(f"{key} = {value}" for key, value in values)
        return "\n".join([*lines, f'put "$file" 0644 {quote(text)} || :', 'rm -f -- "$record/coming"'])

    def taking_away(self, inputs: Inputs) -> str:
        """Settings are what they were."""
        return 'wanted=\' \'\n[ ! -e "$record/before" ] || give_back\nrm -f -- "$file"\nforget'

    def items(self, inputs: Inputs) -> dict[str, str]:
        """By key."""
        return {f"sysctl {key}": known(value) for key, value in inputs.get("values", {}).items()}

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """What no apply can take back."""
        before = old.get("values", {}) if old is not None else {}
        after = new.get("values", {}) if new is not None else {}
        node = (new or old or {}).get("node", "")
        stays = [f"{key} {before[key]}" for key in sorted(before) if key not in after and _one_way(key, before[key])]
        comes = [
            f"{key} {after[key]}"
            for key in sorted(after)
            if _one_way(key, after[key]) and before.get(key) != after[key]
        ]
        told = [f"{', '.join(stays)} counts on {node} until its next restart"] if stays else []
        told += [f"{', '.join(comes)} can't be taken back on {node} before its next restart"] if comes else []
        return "; ".join(told)


def _one_way(key: str, value: Json) -> bool:
    return any(fnmatchcase(f"{key} {value}", pattern) for pattern in ONE_WAY)


def _squeezed(text: str) -> str:
    return " ".join(text.split())


SYSCTL = SysctlType()
