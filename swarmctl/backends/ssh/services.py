"""Processes that are kept running on a machine, by the scripts that start, stop and list them there. Pure.

Where systemd is the machine's first process (sd_booted(3)) they are its units, enabled, so that they start with the
machine. Elsewhere they are processes of their own session, noted in `/run/swarmctl` with their start time: an id alone
may belong to somebody else by now. Either way what they write is in `/var/log/swarmctl/NAME.log`. A fence lets changes
of one run go side by side, so starting and stopping hold a lock: of two that start the same, the second finds it.
"""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Sequence

from swarmctl.backends.base import ServiceStatus
from swarmctl.backends.ssh.shell import ENVIRONMENT

LOGS = "/var/log/swarmctl"
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_LINE = re.compile(r"(\S{1,64}) (\d{1,10})")

_COMMON = r"""
set -eu
logs=/var/log/swarmctl notes=/run/swarmctl/services units=/etc/systemd/system
alone() {
  mkdir -p "$notes"
  exec 9>>"$notes.lock"
  flock -w 40 9 || { echo "another start or stop of a service does not end" >&2; exit 1; }
}
# The process's start time, in ticks since boot (proc_pid_stat(5), field 22); its name may hold blanks and brackets.
started() { sed -n 's/.*) //p' "/proc/$1/stat" 2>/dev/null | { read -r state rest || exit 1
  case $state in [ZX]) exit 1 ;; esac; set -- $rest; shift 18; echo "$1"; }; }
running() {
  [ -f "$notes/$1" ] || return 1
  { read -r pid; read -r start; read -r digest_; } <"$notes/$1"
  [ "$(started "$pid")" = "$start" ]
}
stop() {
  if running "$1"; then
    kill -s TERM -- "-$pid" 2>/dev/null || :
    tries=0
    while running "$1"; do
      tries=$((tries + 1))
      [ "$tries" -lt 30 ] || kill -s KILL -- "-$pid" 2>/dev/null || :
      [ "$tries" -lt 100 ] || { echo "$1 does not end" >&2; exit 1; }
      sleep 0.1
    done
  fi
  rm -f -- "$notes/$1"
}
"""
_START = (
    _COMMON
    + r"""
name=$1 digest=$2 unit=$3
shift 3
alone
mkdir -p "$logs"
if [ -d /run/systemd/system ]; then
  file=$units/swarmctl-$name.service
  # A note stands from before the unit is written until it runs: cut off in between, the next start does it all again.
  if [ ! -f "$notes/$name.begun" ] && [ "$(cat "$file" 2>/dev/null)" = "$unit" ] &&
    systemctl is-active -q "swarmctl-$name"; then exit 0; fi
  : >"$notes/$name.begun"
  printf '%s\n' "$unit" >"$units/.swarmctl-$name.new"
  sync "$units/.swarmctl-$name.new"
  mv -fT "$units/.swarmctl-$name.new" "$file"
  systemctl daemon-reload
  systemctl enable -q "swarmctl-$name"
  systemctl restart "swarmctl-$name"
  rm -f -- "$notes/$name.begun"
  exit 0
fi
if running "$name" && [ "$digest_" = "$digest" ]; then exit 0; fi
stop "$name"
command -v "$1" >/dev/null || { echo "$1: no such program" >&2; exit 127; }
# It notes itself before it becomes the command: what was begun is never without a note.
setsid sh -c '
  note=$1 digest=$2; shift 2
  stat=$(sed "s/.*) //" "/proc/$$/stat"); start=$(echo "$stat" | cut -d " " -f 20)
  printf "%s\n%s\n%s\n" "$$" "$start" "$digest" >"$note.new" && mv -f "$note.new" "$note" && exec "$@"
' swarmctl-service "$notes/$name" "$digest" "$@" </dev/null >>"$logs/$name.log" 2>&1 9>&- &
tries=0
until [ -f "$notes/$name" ]; do
  tries=$((tries + 1))
  [ "$tries" -lt 100 ] || { echo "$name did not start" >&2; exit 1; }
  sleep 0.05
done
"""
)
_STOP = (
    _COMMON
    + r"""
alone
if [ -d /run/systemd/system ] && [ -f "$units/swarmctl-$1.service" ]; then
  systemctl disable -q --now "swarmctl-$1"
  rm -f -- "$units/swarmctl-$1.service" "$notes/$1.begun"
  systemctl daemon-reload
  systemctl reset-failed -q "swarmctl-$1" 2>/dev/null || :
  exit 0
fi
stop "$1"
"""
)
_LIST = (
    _COMMON
    + r"""
if [ -d /run/systemd/system ]; then
  for file in "$units"/swarmctl-*.service; do
    grep -q '^X-Swarmctl=service$' "$file" 2>/dev/null || continue
    name=${file##*/swarmctl-}
    name=${name%.service}
    echo "$name $(systemctl show -p MainPID --value "swarmctl-$name")"
  done
  exit 0
fi
for file in "$notes"/*; do
  [ -f "$file" ] || continue
  case $file in *.new) continue ;; esac
  if running "${file##*/}"; then echo "${file##*/} $pid"; else echo "${file##*/} 0"; fi
done
"""
)
_TAIL = r"""
for file in /var/log/swarmctl/*.log; do
  [ -f "$file" ] || continue
  echo "$1 ${file##*/}"
  tail -c 1048576 -- "$file" | tail -n "$2" | cut -b 1-4096
done
"""


