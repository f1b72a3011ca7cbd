"""From the peers that an interface has to those that are wanted: one script of `wg`, and what it says of names. Pure.

Peers that are there are changed by `wg set`, which names only what differs. New ones go to WireGuard as one
configuration (`wg addconf`, which leaves the others alone): a thousand in one message instead of many. Endpoints with
a DNS name come last, one call each and side by side: a name that is slow or does not resolve holds nobody else up.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import islice
from shlex import quote
from types import MappingProxyType

from swarmctl.graph.model import Json
from swarmctl.hosts.facts import Peer, WireGuard
from swarmctl.kinds.mesh.failover_table import NotAWord

BATCH = 200
"""Peers per call of `wg set`: 200 take about 40 KiB of arguments; Linux allows 128 KiB at the least."""
AT_ONCE, ROUNDS = 16, 6
"""So many names are looked up at the same time; more, where they would need more rounds than this."""
LOOKUP = 10
"""Seconds that one name may take; without an answer `wg` would go on for minutes."""
SECOND_AFTER, SECOND_AT_MOST = 0.1, 100
"""Seconds after which the second end of a new tunnel begins its handshake, and with how many peers: see `script`."""
UNRESOLVED = "unresolved: "
HAS_PEERS = "has peers"
OWN_KEY = "own key:"
"""Words of the scripts, each at the beginning of a line."""
_KEY = re.compile(r"[A-Za-z0-9+/]{1,64}=?")
_ENDPOINT = re.compile(r"(?:\[[0-9A-Fa-f:.%a-z]+\]|[A-Za-z0-9][A-Za-z0-9._-]*):[0-9]{1,5}")
_NETWORK = re.compile(r"[0-9A-Fa-f.:]+/[0-9]{1,3}")
_NAMED = """\
named() {{
  said=$(WG_ENDPOINT_RESOLUTION_RETRIES=2 timeout {limit} wg set {interface} peer "$1" endpoint "$2" 2>&1) && return
  said=$(printf '%s' "${{said:-no answer within {limit} s}}" | tail -n 1 | cut -c -200)
  printf '{unresolved}%s %s\\n' "$1" "$said"
}}
"""


def script(
    interface: str,
    now: WireGuard | None,
    wanted: Iterable[Mapping[str, Json]],
    renamed: Collection[str] = (),
    filed: Mapping[str, str] = MappingProxyType({}),
    second: Collection[str] = (),
) -> str:
    """What brings the interface's peers to what is wanted; empty when they are so already. Raises `NotAWord`.

    `renamed`: public keys of peers whose endpoint was declared otherwise before; a name among those is set again, since
    what it once resolved to does not tell. `filed`: files with preshared keys, by public key of the peer; a peer that
    shall have one and has no file is not added. `second`: public keys of peers that are to begin the handshake of a new
    tunnel. Keepalive is what makes an end begin at once, and two that do so at the same moment drop each other's
    message, or are left with a session that works one way, for 5 to 15 s: so this end gets its own a moment later. With
    more peers than `SECOND_AT_MOST` that is left out: what it spares is little beside what they all cost.
    """
    present = dict(now.peers) if now is not None else {}
    settings: list[str] = []
    added: list[Mapping[str, Json]] = []
    secrets: list[str] = []
    named: list[tuple[str, str]] = []
    keys = set()
    for peer in wanted:
        key = _checked(peer)
        keys.add(key)
        have = present.get(key)
        file = filed.get(key) if "presharedKey" in peer else ""
        if have is None and file is None:
            continue
        if is_name(peer["endpoint"]) and (key in renamed or not same_endpoint(have, peer["endpoint"])):
            named.append((key, peer["endpoint"]))
        if have is None:
            added.append(peer)
            if file:
                secrets.append(f"peer {quote(key)} preshared-key {quote(file)}")
        elif changes := _setting(have, peer, file):
            settings.append(changes)
    later = {peer["publicKey"] for peer in added if peer["publicKey"] in second and peer["persistentKeepalive"]}
    if len(later) > SECOND_AT_MOST:
        later = set()
    removals = [f"peer {quote(key)} remove" for key in present if key not in keys]
    # Removed first, so that an address can move from one peer to another.
    return "".join(
        [
            *_sets(interface, removals),
            *_sets(interface, settings),
            # Before all else of a new peer, which begins a handshake as soon as it has an endpoint.
            *_sets(interface, secrets),
            *_add(interface, [_section(peer, later=peer["publicKey"] in later) for peer in added]),
            *_begin(interface, [peer for peer in added if peer["publicKey"] in later]),
            *_name(interface, named),
        ]
    )


def unless_peers(interface: str) -> str:
    """Ends a script with the line `HAS_PEERS` where the interface has peers already."""
    return f'peers=$(wg show {quote(interface)} peers)\nif [ -n "$peers" ]; then echo {quote(HAS_PEERS)}; exit; fi\n'


def unless_own(interface: str, keys: Iterable[str]) -> str:
    """Ends a script with the line `OWN_KEY` and the key where the interface itself has one of these public keys."""
    known = " ".join(key for key in keys if _KEY.fullmatch(key))
    own = f"own=$(wg show {quote(interface)} public-key)\n"
    return f'{own}case \' {known} \' in *" $own "*) echo {quote(OWN_KEY)} "$own"; exit ;; esac\n' if known else ""


def own_key(printed: str) -> str:
    """The key that `unless_own` has ended the script for; empty when it has not."""
    return next((it[len(OWN_KEY) :].strip() for it in printed.splitlines() if it.startswith(OWN_KEY)), "")


def removal(interface: str, keys: Iterable[str]) -> str:
    """Takes these peers away."""
    return "".join(_sets(interface, (f"peer {quote(key)} remove" for key in keys)))


def unresolved(printed: str) -> list[tuple[str, str]]:
    """Public keys of the peers whose endpoint did not resolve, each with what `wg` said."""
    lines = (line.removeprefix(UNRESOLVED) for line in printed.splitlines() if line.startswith(UNRESOLVED))
    return [(key, said.strip()) for key, _, said in (line.partition(" ") for line in lines)]


def is_name(endpoint: str) -> bool:
    """Whether the host of `endpoint` is a DNS name; the empty endpoint has none."""
    host = endpoint.rpartition(":")[0]
    return bool(host) and host[0] != "[" and not host.replace(".", "").isdigit()


def same_endpoint(now: Peer | None, endpoint: str) -> bool:
    """Whether the peer has the endpoint, as far as a reading tells: where it waits to be contacted, any will do, and of
    a name only the port is known."""
    if not endpoint:
        return True
    if now is None:
        return False
    if is_name(endpoint):
        return now.endpoint.rpartition(":")[2] == endpoint.rpartition(":")[2]
    return now.endpoint == endpoint


def _checked(peer: Mapping[str, Json]) -> str:
    """The peer's key. A configuration is lines: what came from another node must not bring its own."""
    key, endpoint = peer["publicKey"], peer["endpoint"]
    if not _KEY.fullmatch(key):
        raise NotAWord(
            f"{key[:80]!r} is not a public key", "see what `wg pubkey` prints on the node that it comes from"
        )
    if endpoint and not _ENDPOINT.fullmatch(endpoint):
        raise NotAWord(f"{endpoint[:300]!r} is not an endpoint", "write HOST:PORT, an IPv6 address in brackets")
    for network in peer["allowedIps"]:
        if not _NETWORK.fullmatch(network):
            raise NotAWord(f"{network[:80]!r} is not a network", "write ADDRESS/PREFIX-LENGTH")
    return str(key)


