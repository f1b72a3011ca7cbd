"""Names and ports that a mesh uses beside those that are declared. Pure."""

from __future__ import annotations

import re

KEYS = "/etc/swarmctl/mesh"
"""Where the keys of meshes are on nodes, in a folder for each."""
_NAME = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_MESH = re.compile(_NAME)
_KEY_FILE = re.compile(rf"{KEYS}/({_NAME})/private\.key")
_INTERFACE = re.compile("[a-z][a-z0-9-]{0,14}")

_LENGTH = 13
"""Linux takes 15 characters for an interface; two are for the ending."""


def next_interface(interface: str) -> str:
    """The second interface of a node, which is there while its key is rotated: `wg0` → `wg0-n`."""
    return f"{interface[:_LENGTH]}-n"


def next_port(listen_port: int, declared: int | None = None) -> int:
    """The UDP port of the second interface: the declared one, else the one after `listen_port` (before the last)."""
    if declared is not None:
        return declared
    return listen_port + 1 if listen_port < 65535 else listen_port - 1


def is_mesh(name: str) -> bool:
    """Whether it can be the name of a mesh: whoever is root on a node writes there what he likes."""
    return _MESH.fullmatch(name) is not None


def is_interface(name: str) -> bool:
    """Whether an interface of a mesh can have that name."""
    return _INTERFACE.fullmatch(name) is not None


def key_file(mesh: str) -> str:
    """The private key of a mesh on its nodes. Raises ValueError for what is no name of a mesh."""
    if not is_mesh(mesh):
        raise ValueError(f"no name of a mesh: {mesh!r}")
    return f"{KEYS}/{mesh}/private.key"


def mesh_of(path: str) -> str:
    """The mesh whose private key that is; empty when it is none's."""
    found = _KEY_FILE.fullmatch(path)
    return found[1] if found else ""


def key_folder(path: str) -> str:
    """The folder of a private key, which is changed and removed as a whole. Raises ValueError for any other path."""
    if not mesh_of(path):
        raise ValueError(f"no key of a mesh: {path!r}")
    return path.rpartition("/")[0]
