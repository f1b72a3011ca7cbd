"""Where preshared keys are on nodes. Pure.

`FOLDER/identity` is what a node opens sealed keys with. `FOLDER/OWN/PEER` is the key of the tunnel between two public
keys, with one folder per own key; `/` of base64 is `_` there. `PEER.next` was made here, and the other end has not said
yet that it has it: nobody uses it. All of it is root's alone: folders 0700, files 0600.
"""

from __future__ import annotations

NEXT = ".next"


def folder(mesh: str) -> str:
    """Of one mesh."""
    return f"/etc/swarmctl/mesh/{mesh}/psk"


def name(public_key: str) -> str:
    """A public key as it stands in a path."""
    return public_key.replace("/", "_")


def path(folder: str, own: str, peer: str) -> str:
    """The file for the tunnel between two public keys, on the node that has `own`."""
    return f"{folder}/{name(own)}/{name(peer)}"
