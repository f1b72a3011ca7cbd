"""What lies beside the private key of a mesh on a node: keys that follow, were before, or are preshared. All of it is
root's alone, files 0600 in folders of 0700. Pure: facts and a script."""

from __future__ import annotations

from shlex import quote

from swarmctl.hosts.facts import Exposed, Facts
from swarmctl.mesh.names import key_folder

MOST = 8
"""Told of one mesh on one node."""

CLOSE = r"""
# Links are left alone: what they lead to is not ours.
find "${key%/*}" ! -type l \( -perm /077 -o ! -user 0 \) -exec chown -h 0:0 {} + -exec chmod go= {} +
"""
"""Takes rights away from all but root. Needs `$key`."""


def exposed(facts: Facts, key_path: str) -> list[str]:
    """What others than root can read or own there, and its mode; the private key's own mode is told apart."""
    folder = key_folder(key_path)
    found = [
        it
        for it in facts.exposed or ()
        if (it.path == folder or it.path.startswith(f"{folder}/"))
        and it.kind != "l"
        and (it.path != key_path or it.owner)
    ]
    told = [_words(it, folder) for it in found[:MOST]]
    return [*told, f"and {len(found) - MOST} more"] if len(found) > MOST else told


def wipe(folder: str) -> str:
    """The script that removes the folder, its files overwritten first: that means something where the disk writes in
    place, and costs nothing elsewhere."""
    path = quote(folder)
    return f"""\
if [ -d {path} ] && command -v shred >/dev/null; then
  find {path} -xdev -type f -exec shred -n 1 -z -- {{}} + || :
fi
rm -rf -- {path}
"""


def _words(it: Exposed, folder: str) -> str:
    name = it.path.removeprefix(folder).lstrip("/") or "its folder"
    return f"{name} {it.mode}" + (f" of the user {it.owner}" if it.owner else "")