def _setting(now: Peer, peer: Mapping[str, Json], file: str | None) -> str:
    """The words after `wg set INTERFACE` that change what differs. `file` with the preshared key: empty for none, None
    where it is not there yet: then what the peer has stays."""
    words: list[str] = []
    if not is_name(peer["endpoint"]) and not same_endpoint(now, peer["endpoint"]):
        words.append(f"endpoint {quote(peer['endpoint'])}")
    if set(now.allowed_ips) != set(peer["allowedIps"]):
        words.append(f"allowed-ips {quote(','.join(peer['allowedIps']))}")
    if now.keepalive != peer["persistentKeepalive"]:
        words.append(f"persistent-keepalive {int(peer['persistentKeepalive'])}")
    if file and not now.preshared_filed:
        words.append(f"preshared-key {quote(file)}")
    if file == "" and now.preshared:
        words.append("preshared-key /dev/null")  # wg(8): an empty file takes it away
    return " ".join([f"peer {quote(peer['publicKey'])}", *words]) if words else ""


def _section(peer: Mapping[str, Json], *, later: bool) -> str:
    """A new peer as a configuration has it; one with a name gets its endpoint later, one that begins its keepalive."""
    lines = [
        "[Peer]",
        f"PublicKey={peer['publicKey']}",
        f"AllowedIPs={','.join(peer['allowedIps'])}",
        f"PersistentKeepalive={0 if later else int(peer['persistentKeepalive'])}",
    ]
    if peer["endpoint"] and not is_name(peer["endpoint"]):
        lines.append(f"Endpoint={peer['endpoint']}")
    return "\n".join([*lines, ""])


def _sets(interface: str, settings: Iterable[str]) -> Iterator[str]:
    rest = iter(settings)
    while batch := list(islice(rest, BATCH)):
        yield f"wg set {quote(interface)} {' '.join(batch)}\n"


def _add(interface: str, sections: list[str]) -> Iterator[str]:
    if sections:
        yield f"wg addconf {quote(interface)} /dev/stdin <<'END'\n{''.join(sections)}END\n"


def _begin(interface: str, later: list[Mapping[str, Json]]) -> Iterator[str]:
    if later:
        yield f"sleep {SECOND_AFTER}\n"
    yield from _sets(
        interface,
        (f"peer {quote(it['publicKey'])} persistent-keepalive {int(it['persistentKeepalive'])}" for it in later),
    )


def at_once(names: int) -> int:
    """How many of so many names are looked up at the same time: none may answer, and the script has to end."""
    return max(AT_ONCE, -(-names // ROUNDS))


def _name(interface: str, named: list[tuple[str, str]]) -> Iterator[str]:
    if named:
        yield _NAMED.format(limit=LOOKUP, interface=quote(interface), unresolved=UNRESOLVED)
    rest = iter(named)
    while batch := list(islice(rest, at_once(len(named)))):
        yield "".join(f"named {quote(key)} {quote(endpoint)} &\n" for key, endpoint in batch) + "wait\n"
