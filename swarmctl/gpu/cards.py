"""Which cards a host has, and whether they are the ones that are declared. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from swarmctl.gpu.catalogue import GPU_CLASSES, VENDORS, Card, Catalogue, is_model
from swarmctl.gpu.model import Cards, Device, Host, Reason, Refusal, Wanted

VGA = "0300"
"""The class of what drives a display, which the processor's own graphics have too."""
LEFT = "look for the card that has left the bus (`lspci -nn -D` and `dmesg` there)"
"""What to do on a host that has others than its like."""


@dataclass(frozen=True, slots=True)
class Found:
    """The vendor's devices on one host."""

    cards: tuple[tuple[Device, Card], ...]
    """All that the driver will drive, by PCI address."""
    counted: tuple[tuple[tuple[Device, Card], ...], ...]
    """Those of them that are of each declared model, in the order of `Wanted.cards`."""
    switches: tuple[Device, ...]
    """NVSwitches that are devices of the host."""
    warnings: tuple[Reason, ...]

    @property
    def kinds(self) -> tuple[Card, ...]:
        """Every kind of card once, in the order of the cards."""
        return tuple(dict.fromkeys(card for _, card in self.cards))


def find(host: Host, wanted: Wanted, catalogue: Catalogue) -> tuple[Found, list[Refusal]]:
    """The cards of `wanted.vendor`, and everything in which they are not what is declared."""
    devices = sorted(device for device in host.devices if device.vendor == catalogue.vendor)
    gpus = [device for device in devices if device.kind in GPU_CLASSES and device.device not in catalogue.switches]
    cards = tuple((device, catalogue.cards[device.device]) for device in gpus if device.device in catalogue.cards)
    unknown = [device for device in gpus if device.device not in catalogue.cards]
    # AMD's processors have graphics of their own, which need nothing of what is installed here.
    spare = [device for device in unknown if wanted.vendor == "amd" and device.kind == VGA and cards]
    counted = tuple(tuple(each for each in cards if is_of(item, each[1])) for item in wanted.cards)
    warnings = [_spare(device, catalogue) for device in spare]
    if gone := _gone(host, catalogue):
        warnings.append(Reason("cards", gone, catalogue.sources["id"]))
    others = [card for _, card in cards if not any(is_of(item, card) for item in wanted.cards)]
    if all(counted) and others:
        named = " or ".join(item.model for item in wanted.cards)
        clause = f"{listed(others)} are there too: they are driven, and not counted as {named}"
        warnings.append(Reason("cards", clause, "declaration"))
    switches = tuple(device for device in devices if device.device in catalogue.switches)
    # A card that is in no table is none of those that are declared where the known ones are just those: then it keeps
    # nobody from the known ones' driver, such as one that drives a display. Else it may be what is missing, and where
    # nothing known is on the boards of the NVSwitches that are there, it decides whether Fabric Manager has to run.
    met = all(each and item.count in (None, len(each)) for item, each in zip(wanted.cards, counted, strict=True))
    refusals = []
    for device in unknown:
        if device in spare:
            continue
        if met and not _on_board(host, device, cards, switches):
            warnings.append(_beside(device, catalogue))
        else:
            refusals.append(_unknown(device, catalogue))
    found = Found(cards, counted, switches, tuple(warnings))
    return found, refusals + _contradictions(host, wanted, found, bool(unknown), catalogue)


def is_of(item: Cards, card: Card) -> bool:
    """Whether `item` declares `card`."""
    return not item.model or is_model(item.model, card)


def listed(cards: Iterable[Card]) -> str:
    """Cards in words, such as `8 x H100 SXM5 80GB and 1 x T4`."""
    return " and ".join(f"{number} x {name}" for name, number in Counter(card.name for card in cards).items())


