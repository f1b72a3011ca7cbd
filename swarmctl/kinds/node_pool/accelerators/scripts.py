"""What is run on a machine for its driver, beside the packages. Pure; everything is quoted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any

from swarmctl.gpu.model import IN_TREE
from swarmctl.kinds.node_pool.accelerators.places import NVIDIA, Places, same
from swarmctl.kinds.node_pool.accelerators.services import CDI, DAEMONS, EXPORTER

UNLOADED = ("nvidia_uvm", "nvidia_drm", "nvidia_modeset", "nvidia_peermem", "nvidia_fs", "gdrdrv", "nvidia")
"""Modules in the order in which they go: each uses those after it."""

LIST = "--query-gpu=index,pci.bus_id,driver_version,mig.mode.current --format=csv,noheader"
"""How `nvidia-smi` is asked for the cards: `0, 00000000:17:00.0, 595.91.07, Disabled`."""


def fetch_key(at: Places, url: str) -> str:
    """Fetch the key file of a repository, as apt fetches files."""
    helper = f"/usr/lib/apt/apt-helper download-file {quote(url)} {at.fetched}"
    return f"mkdir -p {at.folder}\nrm -f {at.fetched}\n{helper} >&2\n"


def entries(repository: Mapping[str, Any]) -> tuple[str, ...]:
    """What apt takes packages from, as readings tell it: an address, or address, suite and component of several."""
    return tuple(repository.get("sources") or (same(repository["url"]),))


def source_lines(at: Places, repository: Mapping[str, Any]) -> str:
    """For `Places.sources`; a repository without a suite is flat."""
    if "sources" in repository:
        return "".join(f"deb [arch=amd64 signed-by={at.keyring}] {one}\n" for one in repository["sources"])
    return f"deb [signed-by={at.keyring}] {repository['url']} /\n"


def elsewhere(at: Places, repository: Mapping[str, Any]) -> str:
    """Prints the other files in which apt is told of one of the repositories, and which one: a line each."""
    addresses = " ".join(quote(entry.split()[0].rstrip("/")) for entry in entries(repository))
    return f"""
for file in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  if [ ! -f "$file" ] || [ "$file" = {at.sources} ]; then continue; fi
  for url in {addresses}; do
    awk -v url="$url" -v file="$file" '
      function told() {{ if (there && !off) print file, url; there = off = 0 }}
      {{ sub("\r$", "") }}
      /^[ \t]*$/ {{ told(); next }}
      /^[ \t]*#/ {{ next }}
      tolower($0) ~ /^enabled:[ \t]*(no|false|0|off|without|disable)/ {{ off = 1 }}
      {{
        sub("^[A-Za-z-]+:", " ")
        for (i = 1; i <= NF; i++) {{
          word = $i; sub("/+$", "", word); sub("^file:/+", "file:/", word)
          if (word == url) there = 1
        }}
      }}
      END {{ told() }}' "$file"
  done
done
"""


def preferences(version: str) -> str:
    """For apt: this version of whatever is NVIDIA's. Its packages need others of exactly their version that nobody
    names; apt by itself would take the newest of those, and then install nothing at all. A name alone means the
    machine's own architecture, and libraries for 32-bit programs have to be of the same version."""
    names = ("*nvidia*", "*cuda*", "libnv*")
    every = " ".join([*names, *(f"{name}:any" for name in names)])
    return f"Package: {every}\nPin: version {version}-*\nPin-Priority: 1001\n"


def busy() -> str:
    """Prints the processes that compute on the cards. Where `nvidia-smi` can't tell, such as beside libraries of
    another version, those that have a card open and are none of the driver's own daemons."""
    own = "|".join(sorted(quote(daemon.comm) for daemon in DAEMONS.values() if daemon.comm))
    return f"""
timeout -k 2 20 nvidia-smi --query-compute-apps=pid,name --format=csv,noheader 2>/dev/null && exit 0
find /proc/[0-9]*/fd -maxdepth 1 -lname '/dev/nvidia[0-9]*' -printf '%h\\n' 2>/dev/null | sort -u | while read -r at; do
  at=${{at%/fd}}
  read -r comm 2>/dev/null <"$at/comm" || continue
  case $comm in {own}) ;; *) echo "${{at#/proc/}}, $comm" ;; esac
done
"""


