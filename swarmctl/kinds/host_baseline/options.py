"""Which options of what is mounted the kernel tells, and by what words. Pure: no I/O here.

Most options of mount(8) are never told again (`nofail`, `noauto`, `user`, `x-…`), or in other words than they were
given in, as a file system likes. What every file system has in common is told always, or is the contrary by
not being told: that is compared, either way, with what the words of a line mean when they are read from left to right.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence

FLAGS = {
    **{"ro": "rw", "nosuid": "suid", "nodev": "dev", "noexec": "exec", "nodiratime": "diratime", "sync": "async"},
    "nosymfollow": "symfollow",
}
"""What is told when it is so, and what is so when it is not told."""
_MEANS = {
    **{told: {told: True} for told in FLAGS},
    **{other: {told: False} for told, other in FLAGS.items()},
    **{one: {"nosuid": True, "nodev": True, "noexec": True} for one in ("user", "users")},
    **{one: {"nosuid": True, "nodev": True} for one in ("owner", "group")},
}
ATIMES = ("noatime", "relatime", "strictatime")
"""When reading a file is noted in it: the last of them is so when none of the others is told."""
_NO_ATIME = {"atime": "noatime", "norelatime": "relatime", "nostrictatime": "strictatime"}
_ELSEWHERE = frozenset({"bind", "rbind", "move", "remount"})
"""With these a line does not mean a file system of its own, and its other options do not all count."""
_NEVER = {
    **dict.fromkeys(_ELSEWHERE, ("it mounts no file system of its own", "declare the device that has the file system")),
    "x-systemd.automount": ("what is mounted when it is first used is not there when it is looked at", "leave it out"),
    "x-systemd.makefs": ("it formats the device when the machine starts", "leave it out: nothing is ever formatted"),
    "x-mount.mkdir": ("folders that are needed are made, and taken away again, by the baseline", "leave it out"),
}
"""What no mount of a baseline has, why, and what to do."""
_FOR_OTHERS = re.compile(
    r"nofail|defaults|auto|noauto|nouser|user(=.*)?|users|nousers|owner|noowner|group|nogroup|_netdev|comment=.*|[xX]-.*"
    r"|loop(=.*)?|offset=.*|sizelimit=.*|r?bind|move|remount"
)
"""Not for a file system that is mounted already."""
_SIZE = re.compile(r"size=([0-9]{1,15})([kmgt]?)", re.IGNORECASE)
_PART = re.compile(r"subvol=(/|/?(?!\.{1,2}(/|$))[^/]+(/(?!\.{1,2}(/|$))[^/]+)*)|subvolid=([5-9]|[1-9][0-9]{1,18})")
"""As the kernel tells it, but for the first slash; the number of the whole file system is 5."""
_PARTS = ("subvol=", "subvolid=")
_PAGE = 65536
"""Bytes of the largest page; what a tmpfs may have is told in whole ones."""
NOT_IN_FORCE, BESIDES = "(not in force)", "(not in /etc/fstab)"


def _flags(options: Collection[str]) -> dict[str, bool]:
    """Which of `FLAGS` a line sets; nothing where that can't be said."""
    found = dict.fromkeys(FLAGS, False)
    if not _ELSEWHERE.isdisjoint(options):
        return {}
    for option in options:
        found |= _MEANS.get(option, {})
    return found


def _atime(options: Collection[str]) -> str:
    """Which of `ATIMES` a line sets; empty where several are named, of which not every mount(8) makes the same."""
    named: set[str] = set()
    for option in options:
        named |= {option} & {*ATIMES}
        named -= {_NO_ATIME.get(option, "")}
    if not _ELSEWHERE.isdisjoint(options) or len(named) > 1:
        return ""
    return next(iter(named), "relatime")


def _bytes(option: str) -> int:
    """How large a tmpfs is to be; 0 where that is a share of the memory, or no limit."""
    match = _SIZE.fullmatch(option)
    return int(match[1]) << (10 * " kmgt".index(match[2].lower() or " ")) if match else 0


