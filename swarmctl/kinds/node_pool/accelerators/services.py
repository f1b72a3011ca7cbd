"""The daemons around a driver: their units, what they are where there is no systemd, and how they are told there. Pure.

Units and programs: NVIDIA's packages nvidia-persistenced, nvidia-fabricmanager, nvidia-imex, nvidia-container-toolkit,
datacenter-gpu-manager-4 and datacenter-gpu-manager-exporter.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from shlex import quote

COUNTERS = "/etc/dcgm-exporter/swarmctl-counters.csv"
OVERRIDE = "/etc/systemd/system/nvidia-dcgm-exporter.service.d/swarmctl.conf"
PERSISTENCE = "nvidia-persistenced.service"
PERSISTS = "/etc/systemd/system/nvidia-persistenced.service.d/swarmctl.conf"
IDLES = "--no-persistence-mode"
"""What Ubuntu's unit runs that daemon with: then it keeps nothing loaded (nvidia-persistenced(1))."""
EXPORTER = "nvidia-dcgm-exporter.service"
FABRIC = "nvidia-fabricmanager.service"
HOSTENGINE = "nvidia-dcgm.service"
CDI = "nvidia-cdi-refresh.service"


@dataclass(frozen=True, slots=True)
class Daemon:
    """One unit, and the program behind it."""

    unit: str
    argv: tuple[str, ...] = ()
    """In the foreground; empty for what runs only where systemd does."""

    @property
    def name(self) -> str:
        """Of the service where there is no systemd."""
        return self.unit.partition(".")[0]

    @property
    def comm(self) -> str:
        """What the kernel calls its process: 15 bytes."""
        return self.argv[0].rpartition("/")[2][:15] if self.argv else ""


DAEMONS: Mapping[str, Daemon] = {
    one.unit: one
    for one in (
        Daemon(PERSISTENCE, ("/usr/bin/nvidia-persistenced", "--verbose", "--no-daemonize")),
        Daemon(
            FABRIC,
            ("/usr/bin/nv-fabricmanager", "-c", "/usr/share/nvidia/nvswitch/fabricmanager.cfg"),
        ),
        Daemon("nvidia-imex.service", ("/usr/bin/nvidia-imex", "-c", "/etc/nvidia-imex/config.cfg")),
        Daemon("nvidia-cdi-refresh.path"),
        Daemon(CDI),
        Daemon(HOSTENGINE, ("/usr/bin/nv-hostengine", "-n")),
        Daemon(EXPORTER, ("/usr/bin/dcgm-exporter", "-f", COUNTERS)),
    )
}
"""By unit, in the order in which they start."""
CLIENTS = frozenset({PERSISTENCE, HOSTENGINE, EXPORTER})
"""Units that have the cards open, and end before MIG is set (NVIDIA MIG User Guide, Enable MIG Mode). Fabric Manager
goes on: it sets up the NVSwitches' links of a card that was reset."""
ONE_SHOT = frozenset({CDI})
"""Units that do something and end; enabled is all that they can be."""


def ordered(units: Iterable[str]) -> list[Daemon]:
    """Those of `DAEMONS`, in the order in which they start."""
    wanted = set(units)
    return [daemon for unit, daemon in DAEMONS.items() if unit in wanted]


STATES = "\n".join(
    [
        "if [ -d /run/systemd/system ]; then",
        f"  for unit in {' '.join(DAEMONS)}; do",
        f"    case $unit in {'|'.join(sorted(ONE_SHOT))}) ask=is-enabled ;; *) ask=is-active ;; esac",
        '    systemctl -q $ask "$unit" 2>/dev/null || continue',
        f'    if [ "$unit" = {PERSISTENCE} ]; then',
        '      pid=$(systemctl show -p MainPID --value "$unit" 2>/dev/null)',
        f"      ! tr '\\0' '\\n' 2>/dev/null </proc/${{pid:-0}}/cmdline | grep -qx -- {IDLES} || continue",
        "    fi",
        '    echo "$unit"',
        "  done; :",
        "else",
        "  for file in /proc/[0-9]*/comm; do read -r comm <$file 2>/dev/null || continue; case $comm in",
        *(f"    {quote(daemon.comm)}) echo {unit} ;;" for unit, daemon in DAEMONS.items() if daemon.comm),
        "  esac; done",
        *(f"  echo {unit}" for unit, daemon in DAEMONS.items() if not daemon.comm),
        "fi",
    ]
)
"""Prints the units that run; where there is no systemd, those that are nothing but systemd's count as such."""

