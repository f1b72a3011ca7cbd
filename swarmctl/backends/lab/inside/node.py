"""Starting a node: its namespaces, its file system, and the first process of its tree."""

from __future__ import annotations

import os

from . import daemon, kernel
from .tree import Tree

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

NAMESPACES = kernel.CLONE_NEWNS | kernel.CLONE_NEWNET | kernel.CLONE_NEWPID | kernel.CLONE_NEWUTS | kernel.CLONE_NEWIPC


def boot(request: dict[str, Any]) -> int:
    """Start the node's first process; it comes to life on go, when its network stands and its mark is written."""
    for descriptor in request["cgroups"]:
        os.write(descriptor, b"0")
    kernel.unshare(NAMESPACES | kernel.CLONE_NEWCGROUP)
    pid = os.fork()
    if pid:
        daemon.announce(pid)
        return 0
    os.setsid()
    kernel.hide_process()
    daemon.wait_for_go()
    report = daemon.keep_report()
    daemon.close_others(report)
    _build(request)
    kernel.sethostname(request["hostname"])
    daemon.close_others(report)
    kernel.drop_rights()
    daemon.sleep_forever(report, request["env"])


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
    kernel.pivot_root(root)