def told(options: Sequence[str], kind: str, live: Collection[str]) -> list[str]:
    """The options of a line, each that is not in force with a note, and what is in force besides.

    With a note, since what is in force by hand is not what a line says, and never equal to what is declared next.
    """
    absent, besides = set[str](), []
    for flag, wanted in _flags(options).items():
        if wanted != (flag in live):
            absent |= {flag if wanted else FLAGS[flag]}
            besides += [] if wanted else [f"{flag} {BESIDES}"]
            if wanted and flag not in options:
                besides.append(f"{FLAGS[flag]} {BESIDES}")
    wanted_atime, atime = _atime(options), next((one for one in ATIMES if one in live), ATIMES[-1])
    if wanted_atime not in ("", atime):
        absent |= {wanted_atime}
        besides += [] if atime == "relatime" else [f"{atime} {BESIDES}"]
    if kind == "btrfs" and not parts(options):
        besides += [f"{one} {BESIDES}" for one in live if one.startswith(_PARTS)]
    # Of several sizes the last counts.
    sizes = [one for one in options if one.startswith("size=")]
    absent |= {one for one in options if one not in sizes[:-1] and not _in_place(one, kind, live)}
    return [f"{one} {NOT_IN_FORCE}" if one in absent else one for one in options] + besides


def _in_place(option: str, kind: str, live: Collection[str]) -> bool:
    """Whether an option of a file system's own is in force, as far as that is told in words that can be compared."""
    name, _, value = option.partition("=")
    if name == "subvol":
        return f"subvol=/{value.lstrip('/')}" in live
    if name == "subvolid":
        return option in live
    size = next((_bytes(one) for one in live if one.startswith("size=")), 0) if kind == "tmpfs" else 0
    return not (size and _bytes(option)) or 0 <= size - _bytes(option) < _PAGE


def words(options: Collection[str]) -> tuple[list[str], list[str]]:
    """Which words the kernel must tell of what is mounted with these options, and which it must not."""
    flags, atime = _flags(options), _atime(options)
    must = [flag for flag, wanted in flags.items() if wanted]
    never = [flag for flag, wanted in flags.items() if not wanted]
    if atime:
        must += [atime] if atime != ATIMES[-1] else []
        never += [one for one in ATIMES[:-1] if one != atime]
    return must, never


def anew(options: Collection[str]) -> str:
    """For what is mounted already: all that is compared in words, so that what was set by hand goes."""
    return ",".join(["remount", *_own(options), *_named(options)])


def own(options: Collection[str]) -> list[str]:
    """Those that are the file system's own."""
    notes = (NOT_IN_FORCE, BESIDES)
    return [one for one in _own(options) if one not in _MEANS and one not in ATIMES and not one.endswith(notes)]


def parts(options: Collection[str]) -> set[str]:
    """Which part of a btrfs is mounted, in the kernel's words, of which it has two; nothing where none is named."""
    named = (one.removesuffix(f" {BESIDES}") for one in options if one.startswith(_PARTS))
    return {re.sub("^subvol=/*", "subvol=/", one) for one in named}


def vague(kind: str, options: Sequence[str]) -> Iterator[tuple[int, str, str]]:
    """Options that can't be a baseline's: which one (-1: none of them), why, and what to write."""
    named = [index for index, one in enumerate(options) if one.startswith(_PARTS)]
    for index, one in enumerate(options):
        name = one.partition("=")[0]
        if name in _NEVER:
            yield index, *_NEVER[name]
        elif name.startswith("x-swarmctl."):
            yield index, "by this swarmctl knows whose a mount is", "leave it out"
        elif name == "nr_blocks" and kind == "tmpfs":
            yield index, "the kernel tells it as a size", "write `size=`"
        elif index in named and (kind != "btrfs" or not _PART.fullmatch(one)):
            yield index, "the kernel tells it otherwise", "write `subvol=/folder`, or `subvolid=` with a plain number"
        elif one.startswith("size=0") and one != "size=0":
            yield index, "the kernel takes a number that begins with 0 for an octal one", "write it without the 0"
    if kind == "btrfs" and len(named) != 1:
        why = "of several parts one is meant" if named else "without `subvol` that is up to the file system"
        yield named[1] if named else -1, why, "name one part: `subvol=/` is the whole file system"


def _own(options: Collection[str]) -> Iterator[str]:
    known = {*_MEANS, *(ATIMES if _atime(options) else ()), *(_NO_ATIME if _atime(options) else ())}
    return (one for one in options if not _FOR_OTHERS.fullmatch(one) and one not in known)


def _named(options: Collection[str]) -> Iterator[str]:
    for flag, wanted in _flags(options).items():
        # Its contrary is no word that every mount(8) knows; the script says it where it is needed.
        if wanted or flag != "nosymfollow":
            yield flag if wanted else FLAGS[flag]
    if _atime(options):
        yield _atime(options)
