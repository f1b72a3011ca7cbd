"""`swarm:hostbaseline:Users`: accounts for people, what they may, and the keys that log in as them.

An account that was there before stays when it is not declared any more, with the shell and the keys that it had; one
that was made goes, and leaves its home folder, shut. Files in homes are read and written with that user's own rights,
so that nothing a user puts in their place leads to files of others. The user that swarmctl logs in with keeps its
account, its rights and every key that it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import Seen

LONGEST_KEY = 120
"""Characters told of a line of `authorized_keys`."""


class UsersType(Aspect):
    """Account by account."""

    name = "users"
    library = r"""
entry() { awk -F: -v user="$1" '$1 == user' /etc/passwd | head -n 1; }
about() {
  IFS=: read -r _ _ uid gid _ home shell_ <<END
$(entry "$1")
END
}
# As that user, and not for long: a pipe or a file system of its own in the place of a file would never answer.
as() { timeout -k 1 10 setpriv --reuid="$uid" --regid="$gid" --clear-groups -- "$@"; }
keys_of() {
  as sh -c 'cd "$1/.ssh" && [ -f authorized_keys ] && head -c 262144 -- authorized_keys' sh "$home" 2>/dev/null || :
}
write_keys() {
  printf '%s\n' "$1" | as sh -c '
    umask 077
    cd "$1" && mkdir -p .ssh && rm -rf .ssh/.swarmctl.new && cat >.ssh/.swarmctl.new &&
      mv -fT .ssh/.swarmctl.new .ssh/authorized_keys
  ' sh "$home"
}
# What fails with one account keeps no other from being changed or taken away; it is told at the end.
missed= mend=
miss() {
  missed=${missed:+$missed; }$1
  mend=${mend:-$2}
}
all_done() { [ -z "$missed" ] || refuse "$missed" "$mend"; }
shell_missed() {
  miss "the shell of $user cannot be changed" "see by \`df /etc\` whether there is room, and apply again"
}
keys_missed() { miss "the SSH keys of $user cannot be written" "see whether $home is its own, and not full"; }
first() { awk '$1 == "UID_MIN" { print $2; found = 1; exit } END { if (!found) print 1000 }' /etc/login.defs; }
possible() {
  [ -x "$2" ] || refuse "there is no shell $2 for the user $1" "install its package, or declare another shell"
  [ "$3" = false ] || command -v visudo >/dev/null ||
    refuse "there is no sudo for the user $1" "declare \`packages: {sudo: present}\`"
  if [ -z "$(entry "$1")" ]; then
    ! getent passwd "$1" >/dev/null ||
      refuse "the user $1 is there, and not of this machine's own" "choose another name"
  else
    about "$1"
    [ "$uid" -ge "$(first)" ] || refuse "the user $1 is one of the system's own (uid $uid)" "choose another name"
    [ "$1" != "$login" ] || [ "$2" = "$shell_" ] || [ "$(as "$2" -c 'echo in' 2>/dev/null)" = in ] ||
      refuse "swarmctl logs in as $1, for whom the shell $2 would run no command" "declare a shell such as /bin/sh"
  fi
}
# The record of one that was there is whole or not there: with half of it, too much would be given back, or nothing.
whole() { [ -e "$mine/made" ] || { [ -s "$mine/shell" ] && [ -e "$mine/keys" ]; }; }
of_others() { others_have "$user" | while read -r mine; do ! whole || printf '%s\n' "$mine"; done | head -n 1; }
adopt() {
  rm -rf -- "$record/.new" "$mine"
  taken=$(of_others)
  if [ -n "$taken" ]; then
    { mkdir "$record/.new" && cp -p "$taken"/* "$record/.new"; } 2>/dev/null || unwritten "$mine"
  else
    put "$record/.new/shell" 0600 "$shell_" || :
    put "$record/.new/keys" 0600 "$(keys_of)" || :
  fi
  mv -T "$record/.new" "$mine"
}
account() {
  mine=$record/$user skip=
  if [ -n "$(entry "$user")" ]; then
    about "$user"
    whole || adopt
    [ ! -e "$mine/made" ] || open_home
  else
    mkdir -p "$mine"
    rm -f "$mine/shell" "$mine/keys"
    : >"$mine/made"
    useradd -m -s "$shell" -- "$user" 2>"$mine/log" || {
      why=$(tail -n 1 "$mine/log")
      rm -rf "$mine"
      miss "the user $user cannot be made: $why" \
        "see what \`getent group $user\`, /etc/login.defs and \`df /etc /home\` say there"
      skip=1
      return 0
    }
    about "$user"
    open_home
  fi
  [ "$shell_" = "$shell" ] || usermod -s "$shell" -- "$user" || shell_missed
}
# The home of an account that goes is root's and shut, since its number may become somebody else's.
shut_home() {
  [ -d "$home" ] && [ ! -L "$home" ] && [ "$(stat -c %u "$home")" = "$uid" ] || return 0
  chown root:root "$home"
  chmod 0700 "$home"
  rm -rf -- "$home/.swarmctl-number" "$(fresh "$home/.swarmctl-number")"
  put "$home/.swarmctl-number" 0600 "$uid $gid" || :
}
open_home() {
  [ -f "$home/.swarmctl-number" ] && [ "$(stat -c %u "$home")" = 0 ] || return 0
  read -r number group <"$home/.swarmctl-number"
  chown -RhP --from="$number" "$uid" "$home"
  chown -RhP --from=":$group" ":$gid" "$home"
  chown -h "$uid:$gid" "$home"
  rm -f -- "$home/.swarmctl-number" || :
}
may() {
  file=/etc/sudoers.d/swarmctl-$user
  if [ "$sudo" = true ]; then
    put "$mine/sudo" 0600 "$user ALL=(ALL:ALL) NOPASSWD: ALL" || :
    visudo -cqf "$mine/sudo" >/dev/null || refuse "sudo does not take the rule of $user"
    mkdir -p /etc/sudoers.d
    put "$file" 0440 "$(cat "$mine/sudo")" || :
  else
    may_not
  fi
}
may_not() {
  file=/etc/sudoers.d/swarmctl-$user skip=
  [ -e "$file" ] || return 0
  if [ "$user" != "$login" ]; then rm -f -- "$file"; return 0; fi
  if otherwise; then rm -f -- "$file"; return 0; fi
  miss "swarmctl logs in as $user, which would lose sudo" "give it sudo by another file first"
  skip=1
}
# Whether sudo is had without the file, tried where only this one command sees it empty: it may be the only rule, and
# whatever breaks off meanwhile, it was never away.
otherwise() {
  : >"$record/.empty"
  chmod 0440 "$record/.empty"
  timeout -k 1 20 unshare -m sh -c 'mount --bind "$1" "$2" && shift 2 && exec "$@"' sh "$record/.empty" "$file" \
    setpriv --reuid="$uid" --regid="$gid" --clear-groups -- sudo -k -n true 2>/dev/null
}
# In the declared order; of the user that swarmctl logs in with, after those it has.
let_in() {
  now=$(keys_of)
  if [ "$user" = "$login" ]; then
    keys=$( { printf '%s\n' "$now"; printf '%s\n' "$1"; } | awk 'NF && !seen[$0]++')
  else
    keys=$1
  fi
  # What is about to be set is known as ours before it is, and what was set until it is.
  put "$mine/next" 0600 "$keys" || :
  [ "$now" = "$keys" ] || write_keys "$keys" || { keys_missed; return 0; }
  mv -f "$mine/next" "$mine/set"
}
ours() {
  now=$(keys_of)
  for one in "$mine/set" "$mine/next"; do
    if [ -e "$one" ] && [ "$now" = "$(cat "$one")" ]; then return 0; fi
  done
  return 1
}
give_back() {
  mine=$record/$user
  if [ -n "$(of_others)" ]; then rm -rf -- "$mine"; return 0; fi
  if [ -n "$(entry "$user")" ]; then
    about "$user"
    if [ "$user" = "$login" ] && [ -e "$mine/made" ]; then
      miss "swarmctl logs in as $user, so the account is not removed" "log in as another user first"
      return 0
    fi
    may_not
    [ -z "$skip" ] || return 0
    if [ -e "$mine/made" ]; then
      userdel -- "$user" 2>"$mine/log" || {
        why=$(tail -n 1 "$mine/log")
        miss "the user $user cannot be removed: $why" "end what it runs, and apply again"
        return 0
      }
      shut_home
    elif whole; then
      read -r before <"$mine/shell"
      [ "$shell_" = "$before" ] || usermod -s "$before" -- "$user" || { shell_missed; return 0; }
      if [ "$user" != "$login" ] && ours && [ "$(cat "$mine/keys")" != "$now" ]; then
        write_keys "$(cat "$mine/keys")" || { keys_missed; return 0; }
      fi
    fi
  fi
  rm -f -- "/etc/sudoers.d/swarmctl-$user"
  rm -rf -- "$mine"
}
others() {
  for mine in "$record"/*/; do
    [ -d "$mine" ] || continue
    user=${mine%/}
    user=${user##*/}
    case $1 in *" $user "*) ;; *) give_back ;; esac
  done
}
"""

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """Accounts as they are; keys that a declared one may have besides are not told."""
        found = {}
        for user, shell, sudo, keys in seen.of("user", inputs["baseline"]):
            lines = sorted({line.strip() for line in keys.splitlines() if line.strip()})
            if user == login(inputs):
                declared = inputs["users"].get(user, {}).get("authorizedKeys", [])
                lines = [line for line in lines if line in declared]
            rule = f"{user} ALL=(ALL:ALL) NOPASSWD: ALL"
            found[user] = {"sudo": sudo.strip() == rule, "shell": shell, "authorizedKeys": lines}
        return {"users": found}

    def setting(self, inputs: Inputs) -> str:
        """Nothing is changed before all is known to be possible."""
        users = sorted(inputs["users"].items())
        lines = [f"login={quote(login(inputs))}"]
        lines += [f"possible {quote(name)} {quote(it['shell'])} {_flag(it)}" for name, it in users]
        lines.append("begin")
        for name, it in users:
            keys = quote("\n".join(it["authorizedKeys"]))
            lines.append(f"user={quote(name)} shell={quote(it['shell'])} sudo={_flag(it)}")
            lines.append(f'account\nif [ -z "$skip" ]; then\n  may\n  let_in {keys}\nfi')
        return "\n".join([*lines, f"others {quote(' '.join(['', *(name for name, _ in users), '']))}", "all_done"])

    def taking_away(self, inputs: Inputs) -> str:
        """Each is given back."""
        return f"login={quote(login(inputs))}\nothers ' '\nall_done\nforget"

    def items(self, inputs: Inputs) -> dict[str, str]:
        """One line an account, and one a key."""
        found = {}
        for name, it in inputs.get("users", {}).items():
            found[f"user {name}"] = f"{'sudo, ' if it['sudo'] else ''}{known(it['shell'])}"
            found |= {f"user {name}, key {_short(key)}": "" for key in it["authorizedKeys"]}
        return found

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """Who is let in no more."""
        before = old.get("users", {}) if old is not None else {}
        after = new.get("users", {}) if new is not None else {}
        gone = [name for name in sorted(before) if name not in after]
        less = [
            name
            for name in sorted(before)
            if name in after
            and (
                (before[name]["sudo"] and not after[name]["sudo"])
                or {*before[name]["authorizedKeys"]} - {*after[name]["authorizedKeys"]}
            )
        ]
        told = [f"{', '.join(gone)} cannot log in any more, where the baseline made it; homes stay"] if gone else []
        told += [f"{', '.join(less)} may do less"] if less else []
        return "; ".join(told)


def login(inputs: Inputs) -> str:
    """The user that swarmctl logs in with on that machine; empty where it does not log in."""
    host = inputs.get("host")
    return str(host.get("user") or "") if isinstance(host, Mapping) else ""


def _flag(user: Inputs) -> str:
    return "true" if user["sudo"] else "false"


def _short(key: str) -> str:
    """A key by its type, its end and its comment; a line that a machine has in the file may be any text instead."""
    kind, _, rest = key.partition(" ")
    blob, *comment = rest.split(" ", 1)
    told = " ".join([kind, f"…{blob[-12:]}", *comment]) if blob else kind
    return "".join(sign if sign.isprintable() else "?" for sign in told)[:LONGEST_KEY]


USERS = UsersType()
