"""What differs between the vendors when a driver is brought to a machine; all else is the same turn. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from swarmctl.gpu.amd import same_build
from swarmctl.hosts.readings import Reading
from swarmctl.kinds.node_pool.accelerators import amd, at_start, places, reading, scripts, services
from swarmctl.kinds.node_pool.accelerators.places import Places
from swarmctl.kinds.node_pool.accelerators.reading import Seen


@dataclass(frozen=True, slots=True)
class Vendor:
    """One of them."""

    tool: str
    """The program that tells of the cards."""
    places: Places
    reading: Reading[Seen]
    prefixes: tuple[str, ...]
    """How the names of the driver's packages begin, which may give way to others of them."""
    daemons: Mapping[str, services.Daemon]
    busy: Callable[[], str]
    """Prints the processes that compute: a line each, which begins with its number."""
    reload: Callable[[str, str, Sequence[str]], str]
    """Version, flavour and other modules → a script that has the driver's loaded, or says `stays`."""
    cdi: Callable[[], str]
    forget: Callable[[], str]
    beside_kernel: tuple[str, ...] = ()
    """Packages beside the headers, where the distribution splits them off; `{}` stands for the kernel's release."""
    prefers: Callable[[str], str] | None = None
    """Version → what apt is to prefer for it; None where its repository alone decides."""
    same_build: Callable[[Mapping[str, str]], str] = lambda after: ""
    """Versions as they would be after a change → what else to ask for, as `NAME=VERSION`; empty for nothing."""
    pins: re.Pattern[str] | None = None
    """Packages that keep apt on a branch."""

    def is_drivers(self, name: str) -> bool:
        """Whether a package is one of the driver's."""
        return name.partition(":")[0].startswith(self.prefixes)


VENDORS: Mapping[str, Vendor] = {
    "nvidia": Vendor(
        tool="nvidia-smi",
        places=places.NVIDIA,
        reading=reading.READING,
        prefixes=(
            *("nvidia-", "libnvidia-", "libnvsdm", "libcuda1", "cuda-drivers", "xserver-xorg-video-nvidia"),
            *("kmod-nvidia-", "xorg-x11-nvidia"),  # with dnf
        ),
        daemons=services.DAEMONS,
        busy=scripts.busy,
        reload=scripts.reload,
        cdi=scripts.cdi,
        forget=lambda: scripts.forget(services.COUNTERS, services.OVERRIDE, services.PERSISTS) + at_start.remove(),
        prefers=scripts.preferences,
        pins=re.compile(r"nvidia-driver-pinning-[0-9.]{1,20}"),
    ),
    "amd": Vendor(
        tool="amd-smi",
        places=places.AMD,
        reading=amd.READING,
        prefixes=("amdgpu-", "amd-smi-lib", "amd-container-toolkit", "rocm", "hip-", "hsa-", "comgr", "libdrm-amdgpu"),
        daemons={},
        busy=amd.busy,
        reload=amd.reload,
        cdi=amd.cdi,
        forget=amd.forget,
        same_build=same_build,
        beside_kernel=("linux-modules-extra-{}",),  # what amdgpu needs of DRM (ROCm 7.2, Installation prerequisites)
    ),
}
"""By name."""