_LINE = "{}, {}, of this machine's cards"
_GAUGES = ("DCGM_FI_DEV_XID_ERRORS", "DCGM_FI_DEV_ROW_REMAP_FAILURE")


def _starts(command: str, file: str) -> str:
    """Have a unit run another command, a word of shell: of what a unit says, an empty line takes the own one away."""
    return f"mkdir -p {file.rpartition('/')[0]}\nprintf '[Service]\\nExecStart=\\nExecStart=%s\\n' {command} >{file}"


def counters_script(fields: Sequence[str]) -> str:
    """Write the exporter's list: what its own has on, and `fields` where those are not. Says `changed` where it is new:
    it reads the list when it starts."""
    lines = "\n".join(_LINE.format(field, "gauge" if field in _GAUGES else "counter") for field in fields)
    return f"""
file={COUNTERS}
mkdir -p "${{file%/*}}"
own="${{file%/*}}/default-counters.csv"
{{ [ ! -f "$own" ] || sed -n '/^DCGM_FI_[A-Z0-9_]*,/p' "$own"
cat <<'END OF COUNTERS'
{lines}
END OF COUNTERS
}} | awk -F, '!seen[$1]++' >"$file.new"
{_starts('"/usr/bin/dcgm-exporter -f $file"', f"{OVERRIDE}.new")}
said() {{ cat "$1" 2>/dev/null || :; }}
[ "$(said "$file")" = "$(said "$file.new")" ] && [ "$(said {OVERRIDE})" = "$(said {OVERRIDE}.new)" ] || echo changed
mv "$file.new" "$file"
mv {OVERRIDE}.new {OVERRIDE}
"""


def stop_script() -> str:
    """Stop them all where systemd runs them, the last one first; says `none` where it does not."""
    units = " ".join(reversed(list(DAEMONS)))
    return f"""
if [ -d /run/systemd/system ]; then
  for unit in {units}; do systemctl stop "$unit" 2>/dev/null || :; done
else echo none; fi
"""


def _persists() -> str:
    """Have the daemon keep the driver loaded, whatever its unit says."""
    return f"""
  unit=$(systemctl show -p FragmentPath --value {PERSISTENCE} 2>/dev/null || :)
  line=$(sed -n 's/^ExecStart=//p' "$unit" 2>/dev/null | tail -n 1)
  case $line in
    *{IDLES}*)
      if [ ! -f {PERSISTS} ]; then
{_starts(f'"${{line%%{IDLES}*}}${{line#*{IDLES}}}"', PERSISTS)}
        systemctl daemon-reload
        systemctl stop {PERSISTENCE} 2>/dev/null || :
      fi ;;
  esac"""


def end_script(unit: str) -> str:
    """Stop that one where systemd runs it; says `none` where systemd does not run."""
    return f"if [ -d /run/systemd/system ]; then systemctl stop {unit} 2>/dev/null || :; else echo none; fi\n"


def start_script(units: Iterable[str]) -> str:
    """Enable and start these and no other; says `none` where systemd does not run."""
    wanted = [daemon.unit for daemon in ordered(units)]
    others = [unit for unit in DAEMONS if unit not in wanted]
    return f"""
if [ -d /run/systemd/system ]; then
{_persists() if PERSISTENCE in wanted else ""}
  systemctl daemon-reload
  for unit in {" ".join(others)}; do systemctl disable --now "$unit" 2>/dev/null || :; done
  for unit in {" ".join(wanted)}; do systemctl enable --now "$unit"; done
else echo none; fi
"""
