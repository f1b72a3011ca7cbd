"""Trying out what this machine allows, in namespaces that are gone afterwards."""

from __future__ import annotations

import os

from . import kernel, node

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


_TABLE = "table ip t { chain c { type nat hook postrouting priority srcnat; ct state new snat to 192.0.2.1; }; }"
_NETWORK = 'ip link add type wireguard && echo wireguard; echo "$1" | nft -f - && echo nat'


def probe(request: dict[str, Any]) -> int:
    """Make a node's namespaces; prints `user`, `overlay`, `wireguard` and `nat` for what works in them."""
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
    if request["network"]:
        _try_network(request["env"])
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


def _try_network(env: dict[str, str]) -> None:
    """Print `wireguard` and `nat` for what the kernel has, and programs can make, in a network namespace."""
    null = os.open("/dev/null", os.O_RDWR)
    actions = [(os.POSIX_SPAWN_DUP2, null, descriptor) for descriptor in (0, 2)]
    # After unshare of the process tree, exactly one child can be its first process.
    os.waitpid(os.posix_spawnp("sh", ["sh", "-c", _NETWORK, "sh", _TABLE], env, file_actions=actions), 0)