def start(name: str, argv: Sequence[str]) -> list[str]:
    """The command that keeps `argv` running under a name. Raises ValueError for what is no name."""
    digest = hashlib.sha256("\0".join(argv).encode("utf-8", "surrogateescape")).hexdigest()
    return ["sh", "-c", _START, "swarmctl-start", checked(name), digest, unit(name, argv), *argv]


def stop(name: str) -> list[str]:
    """The command that ends it and waits until it is gone. Raises ValueError for what is no name."""
    return ["sh", "-c", _STOP, "swarmctl-stop", checked(name)]


def listing() -> list[str]:
    """The command that lists what was started and not stopped, for `listed`."""
    return ["sh", "-c", _LIST, "swarmctl-services"]


def listed(output: bytes) -> list[ServiceStatus]:
    """What `listing` says; lines that it could not have written are left out."""
    found = [_LINE.fullmatch(line) for line in output.decode("utf-8", "replace").splitlines()]
    return [ServiceStatus(it[1], it[2] != "0", int(it[2]) or None) for it in found if it and _NAME.fullmatch(it[1])]


def tails(nonce: str, count: int) -> list[str]:
    """The command that writes the last lines of every log, for `lines`; `nonce` tells its headings from the logs."""
    return ["sh", "-c", _TAIL, "swarmctl-logs", nonce, str(max(0, count))]


def lines(output: bytes, nonce: str) -> list[tuple[str, str]]:
    """The lines with the name of their log."""
    found, name = [], ""
    for line in output.decode("utf-8", "replace").split("\n"):
        if line.startswith(f"{nonce} "):
            name = line.removeprefix(f"{nonce} ").removesuffix(".log")
        elif name:
            found.append((name, line))
    return [(name, line) for name, line in found if line]


def checked(name: str) -> str:
    """The name. Raises ValueError when it can't be one of a service."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"not a service name: {name!r}")
    return name


def unit(name: str, argv: Sequence[str]) -> str:
    """The unit file (systemd.service(5)); `X-` lines are for others than systemd, here for us to know it by."""
    environment = " ".join(shlex.quote(f"{key}={value}") for key, value in ENVIRONMENT.items())
    return "\n".join(
        (
            "[Unit]",
            f"Description=swarmctl service {name}",
            "X-Swarmctl=service",
            "[Service]",
            "Type=exec",
            f"Environment={environment}",
            f"ExecStart=:{' '.join(map(_quoted, argv))}",
            f"StandardOutput=append:{LOGS}/{name}.log",
            f"StandardError=append:{LOGS}/{name}.log",
            "KillMode=control-group",
            "[Install]",
            "WantedBy=multi-user.target",
        )
    )


def _quoted(word: str) -> str:
    """One word of ExecStart=, which begins with a colon: then `$` is nothing special, and `%` still is."""
    escaped = (
        word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t").replace("%", "%%")
    )
    return f'"{escaped}"'
