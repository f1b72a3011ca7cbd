"""A machine as a NodePool: YAML as people would write it, with what led to it in comments. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_interface
from typing import Any

import msgspec

from swarmctl.gpu.catalogue import Card, is_model
from swarmctl.hosts.system import Nic, SystemFacts
from swarmctl.kinds.node_pool.accelerators import decision
from swarmctl.kinds.node_pool.accelerators import spec as declared
from swarmctl.operations.facts import Accelerator, accelerators
from swarmctl.operations.import_text import word

_WORDS = 160
_USUAL_MTU = 1500


def pool(
    name: str, way: Mapping[str, Any], found: SystemFacts, belongs: Mapping[str, tuple[str, str]] | None = None
) -> str:
    """The declaration of the machine that `way` leads to (`Placement.host` without backend, stack and node).

    `belongs` has the cluster and the region where they are to be written down, and why it is that one.
    """
    labels = _labels(found)
    metadata = f"{{name: {word(name)}{', labels: {' + _inline(labels) + '}' if labels else ''}}}"
    lines = [
        *_about(found),
        *(f"# Label {key}: {why}." for key, (_, why) in labels.items()),
        "apiVersion: swarmctl/v1alpha1",
        "kind: NodePool",
        f"metadata: {metadata}",
        "spec:",
        *(f"  {key}: {word(value)}{f'  # {why}' if why else ''}" for key, (value, why) in (belongs or {}).items()),
        *_accelerators(found),
        *_ssh(name, way, found),
    ]
    return "\n".join([*lines, ""])


def _about(found: SystemFacts) -> Iterator[str]:
    yield f"# {_plain(found.hostname)}, as it was when it was imported:"
    yield f"#   {_plain(found.os.name or found.os.id or 'an unknown system')}, Linux {found.kernel}"
    cpu = found.cpu
    threads = f", {cpu.threads} threads" if cpu.threads is not None else ""
    yield f"#   {_plain(cpu.model or 'processor unknown')} ({cpu.architecture}){threads}"
    if found.memory.total is not None:
        yield f"#   {found.memory.total / 2**30:.0f} GiB of memory"
    if found.virtualisation.machine not in (None, "none"):
        yield f"#   virtual: {found.virtualisation.machine}"
    if found.init != "systemd":
        yield f"#   its first process is {_plain(found.init) or 'unknown'}, not systemd"
    if found.clock.synchronised is False:
        yield "#   its clock is not synchronised"


def _labels(found: SystemFacts) -> dict[str, tuple[str, str]]:
    """What selectors may want to go by, by key: value, and the fact that led to it."""
    labels = {}
    models = {one.card.models[0].split()[0].lower() for one in accelerators(found) if one.card}
    if len(models) == 1 and re.fullmatch(r"[a-z0-9-]{1,40}", model := models.pop()):
        labels["accelerator"] = model, "the model of all its accelerators, by their PCI ids"
    for kind in ("sev-snp", "tdx"):
        if found.tee[kind].enabled:
            labels["confidential"] = kind, "its kernel can begin such guests"
    return labels


def _accelerators(found: SystemFacts) -> Iterator[str]:
    there = accelerators(found)
    if not there:
        if found.pci is None:
            yield "  # Whether it has accelerators is not known: neither lspci nor sysfs told of a PCI bus."
        return
    for (vendor, ids, called), number in Counter(map(_kind, there)).items():
        yield f"  # {number} x {called}, by its PCI id {vendor}:{ids}"
    kinds = Counter((one.vendor, one.device.device) for one in there)
    cards = {(one.vendor, one.device.device): one.card for one in there}
    if None in cards.values():
        yield "  # No `accelerators` here: swarmctl knows no driver for all of them."
        return
    if any(_shared(vendor, cards, number) for vendor, number in kinds):
        yield "  # No `accelerators` here: some are of models that only their PCI ids tell apart."
        return
    if found.secure_boot:
        yield "  # Secure boot is on: a driver's modules load only once its key is enrolled at the machine's console."
    refused = dict(_refused(found, kinds, cards))
    for vendor, why in refused.items():
        yield f"  # No item for the cards of {vendor}, since a plan would refuse it: {_plain(why)}."
    items = [
        f"{{vendor: {vendor}{_model(vendor, cards, number)}, count: {count}}}"
        for (vendor, number), count in kinds.items()
        if vendor not in refused
    ]
    if not items:
        return
    if len(items) == 1:
        yield f"  accelerators: [{items[0]}]"
        return
    yield "  accelerators:"
    yield from (f"    - {item}" for item in items)


def _refused(
    found: SystemFacts, kinds: Mapping[tuple[str, str], int], cards: Mapping[tuple[str, str], Card | None]
) -> Iterator[tuple[str, str]]:
    """Vendors for whose cards there is no driver on this machine, and why."""
    host = decision.known(found)
    for vendor in dict.fromkeys(vendor for vendor, _ in kinds) if host else ():
        items = [
            msgspec.convert(
                {"vendor": vendor, "model": card.models[0] if _model(vendor, cards, number) else None, "count": count},
                declared.Accelerator,
            )
            for (whose, number), count in kinds.items()
            if whose == vendor and (card := cards[whose, number])
        ]
        outcome = decision.inputs(host, *items) if host else {}
        if isinstance(outcome, tuple):
            yield vendor, outcome[0].reason


_Cards = Mapping[tuple[str, str], Card | None]
"""By vendor and PCI id."""


def _model(vendor: str, cards: _Cards, number: str) -> str:
    """The card's model, where its id stands for one, or where another of the vendor's has to be told from it."""
    card = cards[vendor, number]
    alone = sum(whose == vendor for whose, _ in cards) == 1
    # An id that stands for several models says nothing of which it is.
    return "" if card is None or (alone and len(card.models) > 1) else f", model: {word(card.models[0])}"


def _shared(vendor: str, cards: _Cards, number: str) -> bool:
    """Whether the name of its model means another card of the machine, too."""
    card = cards[vendor, number]
    others = [other for (whose, id_), other in cards.items() if whose == vendor and id_ != number]
    return card is not None and any(other is not None and is_model(card.models[0], other) for other in others)


def _kind(one: Accelerator) -> tuple[str, str, str]:
    return one.device.vendor, one.device.device, one.card.name if one.card else "a device that is in no table"


def _ssh(name: str, way: Mapping[str, Any], found: SystemFacts) -> Iterator[str]:
    yield "  ssh:"
    yield f"    user: {word(way['user'])}"
    if "port" in way:
        yield f"    port: {way['port']}"
    if "key" in way:
        yield f"    key: {word(way['key'])}"
    else:
        yield "    # Without `key` all keys of the SSH agent are tried."
    if "certificate" in way:
        yield f"    certificate: {word(way['certificate'])}"
    indent, before = "    ", way
    while jump := before.get("jump"):
        yield f"{indent}jump:"
        indent += "  "
        yield f"{indent}address: {word(jump['address'])}"
        if jump["user"] != before["user"]:
            yield f"{indent}user: {word(jump['user'])}"
        if "port" in jump:
            yield f"{indent}port: {jump['port']}"
        yield f"{indent}hostKeys: [{jump['hostKeys'][0]}]"
        before = jump
    yield from _network(way, found)
    yield "    hosts:"
    yield f"      - {{name: {word(name)}, address: {word(way['address'])}, hostKeys: [{way['hostKeys'][0]}]}}"


def _network(way: Mapping[str, Any], found: SystemFacts) -> Iterator[str]:
    nic, literal = _facing(way["address"], found)
    if nic is not None and nic.mtu != _USUAL_MTU and 576 <= nic.mtu <= 9216:
        yield f"    mtu: {nic.mtu}  # of {_plain(nic.name)}, which has this address"
    if nic is None and literal and found.addresses:
        yield f"    # None of its interfaces has the address {way['address']}: a router translates it. If that lets no"
        yield "    # new connections in but SSH, say so by `nat: true`."


def _facing(address: str, found: SystemFacts) -> tuple[Nic | None, bool]:
    """The interface with this address, and whether it is one and not a name."""
    try:
        wanted = ip_address(address)
    except ValueError:
        return None, False
    for nic in found.nics or ():
        if any(ip_interface(one).ip == wanted for one in found.addresses.get(nic.name, ())):
            return nic, True
    return None, True


def _inline(labels: Mapping[str, tuple[str, str]]) -> str:
    return ", ".join(f"{key}: {word(value)}" for key, (value, _) in labels.items())


def _plain(text: str) -> str:
    """Text of a machine's as part of a comment: it has one line already."""
    return "".join(character if character.isprintable() else "?" for character in text)[:_WORDS]
