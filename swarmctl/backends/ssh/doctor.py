"""Whether this computer can reach machines over SSH."""

from __future__ import annotations

import importlib.metadata
import os
import socket
from pathlib import Path

from swarmctl import paths
from swarmctl.backends import ways
from swarmctl.backends.base import Check
from swarmctl.backends.ssh import access, index


def checks() -> list[Check]:
    """The library, the agent, and the key files that this computer has logged in with."""
    return [_library(), _agent(os.environ.get("SSH_AUTH_SOCK", "")), *_files()]


def _library() -> Check:
    try:
        found = importlib.metadata.version("asyncssh")
    except importlib.metadata.PackageNotFoundError:
        return Check("ssh library", False, "asyncssh is not installed", "`pip install asyncssh`")
    return Check("ssh library", True, f"asyncssh {found}")


def _agent(path: str) -> Check:
    if not path:
        return Check("ssh agent", True, "none: machines need a `key` that is a file")
    try:
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(2)
            probe.connect(path)
    except OSError as error:
        why = error.strerror or "it does not answer"
        return Check("ssh agent", False, f"{path}: {why}", "start one, or unset SSH_AUTH_SOCK")
    return Check("ssh agent", True, path)


def _files() -> list[Check]:
    """One line for every key file that is noted with a machine."""
    found = sorted({path for stack in _stacks() for node in index.names(stack) for path in _keys(stack, node)})
    checks = []
    for path in found:
        wrong = access.file_problem(path)
        checks.append(Check("ssh key", not wrong, f"{path}: {wrong}" if wrong else path, "declare where the key is"))
    return checks


def _keys(stack: str, node: str) -> list[str]:
    way = index.read(stack, node) or {}
    return [path for part in ways.parts(way) if (path := part.get("key"))]


def _stacks() -> list[str]:
    folder: Path = paths.ssh_dir("")
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return []
