"""From what a host has and what its pool declares to one decision, or to every reason why there is none. Pure.

Nothing of a driver needs to be there: a card is known by its PCI id, so all of this is said at plan time.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmctl.gpu import amd
from swarmctl.gpu import packages as names
from swarmctl.gpu.branch import Choice, choose, choose_flavour, drives, unchanging
from swarmctl.gpu.cards import Found, find
from swarmctl.gpu.catalogue import Tables, tables
from swarmctl.gpu.fabric import fabric
from swarmctl.gpu.lockstep import held_back
from swarmctl.gpu.mig import resolve_all
from swarmctl.gpu.model import (
    Decision,
    FabricManager,
    Flavour,
    Host,
    Partitions,
    Reason,
    Refusal,
    Refusals,
    Source,
    Wanted,
)
from swarmctl.gpu.systems import System, pin, repository, system

SECURE_BOOT = "NVIDIA Driver Installation Guide 610, Secure Boot; mokutil(1)"


def decide(host: Host, wanted: Wanted, known: Tables | None = None) -> Decision | Refusals:
    """What `host` is to run, or why it can't be what is `wanted`: everything that is wrong at once, in a fixed order.

    `known` are the tables to go by; without it, the shipped ones of the vendor.
    """
    known = known or tables(wanted.vendor)
    found, refusals = find(host, wanted, known.catalogue)
    refusals += unchanging(wanted)
    on = system(host, wanted.vendor, wanted.source)
    if isinstance(on, Refusal):
        refusals.append(on)
    if not found.cards:
        return tuple(refusals)
    choice = choose(wanted, found.kinds, known)
    if isinstance(choice, list):
        refusals += choice
    # Without a branch the newest one stands in, so that an impossible module is named all the same.
    branch = choice.branch if isinstance(choice, Choice) else next(iter(known.drivers.branches))
    flavour = choose_flavour(wanted, branch, found.kinds, known)
    if isinstance(flavour, list):
        refusals += flavour
    partitions = resolve_all(wanted, found.counted, known.catalogue)
    if isinstance(partitions, list):
        refusals += partitions
    if (
        isinstance(on, Refusal)
        or isinstance(choice, list)
        or isinstance(flavour, list)
        or isinstance(partitions, list)
        or refusals
    ):
        return tuple(refusals)
    case = _Case(host, wanted, found, on, choice, flavour, partitions, known)
    return _amd(case) if wanted.vendor == "amd" else _nvidia(case)


@dataclass(frozen=True, slots=True)
class _Case:
    """All that was found out before the vendors' ways part."""

    host: Host
    wanted: Wanted
    found: Found
    on: System
    choice: Choice
    flavour: tuple[Flavour, Reason, tuple[Reason, ...]]
    partitions: Partitions | None
    known: Tables


def _nvidia(case: _Case) -> Decision | Refusals:
    wanted, found, choice, known = case.wanted, case.found, case.choice, case.known
    mode, switched, doubts = fabric(case.host, found)
    rack = any(card.form == "superchip" and card.nvlink >= 5 for card in found.kinds)
    beside = names.around(case.on, wanted.source, int(choice.branch), choice.version, mode, rack)
    if isinstance(beside, Refusal):
        return (beside,)
    with_tools = wanted.source is Source.VENDOR
    packages = (
        *names.driver(case.on, wanted.source, int(choice.branch), choice.version, case.flavour[0]),
        *beside,
        *(names.tools(known, choice.branch, found.kinds) if with_tools else ()),
    )
    refusals = held_back(
        choice.version, packages, case.host.held, lambda version: drives(version, wanted.vendor, found.kinds, known)
    )
    if refusals:
        return tuple(refusals)
    persistence = wanted.persistence is not False
    manual, unsure = _secure_boot(case.host)
    counters, counted = _counters(found, known) if with_tools else ((), ())
    reasons = (
        choice.reason,
        case.flavour[1],
        switched,
        names.why(packages, choice.version, with_tools),
        Reason("persistence", _persistence(wanted), "NVIDIA driver README, nvidia-persistenced"),
        *_gives_way(case.host),
        *counted,
        *_divided(case.partitions, known),
    )
    return Decision(
        vendor=wanted.vendor,
        models=tuple((device.address, card.name) for device, card in found.cards),
        branch=choice.branch,
        version=choice.version,
        flavour=case.flavour[0],
        fabric_manager=mode,
        repository=repository(case.on, wanted.vendor, wanted.source, choice.version, ""),
        pin=pin(case.on, wanted.vendor, wanted.source, choice.branch, case.flavour[0]),
        packages=packages,
        services=names.services(mode, rack, persistence, with_tools),
        modules=("mlx5_core", "ib_umad") if mode is FabricManager.NVLINK5 else (),
        partitions=case.partitions,
        counters=counters,
        manual=manual,
        warnings=(*found.warnings, *choice.warnings, *case.flavour[2], *doubts, *unsure),
        reasons=reasons,
    )


