"""Taking over an interface that somebody else made, with its key and its sessions. Pure: scripts and facts.

The node's own shell copies the key, from the kernel or from the file of wg-quick(8) into the file of the mesh; nothing
of it is printed. Until then the interface reads as if it had been done: only what else differs is a change.
"""

from __future__ import annotations

from collections.abc import Mapping

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Facts
from swarmctl.kinds.base import words as words_of

ADOPT = "adopt"
"""Input: whether it is done. It says how an interface is made and is no property of it: never compared."""

COPY_KEY = """
umask 077
conf=/etc/wireguard/$interface.conf
folder=$(dirname "$key")
if ! wg pubkey <"$key" >/dev/null 2>&1; then
  before=$([ -d "$folder" ] && echo yes || :)
  mkdir -p "$folder"
  chmod 0700 "$folder"
  new=$folder/.private.key.new
  wg show "$interface" private-key >"$new" 2>/dev/null || :
  # A key that was rotated since must not come back: the file counts only where there was none of the mesh's own.
  if ! wg pubkey <"$new" >/dev/null 2>&1 && [ -z "$before" ] && [ -r "$conf" ]; then
    tr -d '\\r' <"$conf" | grep -i '^[[:space:]]*PrivateKey[[:space:]]*=' | head -n 1 | sed 's/#.*//' |
      cut -d = -f 2- | tr -d '[:space:]' >"$new"
  fi
  if wg pubkey <"$new" >/dev/null 2>&1; then
    sync "$new"
    : >"$folder/adopted"
    mv "$new" "$key"
    sync "$folder"
  else
    rm -f "$new"
  fi
fi
"""


def wanted(inputs: Mapping[str, Json]) -> bool:
    """Whether the mesh says so."""
    return inputs.get(ADOPT) is True


def found(facts: Facts, inputs: Mapping[str, Json]) -> str:
    """The public key of a running interface that is to be taken over; empty when there is none."""
    wireguard = facts.wireguard.get(inputs["interface"])
    return wireguard.public_key if wanted(inputs) and wireguard is not None else ""


def may(facts: Facts, inputs: Mapping[str, Json]) -> bool:
    """Whether the interface may be taken over: what is no WireGuard interface never is."""
    return wanted(inputs) and inputs["interface"] in facts.wireguard


def replaced(old: Mapping[str, Json], new: Mapping[str, Json]) -> str:
    """What becomes of tunnels and key when the mesh goes to another interface."""
    node, name = words_of(new["node"]), words_of(new["interface"])
    if old.get("interface") == new["interface"] or not wanted(new):
        return f"tunnels of {node} close and are made anew, with a new key"
    return (
        f"tunnels of {node} over {words_of(old.get('interface'))} close; {name} keeps its key and its tunnels where it "
        f"runs, else has the key of /etc/wireguard/{name}.conf or a new one"
    )


def words(inputs: Mapping[str, Json]) -> str:
    """Where the key of an interface comes from that is not running."""
    if wanted(inputs):
        name = inputs["interface"]
        return (
            f"key taken over on the node, from {name} where it runs or /etc/wireguard/{name}.conf, or else made there"
        )
    return "key made on the node"
