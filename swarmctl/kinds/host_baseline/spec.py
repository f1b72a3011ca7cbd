"""The declared shape of a HostBaseline.

An aspect that is left out is left as the machine has it; what is left out inside of one gets the hardened value.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec


def _text(pattern: str, message: str, longest: int = 256) -> msgspec.Meta:
    return msgspec.Meta(pattern=pattern, max_length=longest, extra_json_schema={"patternErrorMessage": message})


Selector = dict[str, str]
KernelParameter = Annotated[
    str,
    _text(
        r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}(=[A-Za-z0-9_.,:@/+=~^*-]{1,192})?$",
        "a parameter of the kernel's command line, `name` or `name=value`, without blanks and quotes",
    ),
]
SysctlKey = Annotated[
    str,
    _text(
        r"^[a-z]+(\.[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+)*){1,8}$",
        "a key of sysctl(8) such as `vm.swappiness`; a dot in the name of an interface is written `/`",
    ),
]
SysctlValue = (
    Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
    | Annotated[
        str, _text(r"^[!-~]([ -~\t]{0,254}[!-~])?$", "printable ASCII on one line, without blanks at either end")
    ]
)
UserName = Annotated[
    str,
    _text(
        r"^[a-z_][a-z0-9_-]{0,30}$",
        "a login name (useradd(8)): lower-case letters, digits, `_` and `-`, no digit first, at most 31 characters",
    ),
]
AbsolutePath = Annotated[
    str,
    _text(
        r"^(/[A-Za-z0-9_@+:=,-][A-Za-z0-9._@+:=,-]*)+$",
        "an absolute path without blanks, and without parts that begin with a dot",
    ),
]
PackageName = Annotated[
    str,
    _text(
        r"^[a-z0-9]([a-z0-9.+-]*[a-z0-9.])?$|^[a-z0-9]([a-z0-9.+-]*\+\+)$",
        "a package's name (Debian policy 5.6.1): lower-case letters, digits, `.`, `+` and `-`",
        128,
    ),
]
PackageState = Annotated[
    str,
    _text(
        r"^(present|absent|([0-9]{1,9}:)?[0-9][A-Za-z0-9.+~-]{0,199})$",
        "`present`, `absent`, or a version (Debian policy 5.6.12), in quotes",
        210,
    ),
]
AuthorizedKey = Annotated[
    str,
    _text(
        r"^(ssh-ed25519|ssh-rsa|ecdsa-sha2-nistp(256|384|521)|sk-ssh-ed25519@openssh\.com"
        r"|sk-ecdsa-sha2-nistp256@openssh\.com) [A-Za-z0-9+/]{40,2000}={0,2}( [!-~]([ -~]{0,126}[!-~])?)?$",
        "a line of `authorized_keys` without options: type, key in base64, and a comment if you like",
        2200,
    ),
]
Server = Annotated[
    str,
    _text(r"^[A-Za-z0-9]([A-Za-z0-9.:-]{0,251}[A-Za-z0-9])?$", "a host name or an IP address of a time server", 253),
]
Device = Annotated[
    str,
    _text(
        r"^((LABEL|UUID|PARTLABEL|PARTUUID)=[A-Za-z0-9._:-]{1,64}|/[A-Za-z0-9._@+:=,/-]{1,200}|tmpfs"
        r"|[A-Za-z0-9.\[][A-Za-z0-9.:\]-]{0,120}:/[A-Za-z0-9._/-]{0,120})$",
        "`LABEL=…`, `UUID=…`, `PARTLABEL=…`, `PARTUUID=…`, an absolute path, `host:/path`, or `tmpfs`",
    ),
]
MountOption = Annotated[
    str, _text(r"^[a-z][A-Za-z0-9_.-]{0,40}(=[A-Za-z0-9_.:/%@+-]{1,120})?$", "an option of mount(8), one an item")
]


class Kernel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What the kernel is started with."""

    parameters: Annotated[
        list[KernelParameter],
        msgspec.Meta(
            description="Added to the kernel's command line by the boot loader (GRUB), in this order. They hold from "
            "the machine's next restart on, which swarmctl does not bring about.",
            min_length=1,
            max_length=64,
            examples=[["iommu=pt", "hugepagesz=1G", "hugepages=16"]],
        ),
    ]


