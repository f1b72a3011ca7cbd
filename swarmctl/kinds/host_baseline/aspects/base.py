"""What all aspects have in common: read in one call with the others, compared, and set by one script per machine."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import ClassVar

from swarmctl.backends.base import CommandFailed, Host, HostGone
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json
from swarmctl.kinds.base import (
    UNKNOWN,
    ChangeKind,
    Effect,
    Hosts,
    Impact,
    Observed,
    PropertyChange,
    differences,
    words,
)
from swarmctl.kinds.host_baseline.reading import READING, RECORDS, Seen

Inputs = Mapping[str, Json]
REPLACE = {"machine": "it goes away with its machine"}
TIMEOUT = 150.0
"""Seconds that setting one aspect may take; making a boot loader's configuration takes the longest."""
REFUSED = "@refused"
"""Begins the line by which a script tells in words why it can't go on."""
LONGEST = 400
"""Characters told of what a machine says."""

PRELUDE = r"""
export LC_ALL=C
umask 022
# What is to be undone before a refusal is told is the aspect's; what could not be is in `afterwards` then.
refusing() { :; }
refuse() {
  refusing
  printf '@refused\t%s%s\t%s\n' "$1" "${afterwards-}" "${2-}" >&2
  exit 3
}
systemd() { [ -d /run/systemd/system ]; }
begin() {
  # Whoever forgets the last of another baseline just now takes the folders away that are empty.
  for _ in 1 2 3 4 5 6 7 8 9; do ! mkdir -p "$record" 2>/dev/null || break; done
  [ -d "$record" ] || mkdir -p "$record"
  chmod 0700 "$records" "${record%/*}" "$record"
}
forget() {
  rm -rf -- "$record"
  rmdir -- "${record%/*}" "$records" "${records%/*}" 2>/dev/null || :
}
# others_have FILE: those of them that records of other baselines have for this aspect. What a baseline takes over from
# another one was before what that one's record says; what another one's record has is not given back, nor taken away.
others_have() (
  set +f
  for other in "$records"/*/"${record##*/}"/"$1"; do
    case $other in "$record"/*) continue ;; esac
    [ ! -e "$other" ] || printf '%s\n' "$other"
  done
)
# Other aspects, and other baselines, are set at the same time: what changes a file that is not ours alone, from its
# reading on, is done by one of them at a time.
one_at_a_time() {
  exec 9</etc
  flock -w 60 9 || refuse "something else changes files of the system all the time" "apply again"
}
next_one() { exec 9<&-; }
fresh() { printf '%s/.%s.swarmctl-new' "${1%/*}" "${1##*/}"; }
# What can't be written ends the script, also where only whether something has changed is asked and -e counts for
# nothing. The file itself stays as it was; what else there is to be undone for that is the aspect's.
undone() { :; }
unwritten() {
  rm -f "$(fresh "$1")" 2>/dev/null || :
  undone
  [ -w "${1%/*}" ] || refuse "$1 cannot be written, so it is as it was: ${1%/*} is read-only" \
    "see by \`findmnt -T ${1%/*}\` what is mounted there"
  refuse "$1 cannot be written, so it is as it was" "see by \`df ${1%/*}\` whether there is room, and apply again"
}
# Whatever else breaks off is undone, too; where that is for want of room, the place is told, since of that no program
# tells both what and where.
broken_off() { undone; }
writable() {
  { head -c 4096 /dev/zero >"$1/.swarmctl-room" && sync "$1/.swarmctl-room"; } 2>/dev/null || {
    rm -f "$1/.swarmctl-room" 2>/dev/null || :
    return 1
  }
  rm -f "$1/.swarmctl-room"
}
ended() {
  status=$?
  trap - EXIT
  case $status in 0 | 3) exit "$status" ;; esac
  set +e
  broken_off
  for place in "$record" /etc; do
    while [ ! -d "$place" ]; do place=${place%/*}; done
    writable "${place:-/}" || refuse "nothing can be written in ${place:-/}, so not all could be set" \
      "see by \`df -h ${place:-/}\` and \`df -i ${place:-/}\` whether there is room, and apply again"
  done
  exit "$status"
}
trap ended EXIT
nl='
'
holds() { [ "$(cat "$1" 2>/dev/null && echo x)" = "${2}x" ]; }
# Nobody else reads it before it has the rights of the file that it is for: a table may hold passwords of shares.
fill() {
  rm -f "$(fresh "$1")"
  { (umask 077 && printf '%s' "$2" >"$(fresh "$1")") && holds "$(fresh "$1")" "$2"; } 2>/dev/null || unwritten "$1"
}
settle() {
  { chmod "$2" "$(fresh "$1")" && sync "$(fresh "$1")"; } 2>/dev/null || unwritten "$1"
  mv -fT "$(fresh "$1")" "$1" 2>/dev/null || {
    # There was room for it. What keeps it is a mount of the file itself, or what chattr(1) sets.
    rm -f "$(fresh "$1")"
    undone
    refuse "$1 cannot be replaced, so it is as it was" \
      "see by \`findmnt $1\` and \`lsattr -d $1 ${1%/*}\` what keeps it as it is, and try again without that"
  }
}
# put PATH MODE TEXT: a file of ours, written only where it differs; says whether it did by its status.
put() {
  if [ -f "$1" ] && [ ! -L "$1" ] && holds "$1" "$3$nl"; then return 1; fi
  mkdir -p "${1%/*}" 2>/dev/null || unwritten "$1"
  fill "$1" "$3$nl"
  settle "$1" "$2"
}
# noted PATH LINE: one more line of a file of ours, all of it or nothing.
noted() {
  lines=
  [ ! -e "$1" ] || lines=$(cat "$1") || unwritten "$1"
  put "$1" 0600 "${lines:+$lines$nl}$2" || :
}
# rewritten PATH TEXT: in place of a file that is not only ours, where it differs. A link stays one: what it leads to is
# written, with the rights that that has.
rewritten() {
  set -- "$(readlink -f -- "$1")" "$2"
  if printf '%s' "$2" | cmp -s - "$1"; then return 1; fi
  fill "$1" "$2"
  mode=0644
  if [ -e "$1" ]; then
    { mode=$(stat -c %a "$1") && chown --reference="$1" "$(fresh "$1")"; } || unwritten "$1"
  fi
  settle "$1" "$mode"
}
"""


