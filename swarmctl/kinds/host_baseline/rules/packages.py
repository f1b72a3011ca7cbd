"""Packages that a machine can't do without, and those that an accelerator's driver is made of."""

from __future__ import annotations

import re
from collections.abc import Iterator

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.host_baseline.aspects.upgrades import EXCLUDED
from swarmctl.kinds.host_baseline.rules.nodes import selected

NEEDED = Code(
    "SW3717",
    "package that a machine cannot do without",
    """Without its package manager, kernel, first process or SSH server a machine does not start, or nobody reaches it
to mend that.

Wrong: `packages: {openssh-server: absent}`

Right: `packages: {telnetd: absent}`
""",
)
DRIVER = Code(
    "SW3718",
    "package of a GPU driver beside accelerators",
    """What a driver is made of has to be of one version, which follows from the cards that `accelerators` of the
NodePool declares. A package of it declared here, too, would get out of step with the others, and the cards would not
work.

Wrong: a pool with `accelerators`, and `packages: {nvidia-driver-580: present}` for its machines

Right: the package left out; `driver:` under `accelerators` says which branch
""",
)
_NEEDED = re.compile(
    r"apt|base-files|base-passwd|bash|coreutils|dash|dpkg|grub-.*|init|initramfs-tools|iproute2|libc6|linux-image-.*"
    r"|login|mount|nftables|openssh-server|passwd|sed|sudo|systemd(-sysv)?|udev|util-linux|wireguard-tools"
)


def check(baseline: Declaration) -> Iterator[Diagnostic]:
    """Those that are declared absent."""
    for name, want in baseline.spec.packages.items():
        if want == "absent" and not isinstance(name, Unknown) and _NEEDED.fullmatch(name):
            yield Diagnostic(
                NEEDED,
                f"a machine cannot do without the package `{name}`",
                baseline.value("spec", "packages", name),
                label="it would not start, or not be reached",
                help="leave it out",
            )


def of_drivers(inventory: Inventory, baseline: Declaration) -> Iterator[Diagnostic]:
    """Those that begin as a driver's packages do, for machines with accelerators."""
    named = [name for name in baseline.spec.packages if not isinstance(name, Unknown) and name.startswith(EXCLUDED)]
    for node in selected(inventory, baseline) if named else ():
        if getattr(node.pool.spec, "accelerators", None):
            for name in named:
                yield Diagnostic(
                    DRIVER,
                    f"the package `{name}` of {node.name} follows from its accelerators",
                    baseline.key("spec", "packages", name),
                    label="of a GPU driver",
                    help="leave it out; `driver:` under `accelerators` says which branch",
                    related=(Related(node.where, "this machine has accelerators"),),
                )
            return
