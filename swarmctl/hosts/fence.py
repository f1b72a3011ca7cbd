"""Fencing: a change on a machine happens only while no newer run has been there, compared on the machine itself.

A run compares in the call that also makes the change, under a lock of the machine's: whoever compares first and acts
later loses the race against a run that took over in between. Work under the current token holds the lock shared;
raising the token takes it for itself, and so waits for what is in flight. Pure: the script, what it gets and what its
answers mean; no I/O here.

The machine keeps three lines in `FOLDER/owner`: the stack's identity, the highest token seen, and who holds it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from swarmctl.errors import LeaseLost, SwarmError, WorldUnreadable

FOLDER = "/var/lib/swarmctl"
WAIT = 45
"""Seconds to wait for what is in flight on the machine, fewer than a step may take; then the call fails."""
FENCED, FOREIGN, BUSY, BROKEN = 77, 78, 75, 74
"""Exit statuses of a refusal. They count only together with the marker: a command may end with them, too."""
MARKER = "@swarmctl-fence"


class Fenced(LeaseLost):
    """A newer run has been on the machine: this one is over and did nothing there."""


class ForeignStack(SwarmError):
    """The machine carries another stack's mark; it was not touched."""


class StillChanging(WorldUnreadable):
    """An earlier run's work on the machine did not end in time; nothing was done."""


@dataclass(frozen=True, slots=True)
class Fence:
    """Under which run's right something is changed, and what the marks of what it makes carry."""

    stack: str
    """Identity: the name and the uid."""
    token: int
    """Grows with every run that takes the stack's lease."""
    owner: str
    """`user@host` or the pipeline's run; for people."""
    destroys: bool = False
    """Whether the run takes the whole stack away: nobody will declare anything of it once more."""

    def lines(self) -> str:
        """As the machine keeps it: identity, token and owner, a line each."""
        return f"{one_line(self.stack)}\n{self.token}\n{one_line(self.owner)}\n"


# The first argument is empty or the seconds that the command may take at most: what a run that is gone has left ends
# by itself, so that no machine stays locked for ever. The lock's descriptor is closed in the command: a daemon that it
# starts would hold it on. A signal such as a lost connection's does not end the shell before the command.
SCRIPT = r"""
folder=$1 limit=$2 wait=$3 nonce=$4 stack=$5 token=$6 owner=$7
shift 7
refuse() {
  printf '%s %s %s\n%s\n%s\n%s\n' @swarmctl-fence "$nonce" "$1" "$stack_" "$token_" "$owner_" >&2
  exit "$1"
}
look() {
  stack_='' token_=0 owner_=''
  [ -s "$folder/owner" ] || return 0
  { IFS= read -r stack_; IFS= read -r token_; IFS= read -r owner_; } <"$folder/owner"
  case $token_ in '' | *[!0-9]* | ???????????????????*) refuse 74 ;; esac
  [ "$stack_" = "$stack" ] || refuse 78
  [ "$token_" -le "$token" ] || refuse 77
}
stack_='' token_=0 owner_=''
trap : HUP INT TERM
command -v flock >/dev/null || refuse 74
(umask 022 && mkdir -p "$folder") && command exec 9>>"$folder/owner.lock" || refuse 74
while :; do
  flock -s -w "$wait" 9 || { look; refuse 75; }
  look
  [ "$token_" -lt "$token" ] || break
  flock -x -w "$wait" 9 || { look; refuse 75; }
  look
  # Another run may raise it between the two locks: looked at once more under the shared one.
  if [ "$token_" -lt "$token" ]; then
    (
      umask 022
      printf '%s\n%s\n%s\n' "$stack" "$token" "$owner" >"$folder/.owner.new" && sync "$folder/.owner.new" &&
        mv "$folder/.owner.new" "$folder/owner" && sync "$folder"
    ) || refuse 74
  fi
done
if [ -n "$limit" ]; then (exec timeout -s KILL "$limit" "$@" 9>&-); else (exec "$@" 9>&-); fi
exit "$?"
"""


def argv(
    fence: Fence, argv: Sequence[str], nonce: str, *, limit: float | None = None, folder: str = FOLDER, wait: int = WAIT
) -> list[str]:
    """The command that runs `argv` on a machine under the fence, for a POSIX shell with flock(1) of util-linux.

    `nonce` tells our refusals from what the command itself prints; `limit` is in seconds. Its streams and its status
    are the command's own; what `refusal` makes of the status and the standard error comes first.
    """
    seconds = "" if limit is None else f"{limit:g}"
    stack, token, owner = fence.lines().splitlines()
    return ["sh", "-c", SCRIPT, "swarmctl-fence", folder, seconds, str(wait), nonce, stack, token, owner, *argv]


def refusal(fence: Fence, machine: str, nonce: str, returncode: int, stderr: bytes) -> SwarmError | None:
    """The error that the fence's answer means; None when the command itself has answered."""
    # The shell may have said before what is wrong with a file.
    before, marker, rest = stderr.rpartition(f"{MARKER} {nonce} {returncode}\n".encode())
    if returncode not in (FENCED, FOREIGN, BUSY, BROKEN) or not marker or not (before == b"" or before[-1:] == b"\n"):
        return None
    stack, token, owner = (*rest.decode("utf-8", "replace").split("\n"), "", "", "")[:3]
    return refused(fence, machine, returncode, stack, int(token) if re.fullmatch("[0-9]{1,18}", token) else 0, owner)


def refused(fence: Fence, machine: str, status: int, stack: str, token: int, owner: str) -> SwarmError:
    """The error for one refusal, given what the machine has: its stack, token and owner, empty and 0 for none."""
    who = one_line(owner) or "another run"
    if status == FENCED:
        return Fenced(
            f"{machine} is in the hands of a newer run ({who}, token {token}); this one has token {fence.token}, is "
            "over, and did nothing there",
            overtaken(token),
        )
    if status == FOREIGN:
        return ForeignStack(
            f"{machine} belongs to the stack {one_line(stack)} ({who}), not to {fence.stack}, and was not touched",
            "declare another machine; or, if that stack is no more, destroy it from where it was applied",
        )
    if status == BUSY:
        return StillChanging(
            f"{machine} is still being changed by an earlier run ({who}, token {token})",
            "what it does there ends by itself within its time limit: try again",
        )
    return WorldUnreadable(
        f"{machine} cannot tell whose it is: its mark of ownership cannot be read or written",
        f"look at {FOLDER}/owner there; flock(1) of util-linux must be installed and the disk writable",
    )


def overtaken(token: int) -> str:
    """How to go on for a run that was refused because of this greater token."""
    return (
        "wait for the other run, and look at `swarmctl plan`; if it lives no more anywhere, and its token is the "
        f"greater one because a clock was ahead: `swarmctl lock release --force --above {token}`, then run this again"
    )


def one_line(text: str, limit: int = 300) -> str:
    """Text from elsewhere as one line of printable characters."""
    return "".join(c if c.isprintable() else " " for c in text[:limit]).strip()
