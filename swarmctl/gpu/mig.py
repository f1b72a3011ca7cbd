"""MIG layouts: which profiles a card has, how many fit at once, and what that makes on a host. Pure.

A card has 8 memory slices and 7 for computing, or 4 of both. A profile takes adjoining memory slices, and may begin
only at some of them (NVIDIA MIG User Guide, placements; the same table is in go-nvml's models of these cards).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from swarmctl.gpu.catalogue import Card, Catalogue, Mig
from swarmctl.gpu.model import Device, Partitions, Refusal, Wanted

PROFILE = re.compile(r"(?P<compute>[1-7])g\.(?P<memory>[1-9][0-9]{0,2})gb(?P<extra>[+-][a-z.]{1,8})?")
"""Such as `1g.10gb+me`: slices for computing, GB, extensions."""
STARTS: Mapping[int, Mapping[int, Sequence[int]]] = {
    8: {1: range(7), 2: (0, 2, 4), 3: (0, 4), 4: (0,), 7: (0,)},
    4: {1: range(4), 2: (0, 2), 4: (0,)},
}
"""Memory slices of the card → compute slices of the profile → where it may begin."""
SIZES: Mapping[int, Mapping[int, int]] = {8: {1: 1, 2: 2, 3: 4, 4: 4, 7: 8}, 4: {1: 1, 2: 2, 4: 4}}
"""Memory slices of the card → compute slices of the profile → memory slices it takes."""
COMPUTE = {8: 7, 4: 4}
"""Memory slices of the card → its compute slices."""
AMD = "1002"
"""PCI vendor id."""
DOUBLE_STARTS = (0, 2, 4, 6)
"""Where a profile of one compute slice with twice the memory may begin."""


def parts(profile: str) -> tuple[int, int, str]:
    """Compute slices, GB and extension of a profile's name. Raises ValueError when it is none."""
    match = PROFILE.fullmatch(profile)
    if match is None:
        raise ValueError(f"not a MIG profile: {profile[:40]!r}")
    return int(match["compute"]), int(match["memory"]), match["extra"] or ""


def fits(layout: Mapping[str, int], table: Mig) -> bool:
    """Whether all of `layout` has room on one card at once. Its profiles are of `table`."""
    instances = [profile for profile, number in layout.items() for _ in range(number)]
    # No placement gets past this one either; it is here so that the search below is never long.
    if sum(parts(profile)[0] for profile in instances) > COMPUTE[table.slices]:
        return False
    if sum(parts(profile)[2].startswith("+me") for profile in instances) > 1:  # the card has them once
        return False
    places = sorted((_places(profile, table) for profile in instances), key=lambda each: -len(each[0]))
    return _placed(places, frozenset())


def _places(profile: str, table: Mig) -> tuple[frozenset[int], ...]:
    compute, memory, _ = parts(profile)
    single = min(parts(other)[1] for other in table.profiles)
    if compute == 1 and memory > single:
        return tuple(frozenset(range(start, start + 2)) for start in DOUBLE_STARTS)
    size = SIZES[table.slices][compute]
    return tuple(frozenset(range(start, start + size)) for start in STARTS[table.slices][compute])


def _placed(places: Sequence[tuple[frozenset[int], ...]], taken: frozenset[int]) -> bool:
    if not places:
        return True
    return any(_placed(places[1:], taken | place) for place in places[0] if not place & taken)


def resolve(
    layout: str | Mapping[str, int], cards: Iterable[tuple[Device, Card]], catalogue: Catalogue
) -> Partitions | list[Refusal]:
    """`layout` on every one of `cards`. An unknown profile is refused for each kind of card that lacks it."""
    found = tuple(cards)
    refusals: list[Refusal] = []
    resolved: dict[Card, Mapping[str, int]] = {}
    for card in dict.fromkeys(card for _, card in found):
        outcome = _on_card(layout, card, catalogue)
        if isinstance(outcome, Refusal):
            refusals.append(outcome)
        else:
            resolved[card] = outcome
    if refusals:
        return refusals
    total: Counter[str] = Counter()
    for _, card in found:
        total.update(resolved[card])
    return Partitions(
        {device.address: tuple(sorted(resolved[card].items())) for device, card in found}, dict(sorted(total.items()))
    )


def resolve_all(
    wanted: Wanted, counted: Sequence[Sequence[tuple[Device, Card]]], catalogue: Catalogue
) -> Partitions | list[Refusal] | None:
    """The layout of every model that is declared, on its own cards; None where none of them is divided."""
    cards: dict[str, tuple[tuple[str, int], ...]] = {}
    total: Counter[str] = Counter()
    refusals: list[Refusal] = []
    for number, (item, of) in enumerate(zip(wanted.cards, counted, strict=True)):
        if item.mig == "":
            continue
        outcome = resolve(item.mig, of, catalogue)
        if isinstance(outcome, list):
            refusals += [replace(refusal, item=number) for refusal in outcome]
        else:
            cards |= outcome.cards
            total.update(outcome.total)
    if refusals:
        return refusals
    return Partitions(cards, dict(sorted(total.items()))) if any(item.mig != "" for item in wanted.cards) else None


def _on_card(layout: str | Mapping[str, int], card: Card, catalogue: Catalogue) -> Mapping[str, int] | Refusal:
    source = catalogue.sources.get("mig", catalogue.sources["id"])
    if catalogue.vendor == AMD:
        reason = f"{card.name} is AMD's, and MIG is NVIDIA's way of dividing a card"
        return Refusal("mig-unknown", reason, "leave `mig` out for these cards", source)
    if not card.mig:
        reason = f"{card.name} has no MIG profiles that are known here"
        return Refusal("mig-unknown", reason, "leave `mig` out for these cards", source)
    table = catalogue.mig[card.mig]
    names = ", ".join(table.profiles)
    if isinstance(layout, str):
        profile = layout.removeprefix("all-")
        if layout == "balanced":
            return table.balanced
        if layout.startswith("all-") and profile in table.profiles:
            return {profile: table.profiles[profile]}
        reason = f"{layout[:40]!r} is no layout of {card.name}"
        return Refusal("mig-profile", reason, f"declare balanced, or all- with one of {names}", source)
    foreign = [profile for profile in layout if profile not in table.profiles]
    if foreign:
        reason = f"{foreign[0][:40]!r} is no profile of {card.name}{_whose(foreign[0], catalogue)}"
        return Refusal("mig-profile", reason, f"declare some of {names}", source)
    for profile, number in layout.items():
        if not 1 <= number <= (most := table.profiles[profile]):
            room = f"it has room for {'one' if most == 1 else f'1 to {most}'}"
            reason = f"{number} of {profile} on one {card.name}: {room}"
            return Refusal("mig-count", reason, f"declare at most {table.profiles[profile]} per card", source)
    if not layout:
        return Refusal("mig-layout", "an empty layout divides no card", "leave `mig` out, or name profiles", source)
    if not fits(layout, table):
        asked = " and ".join(f"{number} of {profile}" for profile, number in layout.items())
        reason = f"{asked} have no room together on one {card.name}"
        return Refusal("mig-layout", reason, "declare fewer or smaller profiles, or `balanced`", source)
    return layout


def _whose(profile: str, catalogue: Catalogue) -> str:
    tables = {name for name, table in catalogue.mig.items() if profile in table.profiles}
    owners = dict.fromkeys(card.models[0] for card in catalogue.cards.values() if card.mig in tables)
    return f"; it is one of {', '.join(owners)}" if owners else ""
