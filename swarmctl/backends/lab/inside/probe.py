"""Trying out what this machine allows, in namespaces that are gone afterwards."""

from __future__ import annotations

import os

from . import kernel, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def probe(request: dict[str, Any]) -> int:
    """Make a node's namespaces; prints `user`, `overlay` and `wireguard` for what works in them."""
    try:
        node.enter_network(own_user=True)
    except OSError:
        node.enter_network(own_user=False)
    else:
        os.write(1, b"user\n")
    kernel.unshare(node.NAMESPACES | kernel.CLONE_NEWCGROUP)
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    upper = request["folder"]
    if upper and _overlay(upper):
        os.write(1, b"overlay\n")
    if request["wireguard"] and _kernel_wireguard(request["env"]):
        os.write(1, b"wireguard\n")
    return 0


def _overlay(folder: str) -> bool:
    for name in ("upper", "work", "merged"):
        os.makedirs(f"{folder}/{name}", exist_ok=True)
    try:
        os.mknod(f"{folder}/upper/hidden", 0o20000, 0)  # a whiteout
        data = f"lowerdir=/etc,upperdir={folder}/upper,workdir={folder}/work"
        kernel.mount("overlay", f"{folder}/merged", "overlay", kernel.MS_NODEV, data)
        kernel.detach(f"{folder}/merged")
    except OSError:
        return False
    return True


def _kernel_wireguard(env: dict[str, str]) -> bool:
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 1, 2)]
    # After unshare of the process tree, exactly one child can be its first process.
    pid = os.posix_spawnp("ip", ["ip", "link", "add", "type", "wireguard"], env, file_actions=actions)
    return os.waitpid(pid, 0)[1] == 0
