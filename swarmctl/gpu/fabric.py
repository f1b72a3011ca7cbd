"""Whether NVIDIA's Fabric Manager runs on a host, and how; told from PCI devices alone. Pure."""

from __future__ import annotations

from swarmctl.gpu.cards import Found
from swarmctl.gpu.model import FabricManager, Host, Reason

GUIDE = "NVIDIA Fabric Manager User Guide 2.3"
CONTAINER = "NVIDIA gpu-driver-container, install.sh and nvidia-driver (2026)"
BOARD = 8
"""Cards of an HGX board with NVSwitches; boards of four are wired without them."""
FIRST_SWITCHED = 3
"""The first generation of NVLink whose NVSwitches are in the table of cards, so that they can be missed."""


def fabric(host: Host, found: Found) -> tuple[FabricManager, Reason, tuple[Reason, ...]]:
    """The mode, why, and what is to be said about it."""
    on_board = [card for _, card in found.cards if card.form == "SXM"]
    if any(card.nvlink >= 5 for card in on_board):
        return _fifth(host)
    if any(card.form == "superchip" and card.nvlink >= 5 for _, card in found.cards):
        return _none("the NVSwitches of an NVL72 rack are run from its switch trays", CONTAINER)
    if found.switches and on_board:
        clause = f"{len(found.switches)} NVSwitches are PCI devices here; CUDA fails (802) until they are set up"
        return FabricManager.CLASSIC, Reason("fabric manager", clause, GUIDE), ()
    if found.switches:
        return _none("PCIe cards are never wired to NVSwitches", GUIDE)
    warnings: tuple[Reason, ...] = ()
    if sum(card.nvlink >= FIRST_SWITCHED for card in on_board) >= BOARD:
        clause = f"{len(on_board)} SXM cards and no NVSwitch: true of a guest with passed-through cards, else a fault"
        warnings = (Reason("fabric manager", clause, GUIDE),)
    return FabricManager.NONE, Reason("fabric manager", "no NVSwitch is among the PCI devices", GUIDE), warnings


def _fifth(host: Host) -> tuple[FabricManager, Reason, tuple[Reason, ...]]:
    if host.switch_management is False:
        return _none("no Mellanox device here manages NVLink 5 switches (SW_MNG in its VPD)", CONTAINER)
    told = "a Mellanox device says SW_MNG" if host.switch_management else "SXM cards of NVLink 5 sit on such boards"
    clause = f"NVLink 5 switches are run through NVLink's subnet manager: {told}"
    return FabricManager.NVLINK5, Reason("fabric manager", clause, CONTAINER), ()


def _none(clause: str, source: str) -> tuple[FabricManager, Reason, tuple[Reason, ...]]:
    return FabricManager.NONE, Reason("fabric manager", clause, source), ()
