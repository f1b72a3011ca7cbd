"""What is run on a node in each phase, as scripts for a POSIX shell. Pure.

Keys go from file to WireGuard by path, preshared ones from one interface to the other through files that only root can
read, in the folder that only root can enter. Every script may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_network
from itertools import islice
from pathlib import PurePosixPath
from shlex import quote

from swarmctl.kinds.mesh.link import WAIT
from swarmctl.kinds.mesh.rotation import restart, routes
from swarmctl.kinds.mesh.rotation.survey import Survey, Way
from swarmctl.mesh.names import key_folder

ALIAS = "swarmctl-rotation:"
"""Mark of a second interface, before the mesh's name."""
TRIGGER = 5
"""Seconds between keepalives of the end that begins a handshake: switching them on begins it at once."""
FRESH = 170
"""Seconds since the last handshake for which WireGuard takes packets: 180, less what asking takes."""
BATCH = 200
"""Peers per call of `wg`; see `kinds.mesh.peers`."""

MAKE_KEY = """
umask 077
rm -rf "$folder/rotation"
if ! wg pubkey <"$folder/next.key" >/dev/null 2>&1; then
  rm -f "$folder/.next.key.new"
  wg genkey >"$folder/.next.key.new"
  sync "$folder/.next.key.new"
  mv "$folder/.next.key.new" "$folder/next.key"
  sync "$folder"
fi
chmod 0600 "$folder/next.key"
"""
"""The key that is to follow, made on the node."""

SECRETS = """
umask 077
rm -rf "$folder/rotation"
mkdir "$folder/rotation"
wg show "$from" preshared-keys | while read -r peer secret; do
  case $secret in "(none)") continue ;; esac
  case $peer in
{cases}
  esac
done
"""

LOOSE = """
# Strict filtering by the way back would drop what comes on one interface while the answer goes out on the other.
for link in "$second" "$interface"; do
  switch=/proc/sys/net/ipv4/conf/$link/rp_filter
  [ -w "$switch" ] || continue
  own=$(cat "$switch")
  [ "$own" = 1 ] || { [ "$own" = 0 ] && [ "$(cat /proc/sys/net/ipv4/conf/all/rp_filter)" = 1 ]; } || continue
  [ "$link" = "$second" ] || [ -e "$folder/rp_filter" ] || echo "$own" >"$folder/rp_filter"
  echo 2 >"$switch"
done
"""

AWAIT = """
tries=0
while :; do
  now=$(date +%s)
  seen=$(wg show "$link" latest-handshakes | while read -r peer at; do
    case " $peers " in *" $peer "*) [ "$((now - at))" -ge {fresh} ] || printf '%s\\n' "$peer" ;; esac
  done)
  [ "$(printf '%s\\n' "$seen" | grep -c .)" -lt {count} ] || break
  tries=$((tries + 1))
  [ "$tries" -lt {tries} ] || break
  sleep 0.05
done
printf '%s\\n' "$seen"
"""

FINISH = """
umask 077
if [ -e "$folder/.old.key" ]; then shred -u "$folder/.old.key"; fi
if [ -e "$folder/next.key" ]; then
  printf '%s\\n' {generation} >"$folder/.generation.new"
  mv "$folder/.generation.new" "$folder/generation"
  wg pubkey <"$key" >"$folder/.previous.new"
  mv "$folder/.previous.new" "$folder/previous.pub"
  ln "$key" "$folder/.old.key"
  sync "$folder"
  mv "$folder/next.key" "$key"
  sync "$folder"
  shred -u "$folder/.old.key"
fi
"""
"""The key that follows takes the key's place; the generation first, so that a repetition still finds what is to do."""

DROP = f"""{restart.DROP}
for family in -4 -6; do ip "$family" route flush dev "$interface" proto {routes.PROTOCOL} 2>/dev/null || :; done
if ip link show dev "$second" >/dev/null 2>&1; then ip link del dev "$second"; fi
if [ -e "$folder/rp_filter" ]; then
  cat "$folder/rp_filter" >"/proc/sys/net/ipv4/conf/$interface/rp_filter" 2>/dev/null || :
  rm -f "$folder/rp_filter"
fi
rm -rf "$folder/rotation"
"""


def head(survey: Survey) -> str:
    """What all of them begin with."""
    key = survey.inputs["keyPath"]
    names = {
        "interface": survey.interface,
        "second": survey.second,
        "key": key,
        # What it begins with `rm -rf` in: never another one's.
        "folder": key_folder(key),
    }
    return "".join(f"{name}={quote(str(value))}\n" for name, value in names.items()) + restart.head()


def keep(survey: Survey, ways: str = "") -> str:
    """Have a restart bring back what is there now, and find out by itself about `ways`."""
    return restart.keep(survey, f"{ALIAS}{survey.inputs['mesh']}", ways)


def declared(survey: Survey, peers: Iterable[str]) -> str:
    """Have what a restart brings name these peers by the keys that they have in the end."""
    wanted = {across: survey.goal(across) for across in peers}
    keys = {key: wanted[name] for key, name in survey.owners.items() if name in wanted and key != wanted[name]}
    return restart.rename(keys)


def waiting(survey: Survey) -> str:
    """Until the second interface answers."""
    return WAIT.replace("$interface", "$second")


