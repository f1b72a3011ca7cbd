"""What a machine's shells are given, and how their answers are told from noise. Pure: no I/O.

sshd hands a command to the login shell of the user, which may be no POSIX shell, and has first run whatever its
profile says. So that shell only ever gets one fixed line without anything it could read otherwise. The line has
`/bin/sh` take a script of exactly so many bytes from standard input; the script goes on, as root and in an environment
of its own, to the command, whose arguments never pass a shell unquoted. The rest of standard input is the command's.

The script is one `{ … }`, and both its ends are looked at before any of it is run. A connection that is cut leaves the
last one out. A profile that reads standard input has taken the first one away; what is left of the script, or of the
command's own input, would be another script.
"""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Mapping, Sequence

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT: Mapping[str, str] = {
    "PATH": PATH,
    "LC_ALL": "C",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
}
"""Of every command, whatever the profile sets; only `SSH_CONNECTION` is as sshd has set it."""
MARK = "@swarmctl-ssh"
NO_SUDO, NO_ROOM, SHORT, EATEN = "no-sudo", "no-room", "short", "eaten"
"""What a machine says instead of beginning: no sudo there; no room for the input; the input ended too early; somebody
else had read of it before."""
_REFUSED = 74
_LONGEST_ARGUMENT = 96 << 10
"""Bytes: Linux takes 128 KiB for one argument (execve(2), MAX_ARG_STRLEN), of which base64 uses a third."""

# Input is taken whole before the command begins: one that is cut off in the middle would otherwise pass for its end.
# It is kept in memory (/run) under no name. Both streams are marked, so that what a profile printed can be dropped.
_BEGIN = r"""
nonce=$1 size=$2
shift 2
refuse() { printf '%s %s %s\n' @swarmctl-ssh "$nonce" "$1" >&2; exit 74; }
cd / && umask 022
if [ "$size" = 0 ]; then
  exec </dev/null
elif [ "$size" != - ]; then
  file=$(umask 077 && mktemp /run/swarmctl.XXXXXXXXXX) || refuse no-room
  { exec 3>"$file" 4<"$file"; rm -f "$file"; } || refuse no-room
  cat >&3 || refuse no-room
  [ "$(stat -L -c %s /proc/self/fd/4)" = "$size" ] || refuse short
  exec <&4 3>&- 4<&-
fi
printf '%s %s begin\n' @swarmctl-ssh "$nonce"
printf '%s %s begin\n' @swarmctl-ssh "$nonce" >&2
exec "$@"
"""


def script(
    argv: Sequence[str], nonce: str, size: int | None, *, sudo: bool, extra: Mapping[str, str] | None = None
) -> bytes:
    """The script that runs `argv` as root after saying so with `nonce`.

    `size` is of the input that is taken before the command begins, in bytes; None leaves standard input to it. `extra`
    goes into its environment. Raises ValueError for a NUL byte, which no argument can hold.
    """
    if any("\0" in word for word in argv):
        raise ValueError("an argument holds a NUL byte")
    environment = [f"{name}={value}" for name, value in {**ENVIRONMENT, **(extra or {})}.items()]
    first = ["env", "-i", *environment]
    then = ["sh", "-c", _BEGIN, "swarmctl", nonce, "-" if size is None else str(size), *argv]
    lines = [f"{{ : {nonce}", f"PATH={PATH} LC_ALL=C", "export PATH LC_ALL"]
    if sudo:
        said = f"{MARK} {nonce} {NO_SUDO}"
        lines.append(f"command -v sudo >/dev/null || {{ echo {shlex.quote(said)} >&2; exit {_REFUSED}; }}")
        first = ["sudo", "-n", "--", *first]
    # sshd's own word about the connection is the one thing that is taken along.
    run = f'exec {shlex.join(first)} "SSH_CONNECTION=${{SSH_CONNECTION-}}" {shlex.join(then)}'
    return "\n".join([*lines, run, "}"]).encode("utf-8", "surrogateescape")


def by_stdin(script: bytes, nonce: str) -> str:
    """The line for the login shell that takes the script from standard input and leaves the rest there.

    dd, since others read ahead. Single quotes and `$( )` in them mean the same to the Bourne shells, csh and fish.
    """
    take = f"s=$(dd bs={len(script)} count=1 iflag=fullblock 2>/dev/null)"
    look = f'case $s in "{{ : {nonce}"*"}}") eval "$s";; *) echo {MARK} {nonce} {EATEN} >&2; exit {_REFUSED};; esac'
    return f"exec /bin/sh -c '{take}; {look}'"


def by_argument(script: bytes) -> str:
    """The line that carries the script itself, for a command that has a terminal. Raises ValueError when too long."""
    if len(script) > _LONGEST_ARGUMENT:
        raise ValueError(f"a command of {len(script)} bytes; {_LONGEST_ARGUMENT} are the most")
    return f"exec /bin/sh -c 'eval \"$(echo {base64.b64encode(script).decode()} | base64 -d)\"'"


def begin(nonce: str) -> bytes:
    """What stands in both streams where the command begins."""
    return f"{MARK} {nonce} begin\n".encode()


def after_begin(stream: bytes, nonce: str) -> bytes | None:
    """What the command itself wrote to the stream; None when it was never begun."""
    _, mark, rest = stream.partition(begin(nonce))
    return rest if mark else None


def refusal(stderr: bytes, nonce: str) -> str:
    """What the machine said instead of beginning: one of the words above, or nothing."""
    found = re.search(rf"{MARK} {nonce} ({NO_SUDO}|{NO_ROOM}|{SHORT}|{EATEN})\n".encode(), stderr)
    return found[1].decode() if found else ""


def limited(argv: Sequence[str], limit: float) -> list[str]:
    """The command, ended on the machine itself after `limit` seconds: also when the connection is gone by then."""
    return ["timeout", "-s", "KILL", f"{limit:g}", *argv]
