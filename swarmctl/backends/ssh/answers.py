"""What a machine's answer to a command means: its own output, or why the command was not even begun. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from swarmctl.backends.base import OUTPUT_LIMIT, CommandFailed, Completed, HostUnreachable
from swarmctl.backends.ssh import session, shell
from swarmctl.backends.ssh.address import Address
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.errors import SwarmError
from swarmctl.hosts.fence import one_line

NOISE = 64 << 10
"""Bytes that a profile may print before the command begins."""
BEGINS = 45.0
"""Seconds that a login shell, its profile and sudo may take to begin it."""


def read(name: str, address: Address, argv: Sequence[str], nonce: str, outcome: Any) -> Completed:
    """The command's own status and streams. Raises what `HostUnreachable` stands for when it didn't begin or end."""
    stdout, stderr = (shell.after_begin(stream, nonce) for stream in (outcome.stdout, outcome.stderr))
    if stdout is None or stderr is None:
        raise not_begun(name, address, argv[0], nonce, outcome)
    if outcome.stopped:
        raise CommandFailed(
            f"{name}: {argv[0]} was given up: it printed more than {(OUTPUT_LIMIT + session.FLOOD) >> 20} MiB",
            f"see on {name} what it prints without end",
        )
    if outcome.returncode is None:
        raise cut_off(name, argv[0])
    cut = set(outcome.cut) | {which for which, it in (("stdout", stdout), ("stderr", stderr)) if len(it) > OUTPUT_LIMIT}
    notes = [f"\n[{which} cut off after {OUTPUT_LIMIT} bytes]\n".encode() for which in sorted(cut)]
    return Completed(tuple(argv), outcome.returncode, stdout[:OUTPUT_LIMIT], b"".join([stderr[:OUTPUT_LIMIT], *notes]))


def cut_off(name: str, program: str) -> HostUnreachable:
    """For a connection that ended before the command did."""
    return HostUnreachable(
        f"{name}: the connection was cut while {program} ran there; whether it came to its end is not known",
        "try again: what is already done is found so",
    )


def not_begun(name: str, address: Address, program: str, nonce: str, outcome: Any) -> SwarmError:
    """Why nothing was run."""
    if outcome.stopped:
        how = (
            f"printed more than {(OUTPUT_LIMIT + session.FLOOD) >> 20} MiB and began no command"
            if outcome.stopped == session.FLOODED
            else f"did not begin {program} within {BEGINS:g} s; its profile may hang"
        )
        return HostRefused(f"{name}: the login shell of {address.user} {how}", _in_the_way(address))
    said = shell.refusal(outcome.stderr, nonce)
    if said == shell.NO_SUDO:
        return HostRefused(
            f"{name}: {address.user} is not root there, and there is no sudo",
            "install sudo on the machine, or declare a user that is root",
        )
    if said == shell.NO_ROOM:
        return CommandFailed(
            f"{name}: {program} was not begun: no room for its input in /run", "free memory or space there"
        )
    if outcome.returncode is None:
        return HostUnreachable(f"{name}: the connection was cut before {program} began; nothing was done", "try again")
    if said in (shell.SHORT, shell.EATEN):
        return HostRefused(
            f"{name}: the profile of {address.user} reads standard input, which is the command's; nothing was done",
            f"see in {address.user}'s ~/.bashrc, ~/.profile and what they call which command reads it, and give that "
            "one `</dev/null`, or leave it to interactive shells",
        )
    if error := _sudo(name, address, outcome.stderr):
        return error
    last = last_line(outcome.stderr) or last_line(outcome.stdout)
    return HostRefused(
        f"{name}: the login shell of {address.user} ran no command (status {outcome.returncode})"
        + (last and f": {last}"),
        _in_the_way(address),
    )


def _in_the_way(address: Address) -> str:
    return (
        "its profile, the shell itself or a forced command is in the way; this must print nothing but x: "
        f"`ssh {address.user}@{address.host} -p {address.port} echo x`"
    )


def _sudo(name: str, address: Address, stderr: bytes) -> SwarmError | None:
    if address.user == "root":
        return None
    said = [line for line in stderr.decode("utf-8", "replace").splitlines() if "sudo" in line]
    if any("password is required" in line or "terminal is required" in line for line in said):
        return HostRefused(
            f"{name}: sudo asks {address.user} for a password, which is never typed in",
            f"let it do without: `{address.user} ALL=(root) NOPASSWD: ALL` in a file in /etc/sudoers.d",
        )
    if any("must have a tty" in line for line in said):
        return HostRefused(
            f"{name}: sudo wants {address.user} to have a terminal (requiretty), and commands have none",
            f"let it do without: `Defaults:{address.user} !requiretty` in a file in /etc/sudoers.d",
        )
    if said:
        return HostRefused(
            f"{name}: sudo does not let {address.user} become root: {one_line(said[-1])}",
            f"allow it: `{address.user} ALL=(root) NOPASSWD: ALL` in a file in /etc/sudoers.d",
        )
    return None


def failed(name: str, done: Completed, what: str = "") -> CommandFailed:
    """The error for a status that isn't 0; `what` is the program's name unless told otherwise."""
    last = last_line(done.stderr)
    hint = ""
    if "No space left on device" in last or "Disk quota exceeded" in last:
        hint = f"free some space on {name}"
    elif "Read-only file system" in last:
        hint = f"mount it writable on {name}, and see in its kernel log why it isn't"
    message = f"{name}: {what or done.argv[0]} ended with status {done.returncode}"
    return CommandFailed(f"{message}: {last}" if last else message, hint)


def last_line(stream: bytes) -> str:
    """The last line that says anything, as printable text of bounded length; empty when none does."""
    lines = stream[-8192:].decode("utf-8", "replace").strip().splitlines()
    return one_line(lines[-1], 500) if lines else ""
