"""Which driver branch and which kernel module serve all cards of a host at once. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from swarmctl.gpu.catalogue import Card, Tables, Vendor, version_key
from swarmctl.gpu.model import Flavour, Reason, Refusal, Source, Wanted

OPEN_BY_DEFAULT = 560
"""The first branch of NVIDIA whose default is the open module."""
MODULES = "NVIDIA Driver Installation Guide 610, Kernel Modules"
GRACE = "NVIDIA Technical Blog, 2024-07: the transition to open kernel modules"
SCHEDULE = "NVIDIA Driver Installation Guide 610; deprecation schedule: 580 is the last for Maxwell, Pascal and Volta"
WHOLE = re.compile(r"[0-9]{3}\.[0-9]{2,3}(\.[0-9]{2})?")
"""A version of NVIDIA's, such as 595.84 or 580.95.05; `595.0` and `580.9` are none, and no package has them."""
WORDS = {"nvidia": 1, "amd": 2}
"""How many numbers of a version name its branch."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One branch, its version, and why."""

    branch: str
    version: str
    reason: Reason
    warnings: tuple[Reason, ...]


def branch_of(vendor: Vendor, version: str) -> str:
    """The branch that `version` belongs to: `580` of NVIDIA's 580.95.05, `30.30` of AMD's 30.30.4."""
    return ".".join(version.split(".")[: WORDS[vendor]])


def obstacle(card: Card, branch: str, version: str, tables: Tables) -> str:
    """Why `card` is not driven by that version, as a clause; empty when it is."""
    architecture = tables.catalogue.architecture(card)
    if architecture.last is not None and version_key(branch) > (architecture.last,):
        return f"{architecture.last} is the last branch for {card.name} ({card.architecture})"
    minimum = tables.catalogue.minimum(card)
    if minimum and version_key(version) < version_key(minimum):
        return f"{card.name} needs {minimum} or later"
    return ""


def fitting(cards: Sequence[Card], tables: Tables) -> tuple[str, ...]:
    """Branches of the table that drive all of `cards`, in the order of the table."""
    return tuple(
        name
        for name, branch in tables.drivers.branches.items()
        if not any(obstacle(card, name, branch.version, tables) for card in cards)
    )


def drives(version: str, vendor: Vendor, cards: Sequence[Card], tables: Tables) -> bool:
    """Whether `version` is a whole version of a known branch, and drives all of `cards`."""
    branch = branch_of(vendor, version)
    return (
        _is_whole(version, vendor)
        and branch in tables.drivers.branches
        and not any(obstacle(card, branch, version, tables) for card in cards)
    )


def choose(wanted: Wanted, cards: Sequence[Card], tables: Tables) -> Choice | list[Refusal]:
    """The branch and version for all of `cards`: the declared one, or by `auto` the first in the table's order."""
    if wanted.version:
        return _exact(wanted, cards, tables)
    if wanted.source is Source.DISTRIBUTION and wanted.vendor != "amd":  # AMD's is in no archive, with a version or not
        return [_version_needed(wanted)]
    if wanted.driver != "auto":
        return _declared(wanted, wanted.driver, "", cards, tables)
    order = [(branch.auto, name) for name, branch in tables.drivers.branches.items() if branch.auto is not None]
    there = fitting(cards, tables)
    for _, name in sorted(order):
        if name in there:
            return _taken(name, tables.drivers.branches[name].version, _why(name, tables), cards, tables)
    clauses = [
        clause
        for name, branch in tables.drivers.branches.items()
        if branch.auto is not None
        for card in cards
        if (clause := obstacle(card, name, branch.version, tables))
    ]
    return [
        Refusal(
            "no-shared-branch",
            f"no supported branch drives all cards of this host: {'; '.join(dict.fromkeys(clauses))}",
            "put the cards into hosts of their own, or declare an older branch that is in the table",
            tables.catalogue.sources["minimum"],
        )
    ]


def _exact(wanted: Wanted, cards: Sequence[Card], tables: Tables) -> Choice | list[Refusal]:
    if not _is_whole(wanted.version, wanted.vendor):
        return [_bad_version(wanted, "is not a whole driver version")]
    branch = branch_of(wanted.vendor, wanted.version)
    if wanted.driver not in ("auto", branch):
        return [_bad_version(wanted, f"is of branch {branch}, and {wanted.driver} is declared")]
    return _declared(wanted, branch, wanted.version, cards, tables)


def _is_whole(version: str, vendor: Vendor) -> bool:
    try:
        numbers = version_key(version)
    except ValueError:
        return False
    if vendor == "amd":  # packages carry two digits of each of three numbers
        return len(numbers) == 3 and max(numbers) < 100
    return WHOLE.fullmatch(version) is not None


def _declared(
    wanted: Wanted, branch: str, version: str, cards: Sequence[Card], tables: Tables
) -> Choice | list[Refusal]:
    known = tables.drivers.branches
    if branch not in known:
        return [
            Refusal(
                "branch-unknown",
                f"{branch!r} is no branch of {wanted.vendor}'s driver that is known here: {', '.join(known)}",
                "declare one of these, or `auto`",
                tables.drivers.sources["version"],
            )
        ]
    version = version or known[branch].version
    clauses = [clause for card in cards if (clause := obstacle(card, branch, version, tables))]
    if clauses:
        others = _supported(cards, tables)
        mend = f"declare {' or '.join(others)}, or `auto`" if others else "put the cards into hosts of their own"
        source = SCHEDULE if any("last branch" in clause for clause in clauses) else tables.catalogue.sources["minimum"]
        return [Refusal("branch-window", f"{version} is impossible: {clause}", mend, source) for clause in clauses]
    return _taken(branch, version, Reason("branch", f"{branch} is declared", "declaration"), cards, tables)


