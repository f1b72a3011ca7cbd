"""Starting a node: its namespaces, its file system, and the first process of its tree."""

from __future__ import annotations

import os

from . import daemon, kernel
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWPID | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC


def boot(request: dict[str, Any]) -> int:
    """Start the node's first process; it comes to life on go, when its network stands and its mark is written."""
    for descriptor in request["cgroups"]:
        os.write(descriptor, b"0")
    user = enter_network(own_user=request["own_user"])
    kernel.unshare(NAMESPACES | kernel.CLONE_NEWCGROUP)
    pid = os.fork()
    if pid:
        daemon.announce(pid)
        return 0
    os.setsid()
    kernel.hide_process()
    daemon.wait_for_go()
    report = daemon.keep_report()
    keep = [report] if user is None else [report, user]
    daemon.close_others(*keep)
    _build(request)
    kernel.sethostname(request["hostname"])
    daemon.close_others(*keep)
    if user is not None:
        kernel.setns(user, kernel.CLONE_NEWUSER)
        os.close(user)
    kernel.drop_rights()
    daemon.sleep_forever(report, request["env"])


def enter_network(*, own_user: bool) -> int | None:
    """Go into a new network namespace; with `own_user`, into one of a new user namespace, whose descriptor is returned.

    Root of the node then is root over its own network only. Its files, processes and mounts belong to the outer user
    namespace: there it has no rights at all. User and group ids are the same inside and outside.
    """
    if not own_user:
        kernel.unshare(kernel.CLONE_NEWNET)
        return None
    ready, go = os.pipe(), os.pipe()
    maker = os.fork()
    if not maker:
        try:
            kernel.unshare(kernel.CLONE_NEWUSER)
            kernel.unshare(kernel.CLONE_NEWNET)
            os.write(ready[1], b"r")
            os.close(go[1])
            os.read(go[0], 1)  # until the other one has what it needs, or is gone
        finally:
            os._exit(0)
    try:
        os.close(ready[1])
        if os.read(ready[0], 1) != b"r":
            raise OSError("this machine refuses another user namespace")
        for name in ("uid_map", "gid_map"):
            with open(f"/proc/self/{name}") as stream:
                lines = [line.split() for line in stream]
            with open(f"/proc/{maker}/{name}", "w") as stream:
                stream.write("\n".join(f"{inside} {inside} {count}" for inside, _, count in lines))
        user = os.open(f"/proc/{maker}/ns/user", os.O_RDONLY)
        network = os.open(f"/proc/{maker}/ns/net", os.O_RDONLY)
    finally:
        for descriptor in (ready[0], *go):
            os.close(descriptor)
        os.waitpid(maker, 0)
    kernel.setns(network, kernel.CLONE_NEWNET)
    os.close(network)
    return user


def _build(request: dict[str, Any]) -> None:
    os.umask(0)
    for name in ("all", "default"):
        path = f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6"
        if os.path.exists(path):
            with open(path, "w") as stream:
                stream.write("0")
    kernel.mount("", "/", flags=kernel.MS_REC | kernel.MS_PRIVATE)
    root = request["root"]
    kernel.bind(root, root)
    tree = Tree(root)
    for target, link in request["links"]:
        tree.link(target, link)
    for action in request["mounts"]:
        tree.mount(action)
    tree.devices(tty_group=request["tty_group"])
    tree.processes()
    tree.system()
    for path, content, mode in request["files"]:
        os.close(int(tree.file(path, content, mode).rpartition("/")[2]))
    for path, link in request["relinks"]:
        tree.relink(path, link)
    kernel.pivot_root(root)
