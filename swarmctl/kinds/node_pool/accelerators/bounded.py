"""How a program that may never answer is asked: one that talks to a card hangs with it. Pure."""

from __future__ import annotations

SECONDS = 20
"""That the vendors' tools get to answer."""
HUNG = frozenset({"124", "137"})
"""What `timeout` ends with where it had to end something, by TERM and by KILL."""

# In the background, with a pipe alone: a process in state D ends by no signal, and `timeout` waits for it. Who reads
# the pipe goes on without it; it must hold nothing else open, or the connection would wait as well.
SCRIPT = r"""
bounded() {
  limit=$1; shift
  { {
    timeout -k 2 "$limit" "$@" 2>&1
    printf '\n@ %s\n' "$?"
  } </dev/null 2>/dev/null & } | timeout -k 1 $((limit + 4)) head -c 1048576 || printf '\n@ 124\n'
}
"""
"""`bounded SECONDS PROGRAM…` prints what it says and `@ STATUS`, which is missing where it prints without end."""


def failure(tool: str, said: str, status: str, seconds: int = SECONDS) -> str:
    """Why a tool did not answer, as a clause: `said` is its one line that tells most, empty for none."""
    if status in HUNG:
        return f"no answer of {tool} within {seconds} s: a card hangs"
    if not status.isdecimal():
        return "it prints too much"
    return said or "it gave no reason"