def _taken(branch: str, version: str, reason: Reason, cards: Sequence[Card], tables: Tables) -> Choice:
    facts = tables.drivers.branches[branch]
    warnings = []
    if facts.ended:
        clause = f"support of {branch} ended in {facts.ends}: no more security fixes"
        better = _supported(cards, tables)
        advice = f"; {' or '.join(better)} would do" if better else ""
        warnings.append(Reason("branch", clause + advice, tables.drivers.sources["ends"]))
    return Choice(branch, version, reason, tuple(warnings))


def _supported(cards: Sequence[Card], tables: Tables) -> list[str]:
    return [name for name in fitting(cards, tables) if not tables.drivers.branches[name].ended]


def _why(branch: str, tables: Tables) -> Reason:
    facts = tables.drivers.branches[branch]
    until = f", supported until {facts.ends}" if facts.ends else ""
    clause = f"{branch} is the first {facts.kind} in the order of auto that drives every card here{until}"
    return Reason("branch", clause, tables.drivers.sources["auto"])


def _bad_version(wanted: Wanted, what: str) -> Refusal:
    example = "580.173.02" if wanted.vendor == "nvidia" else "30.30.4"
    mend = f"declare a version such as {example} with its own branch, or leave it out"
    return Refusal("version-refused", f"{wanted.version!r} {what}", mend, "declaration")


def _version_needed(wanted: Wanted) -> Refusal:
    return Refusal(
        "version-needed",
        "which version the distribution's archive has can't be known at plan time",
        "declare `version` as the archive has it (apt-cache policy, dnf info), or take the vendor's repository",
        "declaration",
    )


def unchanging(wanted: Wanted) -> list[Refusal]:
    """What of `wanted` has no meaning for its vendor."""
    if wanted.vendor == "amd" and wanted.persistence is False:
        return [
            Refusal(
                "persistence-refused",
                "amdgpu stays loaded whether a client is there or not, and has no daemon that could be left out",
                "leave `persistence` out for AMD's cards",
                "AMD GPU Driver documentation",
            )
        ]
    return []


def choose_flavour(
    wanted: Wanted, branch: str, cards: Sequence[Card], tables: Tables
) -> tuple[Flavour, Reason, tuple[Reason, ...]] | list[Refusal]:
    """The kernel module for all of `cards`, why, and what is to be said about it."""
    accepted = {card: tables.catalogue.architecture(card).flavours for card in cards}
    options: tuple[Flavour, ...] = ("open", "proprietary")
    shared = [flavour for flavour in options if all(flavour in flavours for flavours in accepted.values())]
    if not shared:
        return [_no_shared(accepted)]
    if wanted.kernel_module != "auto":
        refused = [card for card, flavours in accepted.items() if wanted.kernel_module not in flavours]
        if refused:
            return [_flavour_refused(wanted, card, shared[0]) for card in refused]
        flavour: Flavour = wanted.kernel_module
        return flavour, Reason("flavour", f"{flavour} is declared", "declaration"), _confidential(flavour, cards)
    if wanted.vendor == "amd":
        return "open", Reason("flavour", "amdgpu is open, and there is no other", "AMD GPU Driver documentation"), ()
    if len(shared) == 1:
        only = next(card for card, flavours in accepted.items() if len(flavours) == 1)
        clause = f"{only.name} ({only.architecture}) is driven by the {shared[0]} module alone"
        return shared[0], Reason("flavour", clause, _source(only)), _confidential(shared[0], cards)
    flavour = "open" if version_key(branch) >= (OPEN_BY_DEFAULT,) else "proprietary"
    since = "is the default from" if flavour == "open" else "was the default before"
    clause = (
        f"{flavour} {since} branch {OPEN_BY_DEFAULT}{' on' if flavour == 'open' else ''}, and every card here allows it"
    )
    return flavour, Reason("flavour", clause, MODULES), _confidential(flavour, cards)


def _source(card: Card) -> str:
    return GRACE if "blackwell" in card.architecture or card.architecture == "grace-hopper" else MODULES


def _no_shared(accepted: dict[Card, tuple[Flavour, ...]]) -> Refusal:
    each = "; ".join(f"{card.name} by {' or '.join(flavours)}" for card, flavours in accepted.items())
    return Refusal(
        "no-shared-flavour",
        f"no kernel module drives all cards of this host: {each}",
        "put cards of before Turing and those from Grace Hopper or Blackwell on into hosts of their own",
        GRACE,
    )


def _flavour_refused(wanted: Wanted, card: Card, instead: Flavour) -> Refusal:
    return Refusal(
        "flavour-refused",
        f"{card.name} ({card.architecture}) is not driven by the {wanted.kernel_module} kernel module",
        f"declare the kernel module `{instead}`, or `auto`",
        _source(card) if wanted.vendor == "nvidia" else "AMD GPU Driver documentation",
    )


def _confidential(flavour: Flavour, cards: Sequence[Card]) -> tuple[Reason, ...]:
    able = [card for card in cards if card.confidential]
    if flavour == "open" or not able:
        return ()
    clause = f"confidential computing on {able[0].name} needs the open module"
    return (Reason("flavour", clause, "NVIDIA driver README, open kernel modules"),)
