"""What a plan says of an interface of a mesh: words for people, with the reason where inputs bring one."""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.graph.model import Json
from swarmctl.hosts import startup
from swarmctl.kinds.base import UNKNOWN, PropertyChange, words
from swarmctl.kinds.mesh import interface_adoption
from swarmctl.kinds.mesh.rotation import due
from swarmctl.mesh.spans import Span

NOTES = "notes"
"""Input that explains others and is never compared: `mtu`, how it was computed, and `reserved` of the mesh."""


def describe(inputs: Mapping[str, Json], *, made: bool) -> str:
    """What comes or goes."""
    addresses = inputs["addresses"]
    parts = [
        f"interface {words(inputs['interface'])}",
        words(addresses) if addresses is UNKNOWN else ", ".join(addresses),
        f"udp/{words(inputs['listenPort'])}",
        f"MTU {words(inputs['mtu'])}{_because(inputs)}",
        interface_adoption.words(inputs) if made else "with its key",
    ]
    return ", ".join(parts)


def changed(change: PropertyChange, old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    """What changes of it, without its name."""
    name = change.path[0]
    if name == "state":
        lost = {
            "gone": "is gone and is started again with the same key",
            "hung": "does not answer and is started again with the same key",
            "down": "is down and is set up again",
        }
        return lost.get(str(old["state"]), f"state {words(old['state'])} → {words(new['state'])}")
    if name == "key" and due.rotation(old):
        return due.words(str(new["node"]), str(old["key"]))
    if name == "keyGeneration":
        return _generation(old, new)
    if name == "rotateEvery":
        return f"keys are rotated every {due.duration(int(new[name] or 0))}" if new.get(name) else "keys stay"
    if name == "key":
        return "has not the key of the node's key file and gets it back"
    before, after = old.get(name), new.get(name)
    if name == "addresses" and UNKNOWN not in (before, after):
        gone = [f"-{address}{_reserved(address, new)}" for address in before or () if address not in (after or ())]
        return "addresses " + " ".join([*gone, *(f"+{a}" for a in after or () if a not in (before or ()))])
    if name == "fwmark":
        return f"marks its packets with {words(old.get(name))}, which nobody declared, and stops that"
    if name == "exposed":
        return f"beside the key others can read {', '.join(old.get(name) or ())}, and no longer"
    if name == startup.PROPERTY:
        return startup.mended("it", old.get(name))
    if name == "routes":
        return f"routes of the mesh are put right: {', '.join(old.get(name) or ())}"
    names = {"mtu": "MTU", "listenPort": "listens on udp", "keyMode": "mode of the key file", "keyPath": "key file"}
    because = _because(new) if name == "mtu" else ""
    return f"{names.get(name, name)} {words(before)} → {words(after)}{because}"


def _generation(old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    before, after = old.get("keyGeneration"), new.get("keyGeneration")
    if before is None:
        return "rotations of the key are counted from now on"
    if after > before:
        return f"the key of {words(new['node'])} is rotated"
    return f"{words(before)} rotations of the key are noted, and {words(after)} recorded"


def _notes(inputs: Mapping[str, Json]) -> Mapping[str, Json]:
    notes = inputs.get(NOTES)
    return notes if isinstance(notes, Mapping) else {}


def _because(inputs: Mapping[str, Json]) -> str:
    reason = _notes(inputs).get("mtu")
    return f" ({words(reason)})" if reason else ""


def _reserved(address: str, inputs: Mapping[str, Json]) -> str:
    """Why an address goes, when that is because it is reserved."""
    reserved = _notes(inputs).get("reserved") or ()
    found = next((text for text in reserved if address.partition("/")[0] in Span(text)), "")
    return f" ({found} is reserved)" if found else ""