def _amd(case: _Case) -> Decision | Refusals:
    wanted, found, choice, known = case.wanted, case.found, case.choice, case.known
    rocm = known.drivers.branches[choice.branch].rocm
    manual, unsure = _secure_boot(case.host)
    packages = amd.packages(choice.version, choice.branch, known, apt=case.on.apt)
    refusals = held_back(
        choice.version, packages, case.host.held, lambda version: drives(version, wanted.vendor, found.kinds, known)
    )
    if refusals:
        return tuple(refusals)
    return Decision(
        vendor=wanted.vendor,
        models=tuple((device.address, card.name) for device, card in found.cards),
        branch=choice.branch,
        version=choice.version,
        flavour=case.flavour[0],
        fabric_manager=FabricManager.NONE,
        repository=repository(case.on, wanted.vendor, wanted.source, choice.version, rocm),
        pin=None,
        packages=packages,
        services=(),
        modules=(),
        partitions=None,
        counters=(),
        manual=manual,
        warnings=(*found.warnings, *choice.warnings, *unsure),
        reasons=(choice.reason, case.flavour[1], amd.why(packages, choice.version, rocm)),
    )


def _secure_boot(host: Host) -> tuple[tuple[Reason, ...], tuple[Reason, ...]]:
    """What is left to do by hand, and what could not be told."""
    if host.secure_boot is None:
        clause = "whether secure boot is on could not be read; if it is, a module that nobody signed is not loaded"
        return (), (Reason("secure boot", clause, SECURE_BOOT),)
    if not host.secure_boot:
        return (), ()
    clause = (
        "secure boot is on, and DKMS signs the module with a key of this host's own: `mokutil --import` it, restart, "
        "and confirm at the console, which nobody can from afar"
    )
    return (Reason("secure boot", clause, SECURE_BOOT),), ()


def _gives_way(host: Host) -> tuple[Reason, ...]:
    """What has the cards now."""
    if not host.in_tree:
        return ()
    clause = (
        f"the kernel's own {' and '.join(reversed(host.in_tree))} {'has' if len(host.in_tree) == 1 else 'have'} the "
        "cards, and NVIDIA's does not load beside: it is unloaded and kept out, by a restart where it is in use"
    )
    return (Reason("kernel", clause, "NVIDIA open-gpu-kernel-modules"),)


def _counters(found: Found, known: Tables) -> tuple[tuple[str, ...], tuple[Reason, ...]]:
    fields = known.drivers.counters
    if fields is None:
        return (), ()
    linked = any(card.nvlink for _, card in found.cards)
    on = (*fields.kept, *fields.extra, *(fields.nvlink if linked else ()))
    clause = (
        f"ECC{', NVLink' if linked else ''} and XID tell of failing hardware; the exporter's own list leaves most off"
    )
    return on, (Reason("counters", clause, fields.source),)


def _persistence(wanted: Wanted) -> str:
    if wanted.persistence is False:
        return "the declaration leaves out the daemon that keeps the driver loaded between clients"
    return "the daemon keeps the driver loaded between clients, as NVIDIA advises"


def _divided(partitions: Partitions | None, known: Tables) -> tuple[Reason, ...]:
    if partitions is None:
        return ()
    each = ", ".join(f"{number} of {profile}" for profile, number in partitions.total.items())
    return (Reason("mig", f"{each} on {len(partitions.cards)} cards", known.catalogue.sources["mig"]),)
