"""The programs, as shell. `/run/standin` is what the kernel and the cards would know."""

from __future__ import annotations

from collections.abc import Mapping

RUN = "/run/standin"
MODULE = "/usr/lib/standin/module"
"""What DKMS has built: version and flavour of the module that would be loaded."""
BUILT = "/usr/lib/standin/amdgpu"
"""The same of AMD's: version and digest of its source."""
LIBRARY = "/usr/lib/standin/library"
"""Version of the libraries."""
XID = "/usr/lib/standin/xid"

RELEASE = "6.1.0-37-amd64"
"""Of the kernel that counts as running, unless `{RUN}/release` has another."""

LSPCI = """#!/bin/sh
# A stand-in: the cards that a test has put there.
cat {run}/pci
""".replace("{run}", RUN)

UNAME = """#!/bin/sh
# A stand-in: the kernel that a test has running there.
case "$*" in
  -r) cat {run}/release 2>/dev/null || echo RELEASE ;;
  *) exec /bin/uname "$@" ;;
esac
""".replace("{run}", RUN).replace("RELEASE", RELEASE)

# The kernel's files can't be put into /sys and /proc of a node.
CAT = """#!/bin/sh
# A stand-in for files of the kernel: what `modprobe` notes.
case "$*" in
  /proc/modules) [ ! -f {run}/in-tree ] || sed 's/$/ 1 0 - Live 0x0/' {run}/in-tree; exec /bin/cat /proc/modules ;;
  /sys/module/nvidia/version) [ -f {run}/loaded ] && head -n 1 {run}/loaded ;;
  /proc/driver/nvidia/version)
    [ -f {run}/loaded ] || exit 1
    { read -r version; read -r flavour; } <{run}/loaded
    if [ "$flavour" = open ]; then kind='Open Kernel Module for x86_64'; else kind='x86_64 Kernel Module'; fi
    echo "NVRM version: NVIDIA UNIX $kind  $version  Release Build"
    echo "GCC version:  gcc version 12.2.0" ;;
  /sys/module/amdgpu/initstate) [ -f {run}/amdgpu ] && echo live ;;
  /sys/module/amdgpu/version) [ -f {run}/amdgpu ] && head -n 1 {run}/amdgpu ;;
  /sys/module/amdgpu/srcversion) [ -f {run}/amdgpu ] && tail -n 1 {run}/amdgpu ;;
  *) exec /bin/cat "$@" ;;
esac
""".replace("{run}", RUN)

MODPROBE = (
    """#!/bin/sh
# A stand-in: the module that DKMS has built counts as loaded. Of AMD's the kernel has one of its own, too.
case "$*" in
  "-r amdgpu")
    [ ! -e {run}/busy ] || { echo 'modprobe: FATAL: Module amdgpu is in use.' >&2; exit 1; }
    rm -f {run}/amdgpu ;;
  amdgpu)
    [ ! -f {run}/amdgpu ] || exit 0
    mkdir -p {run}
    if [ -f {built} ]; then cp {built} {run}/amdgpu; else printf '\\nOF-THE-KERNEL\\n' >{run}/amdgpu; fi ;;
  "-r nvidia")
    [ ! -e {run}/busy ] || { echo 'modprobe: FATAL: Module nvidia is in use.' >&2; exit 1; }
    rm -f {run}/loaded ;;
  nvidia)
    [ ! -f {run}/loaded ] || exit 0
    [ -f {module} ] || { echo 'modprobe: FATAL: Module nvidia not found in directory /lib/modules/6.1' >&2; exit 1; }
    [ ! -e {run}/secure-boot ] || {
      echo "modprobe: ERROR: could not insert 'nvidia': Key was rejected by service" >&2; exit 1; }
    [ ! -s {run}/in-tree ] || { echo "modprobe: ERROR: could not insert 'nvidia': No such device" >&2; exit 1; }
    mkdir -p {run} && cp {module} {run}/loaded ;;
  "-r nova_drm" | "-r nova_core" | "-r nouveau")
    [ -f {run}/in-tree ] || exit 0
    [ ! -e {run}/busy ] || { echo "modprobe: FATAL: Module $2 is in use." >&2; exit 1; }
    sed -i "/^$2\\$/d" {run}/in-tree ;;
esac
""".replace("{run}", RUN)
    .replace("{module}", MODULE)
    .replace("{built}", BUILT)
)

MODINFO = """#!/bin/sh
# A stand-in: the module of AMD's that would be loaded.
[ "$*" = "-F srcversion amdgpu" ] || exec /sbin/modinfo "$@"
if [ -f {built} ]; then tail -n 1 {built}; else echo OF-THE-KERNEL; fi
""".replace("{built}", BUILT)

LS = """#!/bin/sh
# A stand-in for one folder of the kernel: processes that compute on AMD's cards.
case "$*" in
  /sys/class/kfd/kfd/proc) exec /bin/ls {run}/kfd ;;
  *) exec /bin/ls "$@" ;;
esac
""".replace("{run}", RUN)

MOKUTIL = """#!/bin/sh
# A stand-in: what the firmware takes.
case "$1" in
  --sb-state) if [ -e {run}/secure-boot ]; then echo 'SecureBoot enabled'; else echo 'SecureBoot disabled'; fi ;;
  --test-key) if [ -e {run}/secure-boot ]; then echo "$2 is not enrolled"; else echo "$2 is already enrolled"; fi ;;
esac
""".replace("{run}", RUN)

