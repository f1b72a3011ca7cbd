"""From a machine's name to the way there: what is declared now, else what was recorded, else what was noted here."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from swarmctl.backends import ways
from swarmctl.backends.base import Fence
from swarmctl.backends.ssh import index, marks
from swarmctl.backends.ssh.errors import HostRefused
from swarmctl.backends.ssh.host import SshHost
from swarmctl.errors import SwarmError
from swarmctl.hosts import first_look, public_keys
from swarmctl.hosts.first_look import Seen

AT_ONCE = 256
"""Machines that are asked at the same time: so many that silent ones are done with in `EACH` seconds apiece."""
DEADLINE = 25.0
"""Seconds after which nobody waits any longer for machines that are only asked whose they are, and `EACH` more for
every machine: somewhat more than a connection may take, whose own error says more."""
EACH = 0.1
_MINE = ("key", "certificate", "agent")


def way(host: Mapping[str, Any]) -> Mapping[str, Any]:
    """The whole way to the machine that `host` names. Raises `HostRefused` when nobody knows it any more."""
    if "hostKeys" in host:
        return host
    if declared := ways.declared_for(host):
        return declared
    noted = index.read(host["stack"], host["node"])
    if recorded := ways.recorded_for(host):
        return with_own_keys(recorded, noted)
    if noted is None:
        raise HostRefused(
            f"{host['node']}: neither the declarations nor the state nor this computer know how to reach it",
            "declare it again, with its address and host keys",
        )
    return noted


def with_own_keys(way: Mapping[str, Any], noted: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """A recorded way, which names no keys of ours, with those that this computer used last."""
    if noted is None:
        return way
    found = {**_mine(noted), **way}
    if "jump" in way and "jump" in noted:
        found["jump"] = dict(with_own_keys(way["jump"], noted["jump"]))
    return found


def _mine(way: Mapping[str, Any]) -> dict[str, Any]:
    return {name: way[name] for name in _MINE if name in way}


def look(way: Mapping[str, Any], fence: Fence | None = None) -> Seen:
    """What the machine says of itself. Raises `HostUnreachable`, and with a fence what it raises, and `HostGone` where
    there is no mark."""
    return first_look.parse(SshHost(way, fence, taken_over=True).run(marks.LOOK).stdout)


def ask(hosts: Collection[Mapping[str, Any]], deadline: float = DEADLINE) -> dict[str, Seen | SwarmError]:
    """What machines say of themselves, many at once, by node; those that are silent after `deadline` seconds, and as
    many times `EACH` as there are, fail."""

    def one(host: Mapping[str, Any]) -> Seen | SwarmError:
        try:
            return look(way(host))
        except SwarmError as error:
            return error

    if not hosts:
        return {}
    pool = ThreadPoolExecutor(min(AT_ONCE, len(hosts)), "swarmctl-ask")
    asked = {host["node"]: pool.submit(one, host) for host in hosts}
    done, _ = wait(asked.values(), deadline + EACH * len(hosts))
    pool.shutdown(wait=False, cancel_futures=True)
    silent = "did not answer in time"
    return {
        node: answer.result() if answer in done and not answer.cancelled() else HostRefused(f"{node} {silent}")
        for node, answer in asked.items()
    }


def require_files(hosts: Collection[Mapping[str, Any]]) -> None:
    """Where none of these ways can be gone from here for lack of a key file: raises `HostRefused` that names every such
    file, and whose it is. Where some can, the others are told one by one when they are asked."""
    wanted: dict[str, list[str]] = {}
    for host in hosts:
        for part in ways.parts(host):
            for name in ("key", "certificate"):
                if path := part.get(name):
                    wanted.setdefault(path, []).append(host["node"])
    wrong = {path: said for path in wanted if (said := file_problem(path))}
    if wrong and {node for path in wrong for node in wanted[path]} == {host["node"] for host in hosts}:
        raise HostRefused(
            f"{len(wrong)} of the files to log in with can't be used" if len(wrong) > 1 else _told(*wrong.popitem()),
            "declare where they are on this computer, or leave `key` out to log in with the keys of the SSH agent",
            details=[f"{_told(path, said)} (for {_some(wanted[path])})" for path, said in sorted(wrong.items())],
        )


def file_problem(path: str) -> str:
    """Why a file can't be used to log in with, as a clause; empty when it can."""
    try:
        file = Path(path).expanduser()
        mode = file.stat().st_mode
    except (OSError, RuntimeError) as error:
        return getattr(error, "strerror", "") or "no such home folder"
    if not stat.S_ISREG(mode):
        return "it is a folder" if stat.S_ISDIR(mode) else "it is no regular file"
    if not os.access(file, os.R_OK):
        return "it can't be read"
    if not file.name.endswith(".pub") and stat.S_IMODE(mode) & 0o077 and _private(file):
        return f"others can read it: `chmod 600 {path}`"
    return ""


def _private(file: Path) -> bool:
    """Whether it may hold one. Nobody should be told to change the rights of what is another's file."""
    with file.open("rb") as stream:
        return public_keys.may_be_private(stream.read(4096))


def _told(path: str, said: str) -> str:
    return f"{path} can't be used to log in: {said}"


def _some(nodes: Sequence[str]) -> str:
    unique = list(dict.fromkeys(nodes))
    return ", ".join(unique[:3]) + (f" and {len(unique) - 3} more" if len(unique) > 3 else "")
