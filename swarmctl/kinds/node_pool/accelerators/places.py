"""Where the files of ours are on a machine, for each vendor's driver: two drivers on one machine share none. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Places:
    """Paths of one vendor's driver."""

    name: str
    """Of the files below /etc."""
    folder: str
    """What is kept for the way back."""
    cdi: str
    """The CDI specification: where the vendor's own tool writes it."""

    @property
    def sources(self) -> str:
        """What apt takes packages from."""
        return f"/etc/apt/sources.list.d/{self.name}.list"

    @property
    def keyring(self) -> str:
        """The one key that may sign them."""
        return f"/etc/apt/keyrings/{self.name}.gpg"

    @property
    def yum(self) -> str:
        """What dnf takes packages from."""
        return f"/etc/yum.repos.d/{self.name}.repo"

    @property
    def rpm_key(self) -> str:
        """The one key that may sign those."""
        return f"/etc/pki/rpm-gpg/RPM-GPG-KEY-{self.name}"

    @property
    def preferences(self) -> str:
        """What apt prefers. Of these files the first that says something of a package counts, and packages that keep
        apt to a branch bring one."""
        return f"/etc/apt/preferences.d/00-{self.name}"

    @property
    def modules(self) -> str:
        """Kernel modules that are loaded whenever the machine starts."""
        return f"/etc/modules-load.d/{self.name}.conf"

    @property
    def kept_out(self) -> str:
        """Kernel modules that are not to be loaded by themselves."""
        return f"/etc/modprobe.d/{self.name}.conf"

    @property
    def current(self) -> str:
        """Packages of the driver that works."""
        return f"{self.folder}/current"

    @property
    def new(self) -> str:
        """Packages of one that is not verified yet."""
        return f"{self.folder}/new"

    @property
    def old(self) -> str:
        """Packages to go back to until it is."""
        return f"{self.folder}/old"

    @property
    def way(self) -> str:
        """What becomes `old` when all of it is there."""
        return f"{self.folder}/way"

    @property
    def manifest(self) -> str:
        """What was installed before an upgrade: a line `NAME=VERSION` each, with ` held` behind what was held,
        and `NAME=` for what was not there."""
        return f"{self.old}/before"

    @property
    def unverified(self) -> str:
        """Is there from before a change until its driver is verified."""
        return f"{self.folder}/unverified"

    @property
    def fetched(self) -> str:
        """A key that nobody has judged yet."""
        return f"{self.folder}/key"


def same(url: str) -> str:
    """The address as it is compared: `file:/srv` and `file:///srv` are one."""
    return f"file:/{url.removeprefix('file:').lstrip('/')}" if url.startswith("file:") else url


NVIDIA = Places("swarmctl-nvidia", "/var/lib/swarmctl/driver", "/var/run/cdi/nvidia.yaml")
"""`nvidia-cdi-refresh` writes that file; a second one elsewhere would name the same devices, which CDI refuses."""
AMD = Places("swarmctl-amd", "/var/lib/swarmctl/driver-amd", "/etc/cdi/amd.json")
"""`amd-ctk cdi generate` writes that file unless told otherwise (AMD Container Toolkit, CDI guide)."""
