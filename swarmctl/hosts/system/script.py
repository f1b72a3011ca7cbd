"""The script that reads a machine's own facts: it only reads, in plain POSIX shell, and needs no program for certain
but those of coreutils, grep and sed. Pure: who runs it is another room.

Every part is bounded in size by `head`, and in time by `timeout` where it asks more than the kernel. What is missing is
left empty: the parsers make "unknown" of that.
"""

from __future__ import annotations

SCRIPT = r"""
export LC_ALL=C TZ=UTC0
part() { printf '\n@@ %s\n' "$1"; }
there() { command -v "$1" >/dev/null 2>&1; }
few() { head -c 4096; }
much() { head -c 1048576; }
# Without a process of its own: some machines have hundreds of interfaces and disks.
line() { got=; read -r got <"$1"; printf '%.200s\t' "$got"; }
exec 2>/dev/null
part hostname; few </proc/sys/kernel/hostname
part now; date +%s
part boot; few </proc/sys/kernel/random/boot_id
part os; if [ -r /etc/os-release ]; then few </etc/os-release; else few </usr/lib/os-release; fi
part kernel; uname -r | few
part architecture; uname -m | few
# Of one processor, and how many lists of siblings and packages there are: hundreds of them would be a megabyte.
part cpu; sed '/^[[:space:]]*$/q' /proc/cpuinfo | head -c 32768
part lscpu; if there lscpu; then timeout 5 lscpu | grep '^Model name:' | few; fi
part online; few </sys/devices/system/cpu/online
part siblings; cat /sys/devices/system/cpu/cpu[0-9]*/topology/thread_siblings_list | sort -u | head -c 131072
part packages; cat /sys/devices/system/cpu/cpu[0-9]*/topology/physical_package_id | sort -u | few
part memory; grep -E '^(MemTotal|SwapTotal):' /proc/meminfo | few
part lsblk
if there lsblk; then
  timeout 10 lsblk -J -b -e 1,7 -o NAME,TYPE,SIZE,ROTA,TRAN,MODEL,FSTYPE,MOUNTPOINT | much
fi
part block
for disk in /sys/block/*; do
  [ -e "$disk/size" ] || continue
  used=
  for inside in "$disk/${disk##*/}"*/partition "$disk"/holders/*; do [ ! -e "$inside" ] || used=1; done
  printf '%s\t' "${disk##*/}"
  line "$disk/size"; line "$disk/queue/rotational"; line "$disk/device/model"
  printf '%s\n' "$used"
done | much
part link; if there ip; then timeout 10 ip -d -j address | much; fi
part net
for link in /sys/class/net/*; do
  [ -e "$link/mtu" ] || continue
  device= driver=
  [ ! -e "$link/device" ] || device=$(readlink -f "$link/device") driver=$(readlink "$link/device/driver")
  # What virtio makes lies below its PCI device.
  while [ -n "$device" ] && { [ ! -e "$device/vendor" ] || [ ! -e "$device/class" ]; }; do device=${device%/*}; done
  printf '%s\t' "${link##*/}"
  line "$link/address"; line "$link/operstate"; line "$link/mtu"; line "$link/speed"
  printf '%s\t%s\n' "${driver##*/}" "${device##*/}"
done | much
part lspci; if there lspci; then timeout 10 lspci -nn -D | much; fi
part pci
[ -d /sys/bus/pci/devices ] && echo bus
for device in /sys/bus/pci/devices/*; do
  vendor= id= class=
  read -r vendor <"$device/vendor"; read -r id <"$device/device"; read -r class <"$device/class"
  printf '%s\t%s\t%s\t%s\n' "${device##*/}" "$vendor" "$id" "$class"
done | much
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
done | few
part modules; if [ -r /proc/modules ]; then echo there; cut -d ' ' -f 1 /proc/modules | head -c 262144; fi
part builtin; for one in wireguard nf_tables tun; do [ ! -d "/sys/module/$one" ] || echo "$one"; done
part versions; grep -H . /sys/module/*/version | head -c 262144
part nvidia; few </proc/driver/nvidia/version
part firmware; ls /sys/firmware | few
part secureboot
od -An -v -tu1 -N 5 /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c | few
part mokutil; if there mokutil; then timeout 5 mokutil --sb-state | few; fi
part iommu; if [ -d /sys/kernel/iommu_groups ]; then echo there; ls /sys/class/iommu | few; fi
part groups
for device in /sys/kernel/iommu_groups/*/devices/*; do
  [ ! -e "$device" ] || printf '%s\n' "${device#/sys/kernel/iommu_groups/}"
done | much
part modes; cat /sys/kernel/iommu_groups/*/type | sort -u | few
part virtualisation
if there systemd-detect-virt; then
  printf 'machine\t%s\n' "$(timeout 5 systemd-detect-virt --vm | few)"
  printf 'container\t%s\n' "$(timeout 5 systemd-detect-virt --container | few)"
fi
for file in sys_vendor product_name; do
  [ -r "/sys/class/dmi/id/$file" ] && printf '%s\t%s\n' "$file" "$(head -c 200 "/sys/class/dmi/id/$file")"
done
part tee
for file in kvm_amd/parameters/sev kvm_amd/parameters/sev_es kvm_amd/parameters/sev_snp kvm_intel/parameters/tdx; do
  [ -r "/sys/module/$file" ] && printf '%s\t%s\n' "${file##*/}" "$(head -c 20 "/sys/module/$file")"
done
for module in kvm_amd kvm_intel; do [ -d "/sys/module/$module" ] && printf '%s\tthere\n' "$module"; done
for file in sev sev-guest tdx_guest tdx-guest sgx_enclave; do
  [ -e "/dev/$file" ] && printf 'dev/%s\tthere\n' "$file"
done
part capacity; few </sys/fs/cgroup/misc.capacity
part clock
if there timedatectl; then timeout 5 timedatectl show --property=NTPSynchronized | few; fi
if there chronyc; then printf 'chrony=%s\n' "$(timeout 5 chronyc -c -n tracking | few)"; fi
# A name there has 15 characters at most.
part daemons; cat /proc/[0-9]*/comm | grep -xE 'chronyd|ntpd|ntpsec|systemd-timesyn|openntpd' | sort -u | few
part init; [ -d /run/systemd/system ] && echo booted; few </proc/1/comm
part cgroups
if [ -f /sys/fs/cgroup/cgroup.controllers ]; then echo 2; elif [ -d /sys/fs/cgroup/memory ]; then echo 1; fi
part end
"""