def second(survey: Survey, node: str, peers: Sequence[str]) -> str:
    """Set up the second interface with these peers, who wait; what is right already is not touched."""
    there, first = survey.next(node), survey.facts[node].interfaces.get(survey.interface)
    file = "next.key" if survey.following(node) else PurePosixPath(survey.inputs["keyPath"]).name
    ways = [survey.way(node, across) for across in peers]
    lines = []
    if there is None or there.public_key != survey.goal(node):
        lines.append(f'wg set "$second" private-key "$folder"/{quote(file)}\n')
    if there is None or there.listen_port != survey.inputs["nextPort"]:
        lines.append(f'wg set "$second" listen-port {int(survey.inputs["nextPort"])}\n')
    alias = quote(f"{ALIAS}{survey.inputs['mesh']}")
    mtu = f" mtu {first.mtu}" if first else ""
    lines.append(f'ip link set dev "$second" alias {alias}{mtu} up\n')
    if any(":" in network for way in ways for network in way.allowed):
        switch = '"/proc/sys/net/ipv6/conf/$second/disable_ipv6"'
        lines.append(f'if [ "$(cat {switch})" != 0 ]; then echo 0 >{switch}; fi\n')
    missing = [way for way in ways if not _right(survey, node, way)]
    wanted = {survey.goal(way.node) for way in ways}
    stale = [key for key in (there.peers if there else ()) if survey.owners.get(key) in peers and key not in wanted]
    words = [
        _peer(survey.goal(way.node), way, survey.second_endpoint(node, way.node), secret)
        for way, secret in _numbered(missing)
    ]
    return "".join(
        [
            *lines,
            LOOSE,
            *_set("$second", [f"peer {quote(key)} remove" for key in stale]),
            _secrets(survey.interface, {way.entry: secret for way, secret in _numbered(missing) if way.preshared}),
            *_set("$second", words),
            'rm -rf "$folder/rotation"\n',
        ]
    )


def _right(survey: Survey, node: str, way: Way) -> bool:
    there = survey.next(node)
    peer = there.peers.get(survey.goal(way.node)) if there else None
    return peer is not None and {*map(_plain, peer.allowed_ips)} == {*way.allowed}


def _plain(network: str) -> str:
    return str(ip_network(network))


def anew(survey: Survey, node: str, peers: Sequence[str], *, key: bool, waiting: bool) -> str:
    """The first interface with the keys of the end: its own with `key`, and those of `peers`, whose sessions begin
    anew. `waiting`: none of them is contacted for now."""
    ways = [survey.way(node, across) for across in peers]
    lines = []
    if key:
        file = "next.key" if survey.following(node) else PurePosixPath(survey.inputs["keyPath"]).name
        lines.append(f'wg set "$interface" private-key "$folder"/{quote(file)}\n')
    # From the second interface, where there is one: what was cut off here may have left the first without.
    over = survey.next(node) is not None or waiting
    known = {(survey.goal(way.node) if over else way.entry): secret for way, secret in _numbered(ways) if way.preshared}
    return "".join(
        [
            _secrets(survey.second if over else survey.interface, known),
            # Removed also where the key stays: what it had begun to send or to ask for would cross with the handshake.
            *_set("$interface", [f"peer {quote(way.entry)} remove" for way in ways if way.entry]),
            *lines,
            *_set(
                "$interface",
                [
                    _peer(survey.goal(way.node), way, way.endpoint, secret, keepalive=0 if waiting else way.keepalive)
                    for way, secret in _numbered(ways)
                ],
            ),
            'rm -rf "$folder/rotation"\n',
        ]
    )


def begin(interface: str, keys: Sequence[str]) -> str:
    """Begin handshakes with these peers."""
    words = [f"peer {quote(key)} persistent-keepalive {{}}" for key in keys]
    return "".join(
        [
            f"link={quote(interface)}\n",
            *_set("$link", [word.format("off") for word in words]),
            *_set("$link", [word.format(TRIGGER) for word in words]),
        ]
    )


def handshakes(interface: str, keys: Sequence[str], seconds: float) -> str:
    """Wait until there was a handshake with each of these peers; prints those with whom there was one in time."""
    wait = AWAIT.format(fresh=FRESH, count=len(keys), tries=max(1, round(seconds / 0.06)))
    return f"link={quote(interface)}\npeers={quote(' '.join(keys))}\n{wait}"


def keepalives(survey: Survey, node: str, peers: Sequence[str]) -> str:
    """The keepalives of the first interface as they were."""
    ways = [survey.way(node, across) for across in peers]
    words = [f"peer {quote(survey.goal(way.node))} persistent-keepalive {way.keepalive}" for way in ways]
    return "".join(_set("$interface", words))


def forget(keys: Iterable[str]) -> str:
    """Take peers off the second interface."""
    return "".join(_set("$second", [f"peer {quote(key)} remove" for key in keys]))


def _numbered(ways: Sequence[Way]) -> list[tuple[Way, str]]:
    """Each with the name of the file for its preshared key, empty where it has none."""
    return [(way, f"{number}.psk" if way.preshared else "") for number, way in enumerate(ways)]


def _secrets(interface: str, files: dict[str, str]) -> str:
    """Preshared keys into files, by the key that the peer is known by."""
    if not files:
        return ""
    cases = "\n".join(
        f'    {quote(key)}) printf \'%s\\n\' "$secret" >"$folder"/rotation/{quote(file)} ;;'
        for key, file in files.items()
    )
    return f"from={quote(interface)}\n" + SECRETS.replace("{cases}", cases)


def _peer(key: str, way: Way, endpoint: str, secret: str, keepalive: int = 0) -> str:
    words = [f"peer {quote(key)}"]
    if secret:
        words.append(f'preshared-key "$folder"/rotation/{quote(secret)}')
    if endpoint:
        words.append(f"endpoint {quote(endpoint)}")
    words.append(f"persistent-keepalive {keepalive}")
    words.append(f"allowed-ips {quote(','.join(way.allowed))}")
    return " ".join(words)


def _set(interface: str, words: Iterable[str]) -> list[str]:
    rest, found = iter(words), []
    while batch := list(islice(rest, BATCH)):
        found.append(f'wg set "{interface}" {" ".join(batch)}\n')
    return found
