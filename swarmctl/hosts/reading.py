"""One script that reads everything that is needed from a host, and the parser of what it prints. Pure: no I/O here.

The script only reads, and prints no secret key: WireGuard is asked field by field (its dump and showconf print the
key), of preshared keys it says only whose there are, of key files only the public half is worked out. What comes back
is untrusted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from swarmctl.errors import WorldUnreadable
from swarmctl.hosts import guard, readings, startup
from swarmctl.hosts.facts import Exposed, Facts, Failover, Interface, KeyTrail, Peer, Route, WireGuard

LIMIT = 16 * 1024 * 1024
"""Bytes of a reading; a thousand peers and a full ruleset need less than one MiB."""

SCRIPT = r"""
part() { printf '\n@@ %s\n' "$1"; }
part hostname; cat /proc/sys/kernel/hostname
part now; date +%s
part interfaces; ip -d -j addr; printf '\n@ %s\n' "$?"
# Asked one interface after the other: of `all`, wg 1.0.20210914 names the interface in the first endpoint only.
links=
part hung
for link in $(timeout 5 wg show interfaces 2>/dev/null); do
  # A process that is stopped answers nothing for ever: one that answers this once is asked the rest without a limit.
  status=0; timeout -k 1 5 wg show "$link" listen-port >/dev/null 2>&1 || status=$?
  if [ "$status" -eq 124 ] || [ "$status" -eq 137 ]; then printf '%s\n' "$link"; else links="$links $link"; fi
done
for field in public-key listen-port fwmark peers endpoints allowed-ips persistent-keepalive latest-handshakes \
  transfer; do
  part "wg $field"
  for link in $links; do printf '@ %s\n' "$link"; wg show "$link" "$field" 2>/dev/null; done
done
part "wg preshared"
for link in $links; do
  printf '@ %s\n' "$link"
  own=$(wg show "$link" public-key 2>/dev/null | tr / _)
  wg show "$link" preshared-keys 2>/dev/null | while read -r peer secret; do
    [ "$secret" != "(none)" ] || continue
    name=$peer where=
    while :; do case $name in */*) name=${name%%/*}_${name#*/} ;; *) break ;; esac; done
    for file in /etc/swarmctl/mesh/*/psk/"$own/$name"; do
      filed=
      [ -f "$file" ] && read -r filed <"$file"
      [ "$filed" != "$secret" ] || where=filed
    done
    printf '%s\t%s\n' "$peer" "$where"
  done
done
part psk; sha256sum /etc/swarmctl/mesh/*/psk/*/* 2>/dev/null
# Only what is wrong, by one process; the folder of all is there to see that this find can print.
part exposed
find /etc/swarmctl/mesh /etc/swarmctl/guard \( -path /etc/swarmctl/mesh -o -type l -o -perm /077 -o ! -user 0 \) \
  -printf '%m\t%U\t%y\t%p\n' 2>/dev/null
for family in 4 6; do part "routes $family"; ip -"$family" -j route show table all; printf '\n@ %s\n' "$?"; done
part nftables; TZ=UTC0 nft -j list ruleset; printf '\n@ %s\n' "$?"
part sysctl
for key in net/ipv4/ip_forward net/ipv6/conf/all/forwarding; do
  [ -r "/proc/sys/$key" ] && printf '%s\t%s\n' "$key" "$(cat "/proc/sys/$key")"
done
part keys
for file in /etc/swarmctl/mesh/*/private.key; do
  [ -f "$file" ] && printf '%s\t%s\t%s\n' "$file" "$(stat -c %a "$file")" "$(wg pubkey <"$file" 2>/dev/null)"
done
part rotation
for file in /etc/swarmctl/mesh/*/private.key; do
  [ -f "$file" ] || continue
  folder=${file%/*}
  printf '%s\t%s' "$file" "$(stat -c %Y "$file")"
  printf '\t%s' "$(head -c 20 "$folder/generation" 2>/dev/null | tr -cd 0-9)"
  printf '\t%s' "$(wg pubkey <"$folder/next.key" 2>/dev/null)"
  printf '\t%s' "$(head -c 44 "$folder/previous.pub" 2>/dev/null | tr -cd 'A-Za-z0-9+/=')"
  printf '\t%s\n' "$([ -e "$folder/adopted" ] && echo adopted)"
done 2>/dev/null
part guard
@guard@
part startup
@startup@
part failover
for folder in /etc/swarmctl/failover/*/; do
  [ -d "$folder" ] || continue
  link=${folder%/}
  state=/run/swarmctl/failover/${link##*/}
  printf '@ %s\n' "${link##*/}"
  [ -f "$folder/table" ] && printf 'table %s\n' "$(sha256sum <"$folder/table")"
  head -c 65536 "$state" 2>/dev/null | while read -r word first second; do
    case $word in
      # Told by the agent itself; it may be gone since, and its number another's.
      agent) tr '\0' '\n' <"/proc/$second/cmdline" | grep -qxF "$first" && printf 'agent %s\n' "$first" ;;
      active) printf 'active %s\n' "$second" ;;
    esac
  done 2>/dev/null