def reload(version: str, flavour: str, modules: Sequence[str]) -> str:
    """Have that module loaded: unload what is there if it is another one, then load. Says `stays` and its name when it
    can't go."""
    others = "".join(f"modprobe {quote(module)}\n" for module in modules)
    opened = "*' Open Kernel Module '*) is=open ;; 'NVRM version:'*) is=proprietary ;; *) is=; "
    return f"""
loaded() {{ cat /sys/module/nvidia/version 2>/dev/null || :; }}
there() {{ cat /proc/modules | awk '{{ print $1 }}' | grep -xE '{"|".join(UNLOADED[:-1])}' || :; }}
before=$(there)
line=$(cat /proc/driver/nvidia/version 2>/dev/null | head -n 1)
case "$line" in {opened};; esac
if [ -n "$(loaded)" ] && {{ [ "$(loaded)" != {quote(version)} ] || [ "${{is:-{flavour}}}" != {flavour} ]; }}; then
  for module in {" ".join(UNLOADED)}; do modprobe -r "$module" 2>/dev/null || :; done
  if [ -n "$(loaded)" ]; then echo stays nvidia; exit 0; fi
fi
if [ -z "$(loaded)" ]; then
{_give_way()}
fi
{others}modprobe nvidia
modprobe nvidia_uvm 2>/dev/null || :
for module in $before; do modprobe "$module" 2>/dev/null || :; done
echo loaded
"""


def _give_way() -> str:
    """Unload the kernel's own drivers, and keep them from coming back when the machine starts. NVIDIA's packages do the
    second for nouveau; the first, nobody does."""
    every = " ".join(IN_TREE)
    return f"""
  own() {{ cat /proc/modules | awk '{{ print $1 }}' | grep -xE '{"|".join(IN_TREE)}' | head -n 1; }}
  if [ -n "$(own)" ]; then
    mkdir -p {NVIDIA.kept_out.rpartition("/")[0]}
    for module in {every}; do echo "blacklist $module"; done >{NVIDIA.kept_out}
    if command -v update-initramfs >/dev/null; then update-initramfs -u >&2
    elif command -v dracut >/dev/null; then dracut --force >&2; fi
    for module in {every}; do modprobe -r "$module" 2>/dev/null || :; done
    if [ -n "$(own)" ]; then echo "stays $(own)"; exit 0; fi
  fi"""


def divide(mig: Mapping[str, Mapping[str, int]], cards: Sequence[str]) -> str:
    """Divide each of `cards` (PCI addresses) as `mig` says, or not at all. Says `pending ADDRESS…` where that needs a
    restart: all cards have been asked for their mode then, so that one restart does for all of them."""
    lines = ['said() { timeout -k 5 60 nvidia-smi "$@" >&2; }', "pending=''"]
    for card in cards:
        at = quote(card)
        # What is divided is put together again first: instances must be gone before the mode or the layout changes.
        lines += [
            f"said mig -dci -i {at} || :",
            f"said mig -dgi -i {at} || :",
            f"said -i {at} -mig {int(bool(mig.get(card)))}",
        ]
        query = (
            f"timeout -k 2 20 nvidia-smi -i {at} --query-gpu=mig.mode.current,mig.mode.pending --format=csv,noheader"
        )
        lines.append(f'mode=$({query}); [ "${{mode%%,*}}" = "${{mode##*, }}" ] || said --gpu-reset -i {at} || :')
        lines.append(f'mode=$({query}); [ "${{mode%%,*}}" = "${{mode##*, }}" ] || pending="$pending "{at}')
    lines.append('[ -z "$pending" ] || { echo "pending$pending"; exit 0; }')
    for card in cards:
        profiles = [name for name, number in sorted(mig.get(card, {}).items(), reverse=True) for _ in range(number)]
        if profiles:
            lines.append(f"said mig -i {quote(card)} -cgi {quote(','.join(profiles))} -C")
    return "\n".join(lines) + "\n"


def cdi() -> str:
    """Write the CDI specification anew, by the service that keeps it where there is one."""
    return f"""
if [ -d /run/systemd/system ]; then systemctl restart {CDI}
else mkdir -p {NVIDIA.cdi.rpartition("/")[0]}; timeout -k 5 60 nvidia-ctk cdi generate --output={NVIDIA.cdi} >&2; fi
"""


def diagnose() -> str:
    """DCGM's diagnostics of level 1: it looks at software and settings, and takes seconds."""
    return "timeout -k 5 300 dcgmi diag -r 1 2>&1\n"


def keep(at: Places) -> str:
    """What is verified becomes what one can go back to. From now on the driver is ours, also one that was there."""
    return f"""
mkdir -p {at.current}
if [ -d {at.new} ]; then
  for file in {at.new}/*.deb {at.new}/*.rpm; do
    [ -e "$file" ] || continue
    name=${{file##*/}}
    rm -f {at.current}/"${{name%%_*}}"_*_"${{name##*_}}"
    mv "$file" {at.current}/
  done
fi
rm -rf {at.new} {at.old} {at.unverified}
"""


def forget(*others: str) -> str:
    """Remove every file of ours that is about NVIDIA's driver, but for what keeps the kernel's own out: it goes on."""
    ours = f"{NVIDIA.folder} {NVIDIA.sources} {NVIDIA.keyring} {NVIDIA.yum} {NVIDIA.rpm_key} {NVIDIA.modules}"
    units = "if [ -d /run/systemd/system ]; then systemctl daemon-reload; systemctl try-restart {unit}; fi || :\n"
    return f"rm -rf {ours} {NVIDIA.preferences} {' '.join(others)}\n" + units.format(unit=EXPORTER)
