"""Who we are, as others read it who find the lease held; and what is certain about a process that we read of."""

from __future__ import annotations

import os
import pwd
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from swarmctl.processes import Process, boot_id
from swarmctl.state.model import Holder

LONGEST = 200
"""Characters of the command line that are kept."""

ADDRESSES = (
    "CI_JOB_URL",  # GitLab
    "BUILD_URL",  # Jenkins
    "BUILDKITE_BUILD_URL",
    "CIRCLE_BUILD_URL",
    "CI_PIPELINE_URL",  # Woodpecker
    "DRONE_BUILD_LINK",
    "TRAVIS_BUILD_WEB_URL",
    "CODEBUILD_BUILD_URL",
)
"""Variables in which pipelines say where their run can be looked at. GitHub's, Azure's and Bitbucket's are put together
from several, see `run_url`."""

LOCAL = frozenset(
    ("bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "jfs", "overlay", "ramfs", "tmpfs", "xfs", "zfs")
)
"""File systems that one kernel at a time can have mounted: what another boot wrote there, an earlier one wrote."""

_BOOT_ID = "/proc/sys/kernel/random/boot_id"
_CONTAINER = "container "


def me() -> Holder:
    """This process."""
    process = Process.of(os.getpid())
    if process is None:  # a process always finds itself; without /proc nothing of this works
        raise OSError("/proc does not show this process")
    return Holder(
        host=socket.gethostname(),
        boot=boot(),
        namespace=namespace(),
        pid=process.pid,
        start=process.start,
        user=_user(),
        command=command_line(sys.argv[1:]),
        since=int(time.time()),
        run=run_url(os.environ),
    )


def command_line(arguments: Sequence[str]) -> str:
    """What the user has typed, on one line and not too long."""
    text = " ".join(["swarmctl", *arguments])
    return "".join(letter if letter.isprintable() else "?" for letter in text)[:LONGEST]


def run_url(environment: Mapping[str, str]) -> str:
    """Address of the pipeline's run, empty outside one. Names and passwords in it are left out."""
    get = environment.get
    if get("GITHUB_RUN_ID") and get("GITHUB_SERVER_URL") and get("GITHUB_REPOSITORY"):  # also Gitea and Forgejo
        return _bare(f"{get('GITHUB_SERVER_URL')}/{get('GITHUB_REPOSITORY')}/actions/runs/{get('GITHUB_RUN_ID')}")
    if get("BUILD_BUILDID") and get("SYSTEM_COLLECTIONURI") and get("SYSTEM_TEAMPROJECT"):  # Azure Pipelines
        project = f"{get('SYSTEM_COLLECTIONURI', '').rstrip('/')}/{get('SYSTEM_TEAMPROJECT')}"
        return _bare(f"{project}/_build/results?buildId={get('BUILD_BUILDID')}")
    if get("BITBUCKET_BUILD_NUMBER") and get("BITBUCKET_GIT_HTTP_ORIGIN"):
        origin = get("BITBUCKET_GIT_HTTP_ORIGIN", "").rstrip("/")
        return _bare(f"{origin}/pipelines/results/{get('BITBUCKET_BUILD_NUMBER')}")
    return next((_bare(environment[name]) for name in ADDRESSES if environment.get(name)), "")


def _bare(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.netloc:
        return ""
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))[:LONGEST]


def namespace() -> str:
    """The process id namespace of this process."""
    return os.readlink("/proc/self/ns/pid")


def clock() -> str:
    """Names the clock of `time.monotonic`: all processes of one boot share it, unless they have a time namespace."""
    try:
        return f"{boot_id()} {os.readlink('/proc/self/ns/time')}"
    except FileNotFoundError:  # a kernel without them
        return boot_id()


@cache
def boot() -> str:
    """Names this boot of this machine, or this start of a container that was given a boot id of its own."""
    given = any(point == _BOOT_ID for point, _ in _mounts())
    return f"{_CONTAINER}{boot_id()}" if given else boot_id()


def process_of(holder: Holder) -> Process | None:
    """The holder's process, alive or not, when ids of processes mean the same here and there; None otherwise."""
    if holder.boot != boot() or holder.namespace != namespace():
        return None
    return Process(holder.pid, holder.start, boot_id())


def of_former_boot(holder: Holder, folder: Path) -> bool:
    """Whether the machine was started anew since: on a file system that one kernel at a time can have, another boot's
    record is an earlier boot's. Containers with boot ids of their own are no boots (systemd-nspawn gives them)."""
    boots = (holder.boot, boot())
    return boots[0] != boots[1] and all(it and not it.startswith(_CONTAINER) for it in boots) and one_machine(folder)


def one_machine(folder: Path) -> bool:
    """Whether only one machine at a time can have the file system that `folder` is on."""
    here = os.path.realpath(folder)
    best, kind = "", ""
    for point, type_ in _mounts():
        covers = here == point or here.startswith(point.rstrip("/") + "/")
        if covers and len(point) >= len(best):  # of two at the same place, the later one
            best, kind = point, type_
    return kind in LOCAL


def _mounts() -> list[tuple[str, str]]:
    """Place and type of every file system, see proc_pid_mountinfo(5); none where they can't be read."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []
    split = [line.split() for line in lines]
    octal = re.compile(r"\\([0-7]{3})")
    return [(octal.sub(lambda it: chr(int(it[1], 8)), fields[4]), fields[fields.index("-") + 1]) for fields in split]


def _user() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())
