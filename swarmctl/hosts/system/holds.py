"""What a machine holds of the packages that a GPU driver's version depends on: the script, and its parser. Pure.

What swarmctl holds itself does not count, it lets go of that when it changes it: where it keeps packages of a vendor's
driver, that driver is its own. Most machines hold nothing, which their files tell: then no program is started.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts import packages
from swarmctl.hosts.packages.dnf_program import LOCKLIST

FOLDER = "/var/lib/swarmctl/driver"
NVIDIA = (
    *("nvidia-fabricmanager*", "nvidia-fabric-manager*", "libnvidia-nscq*", "libnvsdm*", "nvidia-imex*"),
    *("nvidia-driver-cuda", "nvidia-persistenced", "nvidia-modprobe", "nvidia-smi", "libcuda1", "libnvidia-ml1"),
    *("libnvidia-compute*", "nvidia-utils*", "nvidia-compute-utils*"),
    *("nvidia-kernel*-dkms", "nvidia-open-kernel-dkms", "nvidia-dkms*", "kmod-nvidia-*"),
)
AMD = ("amdgpu-dkms*", "rocm-core", "rocm-hip-runtime", "rocminfo")
LINES = 64
"""Of held packages that are taken; there are some forty that may be."""

SCRIPT = (
    r"""
part held
ours() { [ -d "$1/current" ] || [ -d "$1/new" ] || [ -d "$1/old" ]; }
# By one look at the folder: each pattern by itself would read it again.
there_of() {
  for file in /var/lib/dpkg/info/*.list; do
    file=${file##*/}
    case ${file%.list}: in
      ANY_OF_ONE) [ -z "$one" ] || return 0 ;;
      ANY_OF_OTHER) [ -z "$other" ] || return 0 ;;
    esac
  done
  return 1
}
one='' other=''
set -f --
ours FOLDER || { set -- "$@" NVIDIA; one=asked; }
ours FOLDER-amd || { set -- "$@" AMD; other=asked; }
set +f
if [ $# -gt 0 ] && there_of; then
  echo "@ apt $(dpkg --print-architecture)"
  # Patterns fit what is only known by name, too.
  timeout 10 dpkg-query -W -f '${db:Status-Abbrev}\t${Package}\t${Architecture}\t${Version}\n' "$@" |
    grep '^h' | head -n LINES
  echo '@ end'
elif [ $# -gt 0 ] && [ -s LOCKLIST ]; then
  echo "@ dnf $(uname -m)"
  timeout 10 rpm -qa --qf '%{NAME}\t%{ARCH}\t%{EPOCHNUM}:%{VERSION}-%{RELEASE}\t%{INSTALLTIME}\n' "$@" | head -n LINES
  head -n 1000 LOCKLIST | sed 's/^/@ lock /'
  echo '@ end'
fi
""".replace("FOLDER", FOLDER)
    .replace("ANY_OF_ONE", " | ".join(f"{name}:*" for name in NVIDIA))
    .replace("ANY_OF_OTHER", " | ".join(f"{name}:*" for name in AMD))
    .replace("NVIDIA", " ".join(NVIDIA))
    .replace("AMD", " ".join(AMD))
    .replace("LOCKLIST", LOCKLIST)
    .replace("LINES", str(LINES))
)


def held(parts: Mapping[str, str]) -> dict[str, str]:
    """Name → the package manager's version; nothing where it can't be told, for it is asked again before a change."""
    try:
        there = packages.READING.parse(parts.get("held", "").strip("\n").encode(), "")
    except WorldUnreadable:
        return {}
    return {name: there.installed[name] for name in sorted(there.held) if name in there.installed}
