"""What divides a machine's cards when it starts: a restart loses MIG devices, and from Hopper on the mode, too.

One unit of systemd's runs one program, in which the layout is written. It comes after what sets the cards up, and
before what uses them; of these nothing waits for its success. Machines that systemd doesn't run have none of it.

Sources: NVIDIA MIG User Guide, on what persists; NVIDIA mig-parted, whose unit takes the same place in the order. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from shlex import quote

from swarmctl.hosts import startup
from swarmctl.kinds.node_pool.accelerators import scripts
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA
from swarmctl.kinds.node_pool.accelerators.services import CDI, CLIENTS, EXPORTER, FABRIC, HOSTENGINE, PERSISTENCE

FOLDER = "/etc/swarmctl/driver"
PROGRAM = f"{FOLDER}/mig.sh"
NAME = "swarmctl-mig.service"
UNIT = f"{startup.UNITS}/{NAME}"
LINK = f"{startup.UNITS}/multi-user.target.wants/{NAME}"
FILES = (PROGRAM, UNIT, LINK)
READ = startup.reading(FILES)
"""For `reading.SCRIPT`."""
USERS = (
    *(CDI, HOSTENGINE, EXPORTER, "docker.service", "containerd.service", "crio.service", "podman.service"),
    *("kubelet.service", "k3s.service", "k3s-agent.service", "rke2-server.service", "rke2-agent.service"),
    *("k0scontroller.service", "k0sworker.service", "slurmd.service"),
)
"""Units that find the cards divided, or would be in the way of that."""
_UNIT = f"""\
[Unit]
Description=MIG layout of swarmctl
RequiresMountsFor={FOLDER} {NVIDIA.folder}
ConditionPathExists=/usr/bin/nvidia-smi
After=systemd-modules-load.service {PERSISTENCE} {FABRIC}
Before={" ".join(USERS)}
[Service]
Type=oneshot
RemainAfterExit=yes
TimeoutStartSec=300
ExecStart=/bin/sh {PROGRAM}
[Install]
WantedBy=multi-user.target
"""
_HEAD = r"""# Divides this machine's cards as swarmctl has left them, when it starts; what is so already is not touched.
set -u
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
wrong='' changed='' paused='' looked='' users=''
say() { printf '%s\n' "$*" >&2; }
# The driver is being changed, and whoever does that divides the cards when it is verified.
if [ -e UNVERIFIED ] || [ -e OLD ]; then say 'the driver is not verified: the cards are left as they are'; exit 0; fi
# The instances of the card at a PCI address, sorted, each with a space behind it.
has() {
  cards=$(timeout -k 5 60 nvidia-smi LIST) || return 1
  number=$(printf '%s\n' "$cards" | awk -F ', ' -v at="$1" '
    function bare(text) { sub("^0+", "", text); return tolower(text) }
    bare($2) == bare(at) { print $1 }')
  [ -n "$number" ] || return 1
  listed=$(timeout -k 5 60 nvidia-smi -L) || return 1
  printf '%s\n' "$listed" | awk -v number="$number:" '
    $1 == "GPU" { here = $2 == number }
    here && $1 == "MIG" { print $2 }' | sort | tr '\n' ' '
}
busy() {
BUSY}
idle() {
  if [ -z "$looked" ]; then users=$(busy | tr '\n' ';') looked=yes; fi
  [ -z "$users" ]
}
# What of the driver's own has the cards open goes for a moment, and comes back whatever happens here.
pause() {
  [ -z "$changed" ] || return 0
  changed=yes
  for unit in CLIENTS; do
    if systemctl -q is-active "$unit" 2>/dev/null && systemctl stop "$unit"; then paused="$paused $unit"; fi
  done
}
resume() {
  # Without waiting: some of them are to start after this one has ended.
  for unit in $paused; do systemctl --no-block start "$unit" || :; done
  paused=''
}
trap resume EXIT
trap 'exit 1' HUP INT TERM
# Address, instances as `has` tells them; how they are made is on standard input.
card() {
  steps=$(cat)
  if ! there=$(has "$1"); then
    say "nvidia-smi does not tell how the card at $1 is divided: it is left as it is"
    wrong=yes
  elif [ "$there" != "$2" ]; then
    if ! idle; then
      say "the card at $1 is left as it is: processes compute here: $users"
      wrong=yes
      return 0
    fi
    pause
    sh -eu -c "$steps" </dev/null >&2 || :
    if there=$(has "$1") && [ "$there" = "$2" ]; then say "the card at $1 is divided: $2"; else
      say "the card at $1 could not be divided: it has ${there:-no instances}, and should have $2"
      wrong=yes
    fi
  fi
}
"""
_TAIL = f"""\
if [ -n "$changed" ] && systemctl -q is-enabled {CDI} 2>/dev/null; then systemctl --no-block restart {CDI} || :; fi
[ -z "$wrong" ]
"""

END = f"if [ -d /run/systemd/system ]; then systemctl stop {NAME} 2>/dev/null || :; fi\n"
"""Ends it where it is at work, or about to be: after a restart it is so beside whoever waited for that."""


def program(mig: Mapping[str, Mapping[str, int]]) -> str:
    """That of a layout."""
    head = _HEAD.replace("UNVERIFIED", NVIDIA.unverified).replace("OLD", NVIDIA.old).replace("LIST", scripts.LIST)
    head = head.replace("BUSY", scripts.busy().lstrip()).replace("CLIENTS", " ".join(sorted(CLIENTS)))
    cards = []
    for address, profiles in sorted(mig.items()):
        wanted = "".join(f"{name} " * number for name, number in sorted(profiles.items()))
        steps = scripts.divide({address: profiles}, [address])
        cards.append(f"card {quote(address)} {quote(wanted)} <<'END OF CARD'\n{steps}END OF CARD\n")
    return head + "".join(cards) + _TAIL


def wrong(found: Mapping[str, str] | None, mig: Mapping[str, Mapping[str, int]]) -> str:
    """What would happen at a restart instead: `startup.GONE`, `startup.ANOTHER`; empty when it is as it should be."""
    if not mig:
        return startup.ANOTHER if found else ""
    return startup.differs(found, _files(mig))


def script(found: Mapping[str, str] | None, mig: Mapping[str, Mapping[str, int]]) -> str:
    """What makes it so on a machine; empty where nothing is to be done."""
    if mig:
        return startup.write(found, FOLDER, _files(mig), {LINK: UNIT})
    return remove() if found else ""


def remove() -> str:
    """Take all of it away."""
    return f"rm -rf {FOLDER} {UNIT} {LINK}\nif [ -d /run/systemd/system ]; then systemctl daemon-reload; fi\n"


def _files(mig: Mapping[str, Mapping[str, int]]) -> dict[str, str]:
    return {PROGRAM: program(mig), UNIT: _UNIT, LINK: _UNIT}
