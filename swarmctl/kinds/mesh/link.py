"""The link of a WireGuard interface on a node: by the kernel where it knows WireGuard, else by a process."""

from __future__ import annotations

from swarmctl.backends.base import CommandFailed, Host

FOREGROUND = ("env", "WG_PROCESS_FOREGROUND=1", "wireguard-go", "-f")
"""The variable keeps wireguard-go from telling the log that this kernel knows WireGuard, which it never checks."""
WAIT = """
tries=0
until wg show "$interface" listen-port >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$((tries % 20))" = 0 ] && [ ! -e "/sys/class/net/$interface" ] &&
    ! cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' ' ' | grep -q "wireguard-g[o] -f $interface "; then
    echo "WireGuard on $interface did not start: its process has ended" >&2; exit 1
  fi
  if [ "$tries" -ge 600 ]; then echo "WireGuard on $interface did not start within 30 s" >&2; exit 1; fi
  sleep 0.05
done
"""
"""For a shell: until the interface answers, which may take long where everything starts at once; but not for a process
that is gone."""
_DESCRIPTORS = (
    "its user's inotify instances may be used up, each of these processes needs one: see `sysctl "
    "fs.inotify.max_user_instances` there, and raise it"
)


def service(interface: str) -> str:
    """Name of the service that runs WireGuard where the kernel has none."""
    return f"wireguard-{interface}"


def start(host: Host, interface: str) -> None:
    """Make the link. One that is there already is made anew where a process runs it."""
    # A process whose link was taken away may linger.
    host.stop_service(service(interface))
    if host.run(["ip", "link", "add", interface, "type", "wireguard"], check=False).returncode:
        host.start_service(service(interface), [*FOREGROUND, interface])


def stop(host: Host, interface: str) -> None:
    """End its process; a link of the kernel's stays, one of a process goes with it."""
    host.stop_service(service(interface))


def explained(error: CommandFailed, host: Host, interface: str) -> CommandFailed:
    """The error with the last words of the process that stands in for the kernel's WireGuard, where there is one."""
    if not any(it.name == service(interface) for it in host.services()):
        return error
    said = [line.strip()[:500] for name, line in host.logs(tail=5) if name == service(interface) and line.strip()]
    if not said:
        return error
    hint = _DESCRIPTORS if any("too many open files" in line.lower() for line in said) else error.hint
    _, mark, why = error.message.partition(f"WireGuard on {interface} did not start")
    if mark:
        return CommandFailed(f"{host.name}: {mark}{why}; the last line of wireguard-go's log: {said[-1]}", hint)
    return CommandFailed(f"{error.message}; the last line of its log: {said[-1]}", hint)
