"""Changes that undo themselves unless they are confirmed in time: what is run on a node for them, and what it says.

A guarded change is one script: it copies what is there, sets the deadline, and only then changes anything. A timer on
the node (`SERVICE`) brings the copies back when the deadline is over, whoever lives or not; see `guard_script`. While
the run lives it puts the deadline off; at its end it confirms, or has it undone at once. What failed or was killed in
the middle is undone, too, as soon as somebody asks. Whoever undoes first ends a change that goes on. Pure: no I/O.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from shlex import quote

from swarmctl.hosts.guard_script import BRING_BACK, COPY, FOLDER, IDLE, TIME, WATCH

SERVICE = "swarmctl-guard"
"""Name of the timer, a service of the node's: it comes back with the node."""
ARGV = ("sh", "-eu", "-s")
"""What the scripts of this module are given to."""
PROC = "/proc"
PART = re.compile(r"firewall|(interface|peers|file)\.[A-Za-z0-9_=+.-]{1,64}")
TURN = 30
"""Seconds that a change waits for another one of the same node."""
NO_TIMER = "no-timer"
"""Said when the timer has ended just before: start it again."""
_HEREDOC = "SWARMCTL_TEXT"


@dataclass(frozen=True, slots=True)
class Change:
    """One guarded change of one part of a node."""

    part: str
    """`firewall`, `interface.NAME` or `peers.NAME`."""
    seconds: int
    """After which it is undone."""
    script: str
    """What changes it: POSIX shell, run with -eu."""
    files: Mapping[str, str] = field(default_factory=dict)
    """Paths of files that are changed with it, by part: `file.NAME`."""


@dataclass(frozen=True, slots=True)
class Pending:
    """A change that is not confirmed yet."""

    token: int
    """Of the run that made it."""
    left: int
    """Seconds until it is undone; 0 when that goes on."""
    failing: tuple[str, ...] = ()
    """Parts that could not be brought back so far."""

    @property
    def text(self) -> str:
        """In words."""
        if self.failing:
            return f"a change is not confirmed, and {', '.join(self.failing)} could not be undone so far"
        return f"a change is not confirmed: it undoes itself in {self.left} s"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a node said."""

    word: str
    """`guarded`, `confirmed`, `armed`, `undone`, `failed`, `none`, `other`, `no-timer`; empty for anything else."""
    parts: tuple[str, ...] = ()
    """What was brought back, or could not be."""


def watch(folder: str = FOLDER, proc: str = PROC, idle: int = IDLE, tick: float = 1) -> tuple[str, ...]:
    """The timer, as a service: it looks every `tick` seconds, and ends after `idle` looks at nothing."""
    text = f"folder=$1 proc=$2 limit=$3 tick=$4\n{TIME}{COPY}{BRING_BACK}{WATCH}"
    return ("sh", "-c", text, SERVICE, folder, proc, str(idle), f"{tick:g}")


def change(it: Change, token: int, *, folder: str = FOLDER, proc: str = PROC) -> str:
    """The script of a change in the run of this token. Says `guarded` and makes it, or `no-timer` and does nothing.

    Raises ValueError for what is no part.
    """
    for part in (it.part, *it.files):
        if not PART.fullmatch(part):
            raise ValueError(f"no part of a node: {part!r}")
    return (
        _head(folder, proc)
        + COPY
        + BRING_BACK
        + f'root\nexec 9>>"$folder/change"\nflock -w {TURN} 9 || {{ echo {_BUSY} >&2; exit 1; }}\n'
        + "lock 20\n"
        + _watched()
        + _begin(token)
        + "".join(f"keep_file {part} {quote(path)}\n" for part, path in it.files.items())
        + f"keep_all {it.part}\n"
        + ': >"$folder/begun"\n'
        + f"arm {int(token)} {int(it.seconds)}\n"
        + 'rm -f "$folder/undone"\nunlock\necho guarded\n'
        + _whole(it.script)
    )


def _begin(token: int) -> str:
    """What is found is undone where it cannot stay; a run that was undone here changes nothing more here, so that it
    is never told that all of it stays. Copies of a change that never began are none of this one's."""
    return f"""
if pending; then
  if lost; then
    undo >/dev/null 2>&1 || {{ echo "an earlier change could not be undone so far" >&2; exit 1; }}
  fi
else
  rm -rf "$folder/touched" "$folder/spare"
fi
mkdir -p "$folder/touched" "$folder/spare"
chmod 0700 "$folder/touched" "$folder/spare"
if [ -s "$folder/undone" ] && read -r _ by _ <"$folder/undone" && [ "$by" = {int(token)} ]; then
  echo "what this run changed before was not confirmed in time and is undone" >&2
  exit 1
fi
"""


def _whole(script: str) -> str:
    """All of it or nothing: what fails is undone at once, with what this run has changed here before."""
    return f"""\
set +e
(
set -eu
{script}
) </dev/null
status=$?
set -e
lock 20
if [ "$status" != 0 ]; then
  undo >/dev/null 2>&1 || :
  exit "$status"
fi
rm -f "$folder/begun"
"""