class User(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An account for people, without a password."""

    name: Annotated[UserName, msgspec.Meta(description="Login name.", examples=["ops"])]
    sudo: Annotated[
        bool, msgspec.Meta(description="Whether it may do everything as root by `sudo`, without a password.")
    ] = False
    shell: Annotated[AbsolutePath, msgspec.Meta(description="Login shell.", examples=["/bin/bash"])] = "/bin/sh"
    authorized_keys: Annotated[
        list[AuthorizedKey],
        msgspec.Meta(
            description="The SSH keys that may log in as this user, all of them: others are taken away, but for the "
            "user that swarmctl itself logs in with.",
            max_length=200,
            examples=[["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd/gxLSi2ZbVLR8Zt0HoLSF8CZ4jcTkBn0nsAuAy7Zb anna"]],
        ),
    ] = []


class TimeSync(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the machines get the time from."""

    servers: Annotated[
        list[Server],
        msgspec.Meta(
            description="Time servers (NTP), these and no others. Followed by chrony where it is installed, else by "
            "systemd-timesyncd.",
            min_length=1,
            max_length=16,
            examples=[["time.example", "2001:db8::123"]],
        ),
    ]


class SecurityUpgrades(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Upgrades that the distribution publishes for security; drivers of GPUs are never among them."""

    automatic: Annotated[
        bool, msgspec.Meta(description="Whether the machines install them by themselves, every day.")
    ] = True
    reboot: Annotated[
        Annotated[str, _text("^(never|([01][0-9]|2[0-3]):[0-5][0-9])$", "`never`, or a time as `04:30`")],
        msgspec.Meta(
            description="When a machine restarts after upgrades that need it: `never`, or a time of day such as "
            "`04:30`, by its own clock and time zone.",
            examples=["never", "04:30"],
        ),
    ] = "never"


class Mount(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """A file system in its place, now and after every restart."""

    path: Annotated[AbsolutePath, msgspec.Meta(description="Where it is mounted.", examples=["/scratch"])]
    device: Annotated[
        Device,
        msgspec.Meta(
            description="What is mounted: by label or UUID, or a path, or a server's export. It is never formatted.",
            examples=["LABEL=scratch", "UUID=2f1c…", "files.example:/scratch"],
        ),
    ]
    type: Annotated[
        Literal["ext4", "xfs", "btrfs", "nfs", "nfs4", "tmpfs", "vfat"],
        msgspec.Meta(description="Kind of file system."),
    ]
    options: Annotated[
        list[MountOption],
        msgspec.Meta(
            description="Options of mount(8), all of them. With `nofail` a machine starts without the file system. "
            "Left out: `[nosuid, nodev, nofail]`.",
            min_length=1,
            max_length=32,
            examples=[["noatime", "nosuid", "nodev", "nofail"]],
        ),
    ] = msgspec.field(default_factory=lambda: ["nosuid", "nodev", "nofail"])


class HostBaselineSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What machines are set to. An aspect that is left out is left as the machine has it."""

    nodes: Annotated[
        Selector,
        msgspec.Meta(description="Labels of the machines; `{}` is every machine.", examples=[{"role": "worker"}]),
    ]
    packages: Annotated[
        dict[PackageName, PackageState],
        msgspec.Meta(
            description="Packages of the distribution (apt): `present`, `absent`, or the one version to have, which is "
            "then held. What is not listed is left alone.",
            examples=[{"curl": "present", "chrony": "4.3-2+deb12u1", "telnetd": "absent"}],
        ),
    ] = {}
    kernel: Annotated[
        Kernel | None, msgspec.Meta(description="What the kernel is started with. Left out: left alone.")
    ] = None
    sysctl: Annotated[
        dict[SysctlKey, SysctlValue],
        msgspec.Meta(
            description="Settings of the running kernel (sysctl(8)), now and after every restart.",
            examples=[{"vm.swappiness": 10, "net.core.somaxconn": 4096}],
        ),
    ] = {}
    users: Annotated[
        list[User],
        msgspec.Meta(
            description="Accounts for people. Accounts that are not listed are left alone.",
            max_length=200,
            examples=[[{"name": "ops", "sudo": True}]],
        ),
    ] = []
    time_sync: Annotated[
        TimeSync | None,
        msgspec.Meta(
            description="Where the machines get the time from. Left out: left alone.",
            examples=[{"servers": ["time.example"]}],
        ),
    ] = None
    security_upgrades: Annotated[
        SecurityUpgrades | None,
        msgspec.Meta(
            description="Upgrades for security by themselves. Left out: left alone. `{}`: every day, without restarts.",
            examples=[{"automatic": True, "reboot": "never"}],
        ),
    ] = None
    mounts: Annotated[
        list[Mount],
        msgspec.Meta(
            description="File systems in their places; others are left alone.",
            max_length=100,
            examples=[[{"path": "/scratch", "device": "LABEL=scratch", "type": "ext4"}]],
        ),
    ] = []
    swap: Annotated[
        Literal["off"] | None,
        msgspec.Meta(
            description="`off` (in quotes): nothing is swapped out, now and after every restart. Left out: left alone.",
            examples=["off"],
        ),
    ] = None
