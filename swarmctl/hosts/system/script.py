"""The script that reads a machine's own facts: it only reads, in plain POSIX shell, and needs no program for certain
but those of coreutils, grep and sed. Pure: who runs it is another room.

Starting a program costs a machine more than all that most parts of this read: what the shell can read by itself, it
does. Lists are bounded by counting, to one more than is taken, so that it shows; what programs print by `head`, their
time by `timeout` where they ask more than the kernel, and everything together by whoever reads it. What is missing is
left empty: the parsers make "unknown" of that.
"""

from __future__ import annotations

from swarmctl.hosts import first_look
from swarmctl.hosts.system import holds

_ITSELF = r"""
export LC_ALL=C TZ=UTC0
part() { printf '\n@@ %s\n' "$1"; }
there() { command -v "$1" >/dev/null 2>&1; }
few() {
  left=64
  # The last line of a file may have no end.
  while [ "$left" -gt 0 ] && { read -r got || [ "$got" ]; }; do printf '%.4096s\n' "$got"; left=$((left - 1)); done
}
much() { head -c 1048576; }
line() { got=; read -r got <"$1"; printf '%.200s\t' "$got"; }
# The first line of every file, what several have only once.
each() {
  seen=' '
  for file in "$@"; do
    got=
    read -r got <"$file"
    case $seen in *" $got "*) ;; *) seen="$seen$got "; printf '%.200s\n' "$got" ;; esac
  done
}
exec 2>/dev/null
part hostname; few </proc/sys/kernel/hostname
part now; date +%s
part boot; few </proc/sys/kernel/random/boot_id
part os; if [ -r /etc/os-release ]; then few </etc/os-release; else few </usr/lib/os-release; fi
part kernel; few </proc/sys/kernel/osrelease
part architecture; uname -m
# Of one processor: hundreds of them would be a megabyte.
part cpu
model=
while read -r got && [ "$got" ]; do
  case $got in 'model name'*) model=yes ;; esac
  printf '%.16384s\n' "$got"
done </proc/cpuinfo
part lscpu; if [ ! "$model" ] && there lscpu; then lscpu | grep '^Model name:'; fi
part online; few </sys/devices/system/cpu/online
# Not by the shell, which asks for one byte at a time: of a list the kernel gives nothing then.
part siblings; head -qc 64 /sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list
part packages; each /sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id
part memory; few </proc/meminfo
part lsblk
if there lsblk; then timeout 10 lsblk -J -b -e 1,7 -o NAME,TYPE,SIZE,ROTA,TRAN,MODEL,FSTYPE,MOUNTPOINT | much; fi
part block
left=4097
for disk in /sys/block/*; do
  [ -e "$disk/size" ] && [ "$left" -gt 0 ] || continue
  used= left=$((left - 1))
  for inside in "$disk/${disk##*/}"*/partition "$disk"/holders/*; do [ ! -e "$inside" ] || used=1; done
  printf '%s\t' "${disk##*/}"
  line "$disk/size"; line "$disk/queue/rotational"; line "$disk/device/model"
  printf '%s\n' "$used"
done
part link; if there ip; then ip -d -j address | much; fi
part net
left=4097
for link in /sys/class/net/*; do
  [ -e "$link/mtu" ] && [ "$left" -gt 0 ] || continue
  device= driver= left=$((left - 1))
  if cd -P "$link/device/driver"; then driver=$PWD; fi
  if cd -P "$link/device"; then device=$PWD; fi
  # What virtio makes lies below its PCI device.
  while [ -n "$device" ] && { [ ! -e "$device/vendor" ] || [ ! -e "$device/class" ]; }; do device=${device%/*}; done
  printf '%s\t' "${link##*/}"
  line "$link/address"; line "$link/operstate"; line "$link/mtu"; line "$link/speed"
  printf '%s\t%s\n' "${driver##*/}" "${device##*/}"
done
cd /
part lspci; if there lspci; then { timeout 10 lspci -nn -D || echo "ended $?"; } | much; fi
part pci
left=4097 asked=
[ -d /sys/bus/pci/devices ] && echo bus
for device in /sys/bus/pci/devices/*; do
  [ "$left" -gt 0 ] || break
  vendor= id= class= left=$((left - 1))
  read -r vendor <"$device/vendor"; read -r id <"$device/device"; read -r class <"$device/class"
  printf '%s\t%s\t%s\t%s\n' "${device##*/}" "$vendor" "$id" "$class"
  case $vendor$class in 0x10de0x03* | 0x10de0x0680* | 0x10020x03* | 0x10020x12*) asked="$asked $device/config" ;; esac
done
# The kernel remembers what a card was; one that has left the bus answers every question with ones. Of a virtual
# function the first four bytes read so, and others don't.
part gone
for file in $asked; do
  got=$(od -An -v -tx1 -N 16 "$file")
  case $got in '' | *[!\ f]*) ;; *) file=${file%/config}; echo "${file##*/}" ;; esac
done
# Slow to read, so all at once; of Mellanox' network cards only, and what has no VPD, or is virtual, leads nowhere.
part switches
left=64
for device in /sys/bus/pci/devices/*; do
  vendor= class=
  read -r vendor <"$device/vendor"; read -r class <"$device/class"
  case $vendor$class in 0x15b30x02*) left=$((left - 1)) ;; *) continue ;; esac
  [ "$left" -ge 0 ] || break
  {
    status=0
    if [ -e "$device/physfn" ] || [ ! -e "$device/vpd" ]; then status=none
    else timeout 2 grep -aq SW_MNG "$device/vpd" || status=$?; fi
    printf '%s\t%s\n' "${device##*/}" "$status"
  } &
done
wait
# What is built into the kernel stands there as well, without a state.
part modules
if [ -r /proc/modules ] && [ -d /sys/module ]; then
  echo there
  left=4097
  for one in /sys/module/*/initstate; do
    [ -e "$one" ] && [ "$left" -gt 0 ] || break
    one=${one%/*} left=$((left - 1))
    echo "${one##*/}"
  done
fi
part builtin; for one in wireguard nf_tables tun; do [ ! -d "/sys/module/$one" ] || echo "$one"; done
part versions
left=4096
for file in /sys/module/*/version; do
  [ -e "$file" ] && [ "$left" -gt 0 ] || break
  got= left=$((left - 1))
  read -r got <"$file"
  printf '%s:%.200s\n' "$file" "$got"
done
part nvidia; few </proc/driver/nvidia/version
part firmware; for one in /sys/firmware/*; do [ ! -e "$one" ] || echo "${one##*/}"; done
part secureboot
variable=/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c
if [ -r "$variable" ]; then od -An -v -tu1 -N 5 "$variable"; fi
part mokutil; if there mokutil; then timeout 5 mokutil --sb-state; fi
part iommu
if [ -d /sys/kernel/iommu_groups ]; then
  echo there
  left=64
  for one in /sys/class/iommu/*; do
    [ -e "$one" ] && [ "$left" -gt 0 ] || break
    echo "${one##*/}"; left=$((left - 1))
  done
fi
part groups
left=4097
for device in /sys/kernel/iommu_groups/*/devices/*; do
  [ -e "$device" ] && [ "$left" -gt 0 ] || break
  printf '%s\n' "${device#/sys/kernel/iommu_groups/}"; left=$((left - 1))
done
part modes; each /sys/kernel/iommu_groups/*/type
part virtualisation
if there systemd-detect-virt; then
  # Without an option it tells of a container, or else of a virtual machine.
  found=$(systemd-detect-virt)
  case $found in
    none) machine=none container=none ;;
    kvm | qemu | xen | vmware | microsoft | oracle | amazon | google) machine=$found container=none ;;
    systemd-nspawn | lxc | docker | podman | container-other) machine=$(systemd-detect-virt --vm) container=$found ;;
    *) machine=$(systemd-detect-virt --vm) container=$(systemd-detect-virt --container) ;;
  esac
  printf 'machine\t%s\ncontainer\t%s\n' "$machine" "$container"
fi
for file in sys_vendor product_name; do
  [ -r "/sys/class/dmi/id/$file" ] || continue
  printf '%s\t' "$file"; got=; read -r got <"/sys/class/dmi/id/$file"; printf '%.200s\n' "$got"
done
part tee
for file in kvm_amd/parameters/sev kvm_amd/parameters/sev_es kvm_amd/parameters/sev_snp kvm_intel/parameters/tdx; do
  [ -r "/sys/module/$file" ] || continue
  printf '%s\t' "${file##*/}"; got=; read -r got <"/sys/module/$file"; printf '%.20s\n' "$got"
done
for module in kvm_amd kvm_intel; do [ -d "/sys/module/$module" ] && printf '%s\tthere\n' "$module"; done
for file in sev sev-guest tdx_guest tdx-guest sgx_enclave; do
  [ -e "/dev/$file" ] && printf 'dev/%s\tthere\n' "$file"
done
part capacity; few </sys/fs/cgroup/misc.capacity
part clock
# It asks a service, which only systemd starts.
if [ -d /run/systemd/system ] && there timedatectl; then timeout 5 timedatectl show --property=NTPSynchronized; fi
if there chronyc; then printf 'chrony='; timeout 5 chronyc -c -n tracking || echo; fi
# A name there has 15 characters at most.
part daemons; grep -hsxE 'chronyd|ntpd|ntpsec|systemd-timesyn|openntpd' /proc/[0-9]*/comm
part init; [ -d /run/systemd/system ] && echo booted; few </proc/1/comm
part cgroups
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo 2; elif [ -d /sys/fs/cgroup/memory ]; then echo 1; fi
"""
SCRIPT = f"{_ITSELF}{holds.SCRIPT.lstrip()}part look{first_look.SCRIPT}part end\n"