def _watched() -> str:
    """The timer was started a moment ago: it tells its number when it is ready."""
    return f"""
tries=0
until [ -s "$folder/watcher" ] && kill -0 "$(cat "$folder/watcher")" 2>/dev/null; do
  tries=$((tries + 1))
  if [ "$tries" -ge 30 ]; then echo {NO_TIMER}; exit 0; fi
  unlock
  sleep 0.1
  lock 20
done
"""


def rearm(token: int, seconds: int, *, folder: str = FOLDER, proc: str = PROC) -> str:
    """Put the deadline off: `seconds` from now; also while the change goes on. Says `armed` or `other`; where it is
    over, `none` and what was undone, or `failed` and what could not be."""
    # Who holds `lock` must not wait for the end of a change, which may wait for `lock`.
    late = f"unlock\nif stop && lock 10; then\n  if pending && lost; then {_UNDO}; fi\n{_none(token)}fi\n"
    then = f"arm {int(token)} {int(seconds)}\necho armed\n"
    return _head(folder, proc) + BRING_BACK + "lock 10\n" + _mine(token, f"over || cut_off; then\n{late}", then)


def confirm(token: int, *, folder: str = FOLDER, proc: str = PROC) -> str:
    """Let the change stay, once it has come to its end. Says `confirmed`, or what `rearm` does."""
    hold = f'root\nexec 7>>"$folder/change"\nflock -w 10 7 || {{ echo {_BUSY} >&2; exit 1; }}\nlock 10\n'
    late = f"lost; then\n{_UNDO}\n{_none(token)}"
    return _head(folder, proc) + BRING_BACK + hold + _mine(token, late, "forget\necho confirmed\n")


def undo(*, folder: str = FOLDER, proc: str = PROC) -> str:
    """Bring back what was confirmed last, whichever run has changed it: `undone`, `failed` or `none`, and parts."""
    return (
        _head(folder, proc)
        + BRING_BACK
        + "root\nstop || exit 1\nlock 10\nif ! pending; then\n  echo none\n"
        + 'elif undo >&2; then echo "undone$done_"; else echo "failed$failed"; fi\n'
    )


_BUSY = "'another change or undo goes on'"
_UNDO = 'undo >&2 || { echo "failed$failed"; exit 0; }'


def _head(folder: str, proc: str) -> str:
    return f"umask 077\nfolder={quote(folder)} proc={quote(proc)}\n{TIME}"


def _mine(token: int, late: str, then: str) -> str:
    """`late`: the condition, and what is done then, of a change that cannot stay."""
    none = f"if ! pending; then\n{_none(token)}"
    return f'{none}elif [ "$token" != {int(token)} ]; then echo other\nelif {late}else\n{then}fi\n'


def _none(token: int) -> str:
    """Nothing is pending: say what of this run's was undone, if anything was."""
    return f"""\
  by='' parts=''
  if [ -s "$folder/undone" ]; then read -r _ by parts <"$folder/undone" || :; fi
  [ "$by" = {int(token)} ] || parts=
  echo "none $parts"
"""


def heredoc(argv: str, text: str) -> str:
    """A command of shell words with `text` on its standard input. Raises ValueError where that cannot be told apart."""
    if _HEREDOC in text:
        raise ValueError("the text has the word that ends it in it")
    return f"{argv} <<'{_HEREDOC}'\n{text.rstrip(chr(10))}\n{_HEREDOC}\n"


_ANSWER = re.compile(r"(guarded|confirmed|armed|undone|failed|none|other|no-timer)(?: ([^\n]*))?")


def parse(text: str) -> Answer:
    """The first line that a script of this module printed; what is none of its words is no answer."""
    match = _ANSWER.fullmatch(text.partition("\n")[0].rstrip()[:4096])
    if match is None:
        return Answer("")
    return Answer(match[1], tuple(word for word in (match[2] or "").split() if PART.fullmatch(word)))


READ = r"""
folder=FOLDER
if [ -s "$folder/deadline" ]; then
  cat /proc/uptime /proc/sys/kernel/random/boot_id "$folder/deadline"
  [ ! -s "$folder/failing" ] || cat "$folder/failing"
fi
""".replace("FOLDER", FOLDER)
"""For `hosts.reading`: time since boot, boot id, the deadline, and what it fails at."""


def pending(part: str, now: int) -> Pending | None:
    """What `READ` printed, at the Unix time `now` of that machine; None when nothing is pending.

    Raises ValueError for what makes no sense.
    """
    lines = part.strip().splitlines()
    if len(lines) < 3:
        return None  # it is over; it may have come to that between two of its lines
    up, boot = int(float(lines[0].split()[0])), lines[1].strip()
    token, seconds, boot_, up_, wall_ = lines[2].split()
    left = int(up_) - up if boot == boot_ else min(int(wall_) - now, int(seconds) - up)
    failing = tuple(word for word in lines[3].split()[2:] if PART.fullmatch(word)) if len(lines) > 3 else ()
    return Pending(int(token), max(0, left), failing)
