"""Restarting a machine: that it did restart is known from its boot id, which the kernel makes anew (random(4))."""

from __future__ import annotations

import re
import time
from collections.abc import Callable

from swarmctl.backends.base import Fenced, ForeignStack, Host, HostGone, HostUnreachable, StillChanging
from swarmctl.errors import SwarmError
from swarmctl.hosts.guard_script import FOLDER

PAUSE = 2.0
"""Seconds between two looks."""
_BOOT = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
# A container's first process may be systemd, too; what it restarts is not the machine.
_LOOK = """
cat /proc/sys/kernel/random/boot_id
if [ ! -d /run/systemd/system ]; then echo 'no systemd'
elif kind=$(systemd-detect-virt --container 2>/dev/null); then echo "container $kind"
else echo machine; fi
"""
_WAITS = "unconfirmed"
# It answers when the restart has been ordered, not when it begins. Inhibitors are for people at a desk. A guarded
# change that is not confirmed would be undone by the restart; one that begins after this look is, and the run says so.
_REBOOT = f"""
[ ! -s {FOLDER}/deadline ] || {{ echo {_WAITS}; exit 0; }}
systemctl --no-wall --check-inhibitors=no reboot || systemctl --no-wall reboot
"""


class CannotReboot(SwarmError):
    """What answers there is no machine that can restart itself."""


class Unconfirmed(CannotReboot):
    """A restart would undo changes that are not confirmed yet."""


def reboot(
    host: Host,
    *,
    timeout: float,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> None:
    """Restart the machine and wait until it answers after that, for `timeout` seconds at the most.

    Raises `CannotReboot` (`Unconfirmed`) with nothing done, `HostUnreachable` when it does not answer first, or not
    again in time, and what else `Host.run` raises before the restart is ordered.
    """
    before = _able(host)
    deadline = clock() + timeout
    try:
        said = host.run(["sh", "-c", _REBOOT], timeout=60).text
        if said.strip() == _WAITS:
            raise Unconfirmed(
                f"{host.name} is not restarted: changes of its mesh or firewall wait to be confirmed, "
                "and would be undone",
                "apply again: they are confirmed at the end of a run",
            )
    except HostGone:
        raise
    except HostUnreachable:
        pass  # the connection may have been cut by what was asked for; the boot id tells
    why = "it still runs as before"
    while (left := deadline - clock()) > 0:
        sleep(min(PAUSE, left))
        try:
            after, _ = _look(host)
        except (Fenced, ForeignStack, StillChanging, HostGone):
            raise
        except SwarmError as error:
            why = error.message
            continue
        if after != before:
            return
        why = "it still runs as before"
    raise HostUnreachable(
        f"{host.name} was told to restart and has not come back within {timeout:g} s: {why}",
        "look at its console: it may wait for a passphrase, a disk check or a key to be enrolled",
    )


def boot_id(host: Host) -> str:
    """Of the kernel that runs there now. Raises `HostUnreachable`, `CannotReboot` for an answer that is none."""
    return _look(host)[0]


def _able(host: Host) -> str:
    """The boot id of a machine that can be restarted. Raises `CannotReboot`."""
    boot, what = _look(host)
    if what == "machine":
        return boot
    if what == "no systemd":
        raise CannotReboot(
            f"{host.name} can't be restarted: its first process is not systemd",
            "nodes of a lab are made anew instead; restart a machine with another init by its own means",
        )
    raise CannotReboot(
        f"{host.name} can't be restarted: it is a container ({what.removeprefix('container ')}), not a machine",
        "restart the machine that it runs on",
    )


def _look(host: Host) -> tuple[str, str]:
    lines = host.run(["sh", "-c", _LOOK], timeout=15, check=False).text.splitlines()
    if len(lines) < 2 or not _BOOT.fullmatch(lines[0]):
        raise CannotReboot(
            f"{host.name} can't be restarted: it does not tell its boot id",
            f"see what `swarmctl exec {host.name} -- cat /proc/sys/kernel/random/boot_id` prints",
        )
    return lines[0], lines[1][:60]