def _contradictions(host: Host, wanted: Wanted, found: Found, unknown: bool, catalogue: Catalogue) -> list[Refusal]:
    ids = catalogue.sources["id"]
    if not found.cards:
        return [] if unknown else [_absent(host, wanted, catalogue)]
    there = listed(card for _, card in found.cards)
    left = _gone(host, catalogue)
    gone = f"; {left}" if left else ""
    refusals = [
        Refusal(
            "cpu-contradicts",
            f"{card.name} comes with {needed} only, and this host is {host.cpu}",
            "check what `lspci -nn -D` and `uname -m` say there; one of the two facts is wrong",
            ids,
            there="check what `lspci -nn -D` and `uname -m` say there; one of the two facts is wrong",
        )
        for card in found.kinds
        if (needed := catalogue.architecture(card).cpu) not in ("", host.cpu)
    ]
    for number, (item, counted) in enumerate(zip(wanted.cards, found.counted, strict=True)):
        if not counted:
            others = [card for _, card in found.cards if not any(is_of(other, card) for other in wanted.cards)]
            instead = (others or [card for _, card in found.cards])[0].models[0]
            mend = f"declare the model {instead}, or take this host out of the pool"
            if not others and wanted.beside:
                mend = "leave this model out, or take this host out of the pool"
            reason = f"{item.model} is declared, and by its PCI ids this host has {there}{gone}"
            refusals.append(Refusal("model-absent", reason, mend, ids, number, LEFT))
        elif item.count is not None and item.count != len(counted):
            model = f" {item.model}" if item.model else ""
            meant = listed(card for _, card in counted)
            reason = f"{item.count}{model} are declared, and by its PCI ids this host has {meant}{gone}"
            mend = f"declare {len(counted)}, or look for the card that has left the bus"
            refusals.append(Refusal("count-differs", reason, mend, ids, number, LEFT))
    return refusals


def _gone(host: Host, catalogue: Catalogue) -> str:
    """Which of the vendor's cards are listed still, and have left the bus; empty for none."""
    left = [device.address for device in sorted(host.gone) if device.vendor == catalogue.vendor]
    if not left:
        return ""
    verbs = ("is", "answers") if len(left) == 1 else ("are", "answer")
    return f"{', '.join(left)} {verbs[0]} listed still, and {verbs[1]} nothing"


def _absent(host: Host, wanted: Wanted, catalogue: Catalogue) -> Refusal:
    gpus = [device.vendor for device in host.devices if device.kind in GPU_CLASSES]
    others = sorted({VENDORS[vendor] for vendor in gpus if vendor in VENDORS} - {wanted.vendor})
    beside = f", while there are some of {others[0]}" if others else ""
    left = _gone(host, catalogue)
    gone = f"; {left}" if left else ""
    return Refusal(
        "no-cards",
        f"no PCI device of this host is a GPU of {wanted.vendor}{beside}{gone}",
        "declare the vendor whose cards are there, or take this host out of the pool",
        catalogue.sources["id"],
        there=LEFT,
    )


def _unknown(device: Device, catalogue: Catalogue) -> Refusal:
    return Refusal(
        "unknown-id",
        f"{device.vendor}:{device.device} at {device.address} is in no table here, so nothing is known of its driver",
        "install its driver by hand and leave accelerators out for this pool, until a newer swarmctl knows the id",
        catalogue.sources["id"],
    )


def _on_board(host: Host, device: Device, cards: Iterable[tuple[Device, Card]], switches: tuple[Device, ...]) -> bool:
    """Whether an unknown device may be what the NVSwitches of the host are for: no known one is, and it computes."""
    return device.kind != VGA and bool(switches or host.switch_management) and all(it.form != "SXM" for _, it in cards)


def _beside(device: Device, catalogue: Catalogue) -> Reason:
    clause = (
        f"{device.vendor}:{device.device} at {device.address} is in no table here: it is left out of account, and "
        "whether the driver of the other cards runs it, too, is not known"
    )
    return Reason("cards", clause, catalogue.sources["id"])


def _spare(device: Device, catalogue: Catalogue) -> Reason:
    clause = f"{device.vendor}:{device.device} at {device.address} is taken for the processor's own graphics"
    return Reason("cards", clause, catalogue.sources["id"])