SMI = """#!/bin/sh
# A stand-in for nvidia-smi: it answers where the loaded module is of the libraries' version.
run={run} library=$(cat {library})
[ -f $run/loaded ] || { echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver. Make sure \\
that the latest NVIDIA driver is installed and running."; exit 9; }
version=$(head -n 1 $run/loaded)
[ "$version" = "$library" ] || { echo 'Failed to initialize NVML: Driver/library version mismatch'; exit 18; }
cards() { lspci | sed -n 's/^\\([0-9a-f:.]*\\) 3D controller.*/\\1/p'; }
mode() { [ -e "$run/mig/$1" ] && echo Enabled || echo Disabled; }
case "$*" in
  "--query-gpu=index,pci.bus_id,driver_version,mig.mode.current --format=csv,noheader")
    index=0
    for card in $(cards); do
      echo "$index, 0000$(echo "$card" | tr a-f A-F), $version, $(mode "$card")"; index=$((index + 1))
    done ;;
  -L)
    index=0
    for card in $(cards); do
      echo "GPU $index: NVIDIA H100 80GB HBM3 (UUID: GPU-$card)"; index=$((index + 1))
      number=0
      for profile in $(cat "$run/mig/$card" 2>/dev/null); do
        printf '  MIG %-11s Device %2d: (UUID: MIG-%s-%d)\\n' "$profile" "$number" "$card" "$number"
        number=$((number + 1))
      done
    done ;;
  "--query-compute-apps=pid,name --format=csv,noheader") cat $run/apps 2>/dev/null ;;
  "mig -dci -i "* | "mig -dgi -i "*) [ ! -e "$run/mig/$4" ] || : >"$run/mig/$4" ;;
  "-i "*" -mig "[01])
    wanted=Disabled; [ "$4" = 0 ] || wanted=Enabled
    mkdir -p $run/pending; echo $wanted >"$run/pending/$2" ;;
  "-i "*" --query-gpu=mig.mode.current,mig.mode.pending "*)
    echo "$(mode "$2"), $(cat "$run/pending/$2" 2>/dev/null || mode "$2")" ;;
  "--gpu-reset -i "*)
    if grep -hsxE 'nvidia-persiste|nv-hostengine|dcgm-exporter' /proc/[0-9]*/comm; then
      echo "GPU $3 is currently in use by another process."; exit 19
    fi
    case $(cat "$run/pending/$3" 2>/dev/null) in
      Enabled) mkdir -p $run/mig; [ -e "$run/mig/$3" ] || : >"$run/mig/$3" ;;
      Disabled) rm -f "$run/mig/$3" ;;
    esac
    rm -f "$run/pending/$3" ;;
  "mig -i "*" -cgi "*" -C") echo "$5" | tr ',' '\\n' >"$run/mig/$3" ;;
  *) echo "not known to this stand-in: $*" >&2; exit 2 ;;
esac
""".replace("{run}", RUN).replace("{library}", LIBRARY)

FABRIC = """#!/bin/sh
# A stand-in for Fabric Manager: it stops where the driver is of another version.
own=OWN
case "$1" in --version) echo "Fabric Manager version is : $own"; exit 0 ;; esac
loaded=$(head -n 1 {run}/loaded 2>/dev/null)
[ "$loaded" = "$own" ] || {
  echo "fabric manager NVIDIA GPU driver interface version $own don't match with driver version $loaded" >&2; exit 1; }
while :; do sleep 60; done
""".replace("{run}", RUN)

DAEMON = """#!/bin/sh
# A stand-in for a daemon: it runs.
while :; do sleep 60; done
"""
DCGMI = """#!/bin/sh
# A stand-in for DCGM's diagnostics, level 1.
[ "$*" = "diag -r 1" ] || exit 2
nvidia-smi -L >/dev/null || { echo '| Software | Fail - NVML |'; exit 226; }
if [ -n "$(ls -A {run}/mig 2>/dev/null)" ]; then
  echo "GPU 0's MIG configuration is incompatible with the diagnostic because it prevents access to the entire GPU."
  exit 226
fi
if [ -e {xid} ]; then echo '| Hardware | Fail - GPU 3 has fallen off the bus (XID 79) |'; exit 226; fi
echo '| Deployment | Pass |'
""".replace("{xid}", XID).replace("{run}", RUN)
CTK = """#!/bin/sh
# A stand-in for `nvidia-ctk cdi generate`.
for word; do case $word in --output=*) file=${word#--output=} ;; esac; done
printf 'cdiVersion: 0.5.0\\nkind: nvidia.com/gpu\\ncontainerEdits:\\n  mounts:\\n  - hostPath: libcuda.so.%s\\n' \\
  "$(cat {library})" >"$file"
""".replace("{library}", LIBRARY)

KERNEL: Mapping[str, str] = {
    "/usr/local/bin/uname": UNAME,
    "/usr/local/bin/lspci": LSPCI,
    "/usr/local/bin/cat": CAT,
    "/usr/local/bin/mokutil": MOKUTIL,
    "/usr/local/bin/modinfo": MODINFO,
    "/usr/local/bin/ls": LS,
    "/usr/local/sbin/modprobe": MODPROBE,
}
"""What is there before any driver: the kernel, the firmware and the bus."""
