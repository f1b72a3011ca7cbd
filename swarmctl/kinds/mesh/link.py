"""The link of a WireGuard interface on a node: by the kernel where it knows WireGuard, else by a process."""

from __future__ import annotations

from swarmctl.backends.base import Host

FOREGROUND = ("env", "WG_PROCESS_FOREGROUND=1", "wireguard-go", "-f")
"""The variable keeps wireguard-go from telling the log that this kernel knows WireGuard, which it never checks."""
WAIT = """
tries=0
until wg show "$interface" listen-port >/dev/null 2>&1; do
  tries=$((tries + 1))
  if [ "$tries" -ge 600 ]; then echo "WireGuard on $interface did not start within 30 s" >&2; exit 1; fi
  sleep 0.05
done
"""
"""For a shell: until the interface answers, which may take long where everything starts at once."""


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
