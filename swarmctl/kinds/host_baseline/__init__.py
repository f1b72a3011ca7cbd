"""HostBaseline: what operating systems of machines are set to, whatever runs on them."""

from swarmctl.kinds.base import Kind
from swarmctl.kinds.host_baseline.spec import HostBaselineSpec

_ASPECTS = "swarmctl.kinds.host_baseline.aspects"

KIND = Kind(
    name="HostBaseline",
    summary="What the operating systems of machines are set to: packages, kernel, users, time, upgrades, mounts.",
    spec=HostBaselineSpec,
    rules="swarmctl.kinds.host_baseline.rules:check",
    expand="swarmctl.kinds.host_baseline.expand:expand",
    expands_after=("NodePool",),
    marked="swarmctl.kinds.host_baseline.marks:marked",
    resources={
        "swarm:hostbaseline:Kernel": f"{_ASPECTS}.kernel:KERNEL",
        "swarm:hostbaseline:Packages": f"{_ASPECTS}.packages:PACKAGES",
        "swarm:hostbaseline:Sysctl": f"{_ASPECTS}.sysctl:SYSCTL",
        "swarm:hostbaseline:Users": f"{_ASPECTS}.users:USERS",
        "swarm:hostbaseline:Time": f"{_ASPECTS}.time:TIME",
        "swarm:hostbaseline:Upgrades": f"{_ASPECTS}.upgrades:UPGRADES",
        "swarm:hostbaseline:Mounts": f"{_ASPECTS}.mounts:MOUNTS",
        "swarm:hostbaseline:Swap": f"{_ASPECTS}.swap:SWAP",
    },
)
