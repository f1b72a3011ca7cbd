"""The fabric: one process per lab that holds the network namespace in which the regions' bridges stand."""

from __future__ import annotations

import os

from . import daemon, kernel

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def hold(request: dict[str, Any]) -> int:
    """Start the holder. The mount namespace it keeps is the one in which this program is read-only."""
    kernel.unshare(kernel.CLONE_NEWNET)
    # Also where the machine has set them otherwise: the lab's network is its own.
    wanted = (("ipv4/ip_forward", "1"), ("ipv6/conf/all/disable_ipv6", "1"), ("bridge/bridge-nf-call-iptables", "0"))
    for name, value in wanted:
        path = f"/proc/sys/net/{name}"
        if os.path.exists(path):
            with open(path, "w") as stream:
                stream.write(value)
    pid = os.fork()
    if pid:
        daemon.announce(pid)
        return 0
    os.setsid()
    daemon.wait_for_go()
    report = daemon.keep_report()
    daemon.close_others(report)
    os.chdir("/")
    daemon.sleep_forever(report, request["env"])
