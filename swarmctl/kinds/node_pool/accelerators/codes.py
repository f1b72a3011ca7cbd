"""What can be wrong with `accelerators:`; every reason for which `gpu` refuses has its code and its place here."""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.diagnostics import Code

MODEL = Code(
    "SW3250",
    "card that is not known",
    """Cards are known by their PCI ids, and each id by the names that the vendor gives it. A name of none of them says
nothing about a driver. `docs/gpu.md` lists all.

Wrong: `model: H100-XSM5`

Right: `model: H100-SXM5-80GB`, or `model: H100` for any H100
""",
)
DRIVER = Code(
    "SW3251",
    "driver that does not run these cards",
    """Every branch of a driver runs a window of cards: 580 is the last one for Maxwell, Pascal and Volta, and new cards
need a first version. Cards in one machine share one driver.

Wrong: `{model: V100, driver: {branch: "595"}}`

Right: `{model: V100, driver: {branch: auto}}`
""",
)
MODULE = Code(
    "SW3252",
    "kernel module that does not run these cards",
    """Cards of before Turing are driven by the proprietary kernel module alone, Grace Hopper and Blackwell by the open
one alone.

Wrong: `{model: B200, kernelModule: proprietary}`

Right: `{model: B200, kernelModule: auto}`
""",
)
MIG = Code(
    "SW3253",
    "layout of MIG that these cards do not take",
    """MIG profiles are named after slices and memory of one kind of card, and all of a layout must have room on one
card together, by the placements that the card has. MIG is NVIDIA's; AMD's cards have none.

Wrong: `{model: H100-SXM5-80GB, mig: {1g.5gb: 7}}` (a profile of the A100 with 40 GB)

Right: `{model: H100-SXM5-80GB, mig: {1g.10gb: 7}}`
""",
)
CARDS = Code(
    "SW3254",
    "machine with other cards than declared",
    """The PCI ids of a machine say which cards it has. Where they contradict the declaration nothing is installed: the
declaration is wrong, or a card has left the bus. Known when the stack is planned.

Wrong: `{model: H100, count: 8}` where seven are on the bus

Right: `{model: H100, count: 7}`, or the card looked after
""",
)
SOURCE = Code(
    "SW3255",
    "no packages for this system",
    """Vendors package a driver for some releases of some distributions; a distribution's own archive has versions of
its own, of which the declaration must name one. Known when the stack is planned.

Wrong: `{vendor: nvidia, source: distribution}`

Right: `{vendor: nvidia, source: distribution, driver: {version: 535.309.01}}`
""",
)
MANAGER = Code(
    "SW3256",
    "package manager that is not driven",
    """Drivers are installed by apt and by dnf, AMD's by dnf with Enterprise Linux 9 alone. Elsewhere the installation
is left to others. Known when the stack is planned.

Wrong: `{vendor: amd}` in a pool of machines with Rocky Linux 10

Right: the same in a pool of machines with Rocky Linux 9 or Ubuntu
""",
)
KEY = Code(
    "SW3257",
    "repository whose key is not known",
    """A machine trusts a repository by the fingerprint of the key that signs it. Those of NVIDIA's repositories for
Debian 12, Ubuntu, and Enterprise Linux 8 and 9, and of AMD's are known here; others are declared.

Wrong: `source: mirror` without `mirror:`, or `source: vendor` on Debian 13

Right: `source: mirror` and
`mirror: {url: https://mirror.example/cuda/repos, fingerprint: EB693B3035CD5710E231E123A4B469963BF863CC}`
""",
)
CONTRARY = Code(
    "SW3258",
    "another driver than other cards of the vendor need",
    """One driver runs all cards of one vendor in a machine, so the items of one vendor say the same of branch, version,
kernel module, persistence and source. `auto`, and a version left out, agree with everything. Drivers of different
vendors have nothing to do with each other.

Wrong: `[{vendor: nvidia, model: T4, driver: {branch: "580"}}, {vendor: nvidia, model: L4, driver: {branch: "595"}}]`

Right: `[{vendor: nvidia, model: T4, driver: {branch: "580"}}, {vendor: nvidia, model: L4}]`
""",
)
TWICE = Code(
    "SW3259",
    "cards that two items mean",
    """Each item says how many cards of its model are there and how they are divided, so a card may be meant by one item
only. Where a vendor has several items, each names its model.

Wrong: `[{vendor: nvidia, model: H100}, {vendor: nvidia, model: H100-PCIe}]`

Right: `[{vendor: nvidia, model: H100-SXM5}, {vendor: nvidia, model: H100-PCIe}]`
""",
)
PERSISTENCE = Code(
    "SW3260",
    "persistence that a driver can't do without",
    """NVIDIA's driver is kept loaded between clients by a daemon, which can be left out. AMD's always stays loaded.

Wrong: `{vendor: amd, persistence: false}`

Right: `{vendor: amd}`
""",
)
ENDED = Code(
    "SW3261",
    "driver branch that is supported no more",
    """Its vendor mends nothing in it any more, not even what lets programs on the cards take over the machine. It is
installed nevertheless. `docs/gpu.md` has the branches and until when they are supported.

Wrong: `{vendor: nvidia, model: H100, driver: {branch: "535"}}`

Right: `{vendor: nvidia, model: H100, driver: {branch: auto}}`
""",
)

PLACES: Mapping[str, tuple[Code, tuple[str, ...]]] = {
    "model-unknown": (MODEL, ("model",)),
    "branch-unknown": (DRIVER, ("driver", "branch")),
    "branch-window": (DRIVER, ("driver", "branch")),
    "no-shared-branch": (DRIVER, ("driver", "branch")),
    "version-refused": (DRIVER, ("driver", "version")),
    "flavour-refused": (MODULE, ("kernelModule",)),
    "no-shared-flavour": (MODULE, ("kernelModule",)),
    "mig-unknown": (MIG, ("mig",)),
    "mig-profile": (MIG, ("mig",)),
    "mig-count": (MIG, ("mig",)),
    "mig-layout": (MIG, ("mig",)),
    "no-cards": (CARDS, ("vendor",)),
    "unknown-id": (CARDS, ("vendor",)),
    "model-absent": (CARDS, ("model",)),
    "count-differs": (CARDS, ("count",)),
    "cpu-contradicts": (CARDS, ("model",)),
    "model-twice": (TWICE, ("model",)),
    "persistence-refused": (PERSISTENCE, ("persistence",)),
    "source-refused": (SOURCE, ("source",)),
    "os-unknown": (SOURCE, ("source",)),
    "lockstep-held": (DRIVER, ("driver", "version")),
    "version-needed": (SOURCE, ("source",)),
    "fabric-unavailable": (SOURCE, ("source",)),
    "manager-unknown": (MANAGER, ("vendor",)),
    "key-unknown": (KEY, ("source",)),
    "mirror-missing": (KEY, ("source",)),
    "mirror-unused": (KEY, ("mirror",)),
}
"""Why `gpu` refuses → code, and the field that it is about; where that is not written, what stands above it."""