done
part end
""".replace("@guard@", guard.READ.strip()).replace("@startup@", startup.READ.strip())

ARGV = ("sh", "-c", SCRIPT)
"""The command to run on the host; run it without checking its status, `parse` judges what it printed."""

_LINK = re.compile(r"[a-z][a-z0-9-]{0,14}")
_PRESHARED_FILE = re.compile(
    r"(?P<digest>[0-9a-f]{64})  "
    r"(?P<path>/etc/swarmctl/mesh/[a-z0-9][a-z0-9-]{0,62}/psk(?:/[A-Za-z0-9+_]{1,64}={0,2}){2}(?:\.next)?)"
)
_EXPOSED = re.compile(
    r"(?P<mode>[0-7]{1,4})\t(?P<owner>[0-9]{1,10})\t(?P<kind>[a-zA-Z])\t(?P<path>/etc/swarmctl/[^\t]{1,400})"
)
_KEYS = "/etc/swarmctl/mesh"
_NO_KEY = ("generation", "previous.pub", "rp_filter", "adopted")
"""Files beside keys that are none."""
MOST_EXPOSED = 1000
NOT_FOUND = 127
"""The shell's status for a program that isn't there."""


def parse(output: bytes, host: str) -> Facts:
    """What the script printed on the machine called `host`. Raises WorldUnreadable when that makes no sense."""
    if len(output) > LIMIT:
        raise _unreadable(host, f"it printed more than {LIMIT // 1024 // 1024} MiB")
    parts = readings.parts(output.decode("utf-8", "replace"))
    if "end" not in parts:
        raise _unreadable(host, "its answer broke off")
    try:
        return _facts(parts)
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise _unreadable(host, f"{type(error).__name__}: {str(error)[:200]}") from error


def _unreadable(host: str, why: str) -> WorldUnreadable:
    return WorldUnreadable(
        f"the state of {host} cannot be read: {why}",
        f"look at what `swarmctl exec {host} -- ip -j addr` and `swarmctl exec {host} -- nft -j list ruleset` print",
    )


def _facts(parts: Mapping[str, str]) -> Facts:
    keys = [line.split("\t") for line in parts["keys"].splitlines() if line]
    trails = [line.split("\t") for line in parts.get("rotation", "").splitlines() if line]
    return Facts(
        hostname=parts["hostname"].strip(),
        now=int(parts["now"]),
        interfaces=_interfaces(_json(parts["interfaces"], "ip")),
        wireguard=_wireguard(parts),
        nftables=_nftables(parts["nftables"]),
        sysctl={
            name.replace("/", "."): value.strip()
            for name, value in (line.split("\t") for line in parts["sysctl"].splitlines() if line)
        },
        key_files={path: mode.zfill(4) for path, mode, _ in keys},
        public_keys={path: public for path, _, public in keys if public},
        key_trails={path: _trail(*rest) for path, *rest in trails},
        preshared_files=_preshared_files(parts.get("psk", "")),
        exposed=_exposed(parts.get("exposed", "")),
        routes=tuple(route for family in (4, 6) for route in _routes(_json(parts[f"routes {family}"], "ip"), family)),
        failover=_failover(parts.get("failover", "")),
        hung=frozenset(parts["hung"].split()),
        guard=guard.pending(parts.get("guard", ""), int(parts["now"])),
        startup=startup.parse(parts.get("startup", "")),
    )


def _preshared_files(part: str) -> dict[str, str]:
    return {found["path"]: found["digest"] for found in map(_PRESHARED_FILE.fullmatch, part.splitlines()) if found}


def _exposed(part: str) -> tuple[Exposed, ...] | None:
    found = [match for match in map(_EXPOSED.fullmatch, part.splitlines()[: MOST_EXPOSED + 1]) if match]
    if not any(match["path"] == _KEYS for match in found):
        return None
    return tuple(
        Exposed(match["path"], match["mode"].zfill(4), int(match["owner"]), match["kind"])
        for match in found
        if match["path"] != _KEYS and match["path"].rpartition("/")[2] not in _NO_KEY
    )


def _trail(made: str, generation: str, next_key: str, previous_key: str, adopted: str = "") -> KeyTrail:
    return KeyTrail(int(made), int(generation or 0), next_key, previous_key, adopted=adopted == "adopted")


def _failover(part: str) -> dict[str, Failover]:
    found: dict[str, Failover] = {}
    for chunk in f"\n{part}".split("\n@ ")[1:]:
        link, _, body = chunk.partition("\n")
        if not _LINK.fullmatch(link):
            continue  # not one of swarmctl's
        lines = [line.split() for line in body.splitlines() if line]
        said = {word: value for word, value, *_ in lines}
        active = tuple(value for word, value, *_ in lines if word == "active")
        found[link] = Failover(said.get("table", ""), said.get("agent", ""), active)
    return found


def _json(part: str, program: str) -> Any:
    body, _, status = part.rstrip().rpartition("\n@ ")
    if int(status) == NOT_FOUND:
        raise ValueError(f"{program} is not installed there")
    if int(status):
        raise ValueError(f"{program} failed there with status {int(status)}")
    return json.loads(body)


def _interfaces(links: Any) -> dict[str, Interface]:
    return {
        link["ifname"]: Interface(
            name=link["ifname"],
            up="UP" in link["flags"],
            mtu=int(link["mtu"]),
            addresses=tuple(
                f"{address['local']}/{int(address['prefixlen'])}"
                for address in link.get("addr_info", ())
                if address.get("scope") != "link"
            ),
            alias=str(link.get("ifalias", "")),
        )
        # `ip -j addr` prints an empty object for every link that its filter leaves out.
        for link in links
        if link
    }


def _routes(routes: Any, family: int) -> Iterator[Route]:
    everything, whole = ("0.0.0.0/0", 32) if family == 4 else ("::/0", 128)
    for route in routes:
        if not route or route.get("table") == "local":
            continue
        target = str(route["dst"])
        network = everything if target == "default" else target if "/" in target else f"{target}/{whole}"
        ways = route.get("nexthops") or [route]
        yield Route(
            kind=str(route.get("type", "unicast")),
            network=network,
            interface=str(route.get("dev", "")) if len(ways) == 1 else "",
            table=str(route.get("table", "main")),
            metric=int(route["metric"]) if "metric" in route else None,
            gateway=any(key in way for way in ways for key in ("gateway", "via")),
        )


def _nftables(part: str) -> Any:
    ruleset = _json(part, "nft")
    if not all(isinstance(item, dict) for item in ruleset["nftables"]):
        raise ValueError("nft printed something that is no ruleset")
    return ruleset


def _wireguard(parts: Mapping[str, str]) -> dict[str, WireGuard]:
    def field(name: str) -> list[list[str]]:
        rows, link = [], ""
        for line in parts[f"wg {name}"].splitlines():
            if line.startswith("@ "):
                link = line[2:]
            elif line:
                rows.append([link, *line.split("\t")])
        return rows

    def per_peer(name: str, value: Callable[[list[str]], Any]) -> dict[tuple[str, str], Any]:
        return {(row[0], row[1]): value(row) for row in field(name)}

    endpoints = per_peer("endpoints", lambda row: "" if row[2] == "(none)" else row[2])
    allowed = per_peer("allowed-ips", lambda row: () if row[2] == "(none)" else tuple(row[2].split()))
    keepalive = per_peer("persistent-keepalive", lambda row: 0 if row[2] == "off" else int(row[2]))
    handshakes = per_peer("latest-handshakes", lambda row: int(row[2]))
    transfer = per_peer("transfer", lambda row: (int(row[2]), int(row[3])))
    ports = {row[0]: int(row[1]) for row in field("listen-port")}
    preshared = {(row[0], row[1]): "filed" in row[2:] for row in field("preshared")}
    marks = {row[0]: row[1] for row in field("fwmark")}
    peers: dict[str, dict[str, Peer]] = {}
    for interface, key in ((row[0], row[1]) for row in field("peers")):
        at = (interface, key)
        if at not in transfer:
            continue  # removed between two of the questions
        received, sent = transfer[at]
        peers.setdefault(interface, {})[key] = Peer(
            public_key=key,
            endpoint=endpoints[at],
            allowed_ips=allowed[at],
            keepalive=keepalive[at],
            latest_handshake=handshakes[at],
            received=received,
            sent=sent,
            preshared=at in preshared,
            preshared_filed=preshared.get(at, False),
        )
    return {
        row[0]: WireGuard(
            interface=row[0],
            public_key="" if row[1] == "(none)" else row[1],
            listen_port=ports[row[0]],
            peers=peers.get(row[0], {}),
            fwmark=marks.get(row[0], "off"),
        )
        for row in field("public-key")
        if row[0] in ports
    }