class Aspect(ABC):
    """One aspect of one machine as a resource; see `kinds.base.ResourceType`."""

    name: ClassVar[str]
    """As in addresses and records, such as `sysctl`."""
    library: ClassVar[str] = ""
    """Shell functions of its own."""

    @abstractmethod
    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What the machine has in place of the aspect's own inputs."""

    @abstractmethod
    def setting(self, inputs: Inputs) -> str:
        """Shell that makes it so; run with -eu, again and again without harm."""

    @abstractmethod
    def taking_away(self, inputs: Inputs) -> str:
        """Shell that takes away what was made, by the record alone."""

    @abstractmethod
    def items(self, inputs: Inputs) -> dict[str, str]:
        """What it sets, for people: what it is → to what."""

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """What a change disrupts; empty when nothing is."""
        return ""

    def settled(self, host: Host, inputs: Inputs, said: str) -> None:
        """What is left to be done by the host protocol after the script, by what that printed."""
        return

    def removed(self, host: Host) -> None:
        """The same before it is taken away, where no other baseline has it by then."""
        return

    def outputs(self) -> Sequence[str]:
        """None."""
        return ()

    def diff(self, old: Inputs, new: Inputs) -> Sequence[PropertyChange]:
        """Property by property."""
        return differences(old, new, replace=REPLACE)

    def create(self, hosts: Hosts, inputs: Inputs) -> Mapping[str, Json]:
        """Make it so, where it isn't; what was there before is kept in the record."""
        found = self.read(hosts, inputs)
        if found is None or self.diff(found.inputs, inputs):
            self._carry_out(hosts, inputs, self.setting(inputs), settle=True)
        return {}

    def update(self, hosts: Hosts, old: Inputs, new: Inputs) -> Mapping[str, Json]:
        """The same; the script changes only what differs, and gives back what is not declared any more.

        With another name it takes over what its record of before has, as from any other baseline.
        """
        self.create(hosts, new)
        if old["baseline"] != new["baseline"]:
            self.delete(hosts, {**new, "baseline": old["baseline"]})
        return {}

    def read(self, hosts: Hosts, inputs: Inputs) -> Observed | None:
        """As the machine has it; None when there is no record of it."""
        try:
            seen = hosts.look(inputs["host"], READING)
        except HostGone:
            return None
        if (inputs["baseline"], self.name) not in seen.records:
            return None
        return Observed({**inputs, **self.observe(seen, inputs)}, {})

    def delete(self, hosts: Hosts, inputs: Inputs) -> None:
        """Take away what it made, and give back what was there before."""
        try:
            seen = hosts.look(inputs["host"], READING)
            if (inputs["baseline"], self.name) in seen.records:
                if not any(aspect == self.name and name != inputs["baseline"] for name, aspect in seen.records):
                    self.removed(hosts.open(inputs["host"]))
                self._carry_out(hosts, inputs, self.taking_away(inputs))
        except HostGone:
            return

    def effects(self, old: Inputs | None, new: Inputs | None) -> Sequence[Effect]:
        """One line per thing that comes, changes or goes."""
        if old is not None and new is not None and any(change.replace for change in self.diff(old, new)):
            old = None
        before = self.items(old) if old is not None else {}
        after = self.items(new) if new is not None else {}
        found = []
        if old is not None and new is not None and old["baseline"] != new["baseline"]:
            text = f"record of the baseline {old['baseline']}: taken over by {new['baseline']}"
            found.append(Effect(ChangeKind.UPDATE, text))
        for name in sorted({*before, *after}):
            if name not in after:
                found.append(Effect(ChangeKind.DELETE, _told(name, before[name])))
            elif name not in before:
                found.append(Effect(ChangeKind.ADD, _told(name, after[name])))
            elif before[name] != after[name]:
                found.append(Effect(ChangeKind.UPDATE, f"{name}: {before[name]} → {after[name]}"))
        return found

    def impact(self, old: Inputs | None, new: Inputs | None) -> Impact:
        """What the aspect says."""
        return Impact(self.impact_of(old, new))

    def _carry_out(self, hosts: Hosts, inputs: Inputs, body: str, *, settle: bool = False) -> None:
        host = hosts.open(inputs["host"])
        script = self.script(inputs, body)
        try:
            done = host.run(("sh", "-eu", "-s"), stdin=script.encode(), timeout=TIMEOUT, check=False)
            if done.returncode:
                raise failure(host.name, self.name, done.returncode, done.stderr)
            if settle:
                self.settled(host, inputs, done.text)
        finally:
            hosts.changed(inputs["host"])

    def script(self, inputs: Inputs, body: str) -> str:
        """All that is run: read whole before any of it begins, and what it runs can't read the rest of it."""
        baseline = inputs["baseline"]
        head = f"baseline={quote(baseline)} records={RECORDS} record={RECORDS}/{quote(baseline)}/{self.name}\n"
        return f"{{\n{head}{PRELUDE}{self.library}{body}\n}} </dev/null\n"


def _told(name: str, what: str) -> str:
    return f"{name}: {what}" if what else name


def failure(host: str, aspect: str, status: int, stderr: bytes) -> SwarmError:
    """Why a script ended, in its own words where it found some."""
    lines = [line for line in stderr.decode("utf-8", "replace").splitlines() if line.strip()]
    for line in lines:
        word, *rest = line.split("\t")
        if word == REFUSED and len(rest) == 2:
            return CommandFailed(f"{host}: {_plain(rest[0])}", _plain(rest[1]))
    said = f": {_plain(lines[-1])}" if lines else ""
    return CommandFailed(f"{host}: setting {aspect} of the baseline ended with status {status}{said}")


def _plain(text: str) -> str:
    return "".join(sign if sign.isprintable() else "?" for sign in text)[:LONGEST]


def known(value: Json) -> str:
    """A value for people."""
    return "(known after apply)" if value is UNKNOWN else words(value)
