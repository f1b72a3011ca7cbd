"""Files on a machine: the scripts that write and read them there, for a POSIX shell with GNU's file utilities. Pure."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

MISSING = 3
"""Exit status of reading when there is no such file."""

# One name for what is not finished, so that a crash leaves at most one file behind and the next writing takes it away.
# What arrives is counted: with a connection that is cut, the input just ends.
_PUT = r"""
set -eu
path=$1 mode=$2 size=$3
folder=${path%/*} name=${path##*/}
mkdir -p -- "$folder/"
if [ -d "$path" ] && [ ! -L "$path" ]; then echo "$path is a folder" >&2; exit 1; fi
new=$folder/.$name.swarmctl
rm -f -- "$new"
umask 077
set -C
exec 3>"$new"
trap 'rm -f -- "$new"' EXIT
chmod "$mode" -- "$new"
cat >&3
if [ "$(stat -c %s -- "$new")" != "$size" ]; then echo "the content did not arrive whole" >&2; exit 1; fi
sync -- "$new"
mv -fT -- "$new" "$path"
sync -- "$folder/"
"""
_GET = r"""
path=$1 limit=$2
[ -e "$path" ] || exit 3
[ -f "$path" ] || { echo "$path is not a regular file" >&2; exit 1; }
[ "$(stat -L -c %s -- "$path")" -le "$limit" ] || { echo "$path is larger than $limit bytes" >&2; exit 1; }
exec head -c "$limit" -- "$path"
"""


def put(path: str, mode: int, size: int) -> list[str]:
    """The command that writes `size` bytes of its input to `path` with `mode`, atomically. Raises ValueError."""
    absolute(path)
    if posixpath.basename(path) in ("", ".", ".."):
        raise ValueError(f"not a file: {path!r}")
    return ["sh", "-c", _PUT, "swarmctl-put", path, f"{mode:o}", str(size)]


def get(path: str, limit: int) -> list[str]:
    """The command that writes the regular file at `path` to its output. Raises ValueError."""
    return ["sh", "-c", _GET, "swarmctl-get", absolute(path), str(limit)]


def remove(path: str) -> Sequence[str]:
    """The command that removes a file or a folder with what is in it. Raises ValueError, also for the root."""
    if not posixpath.normpath(absolute(path)).strip("/"):
        raise ValueError("the root of a machine can't be removed")
    return ["rm", "-rf", "--", path]


def absolute(path: str) -> str:
    """The path. Raises ValueError when it isn't an absolute one."""
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"not an absolute path: {path!r}")
    return path
