"""What a restart brings back on a node whose keys are being turned: both interfaces as they are at that moment. Pure.

Elsewhere a restart brings what is declared (`hosts.startup`). Here that would be wrong: the first interface may have
keys that no declaration knows yet, and tunnels may go over a second one that none knows at all. So each phase that
changes a node writes down what it has then, at once, as a folder that takes the place of the one before. It goes with
the second interface; its list of peers goes before that, when `hosts.startup.put` writes another declared one.

Preshared keys that are in use are copied into the folder of the mesh's own key; of keys there are only paths here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from shlex import quote

from swarmctl.hosts import startup
from swarmctl.kinds.mesh.rotation import routes
from swarmctl.kinds.mesh.rotation.survey import Survey

TRIGGER = 5
"""Seconds between keepalives of peers that are restored: the first one begins a handshake. The other end would take its
sessions for good until it has sent something for 15 s in vain (WireGuard whitepaper, 6.1). What is declared is put back
by the apply that finishes the rotation."""

_KEEP = r"""
keep_link() {
  used=$key
  if [ -s "$folder/next.key" ] && [ "$(wg pubkey <"$folder/next.key")" = "$(wg show "$1" public-key)" ]; then
    used=$folder/next.key
  fi
  printf 'key %s\n' "$used"
  if [ "$1" = "$second" ]; then
    shown=$(ip -o link show dev "$1")
    mtu=${shown#* mtu }
    printf 'alias %s\nport %s\nmtu %s\nstate up\n' "$alias" "$(wg show "$1" listen-port)" "${mtu%% *}"
  fi
  for switch in net/ipv4/conf/"$1"/rp_filter net/ipv6/conf/"$1"/disable_ipv6; do
    if [ -r "/proc/sys/$switch" ]; then printf 'switch %s %s\n' "$switch" "$(cat "/proc/sys/$switch")"; fi
  done
  for family in 4 6; do
    { ip -"$family" route show dev "$1" table main proto PROTOCOL 2>/dev/null || :; } | while read -r route; do
      printf 'route %s %s proto PROTOCOL\n' "$family" "$route"
    done
  done
}
keep_peers() {
  wg show "$1" dump | {
    read -r _ || :
    while IFS='	' read -r peer shared endpoint allowed _; do
      secret=-
      if [ "$shared" != '(none)' ]; then
        secret=$folder/turn/$1.$(printf '%s' "$peer" | tr / _)
        printf '%s\n' "$shared" >"$secret.new"
        sync "$secret.new"
        mv "$secret.new" "$secret"
      fi
      [ "$endpoint" != '(none)' ] || endpoint=-
      [ "$allowed" != '(none)' ] || allowed=-
      printf '%s %s TRIGGER %s %s\n' "$peer" "$secret" "$endpoint" "$allowed"
    done
  }
}
if [ -e "$startup/start.sh" ]; then
  umask 077
  turn=$startup/$interface.turn
  new=$turn.$$
  rm -rf "$new"
  mkdir -p "$new" "$folder/turn"
  for link in "$interface" "$second"; do
    if wg show "$link" listen-port >/dev/null 2>&1; then
      keep_link "$link" >"$new/$link.interface"
      keep_peers "$link" >"$new/$link.peers"
    fi
  done
  cat >"$new/$second.ways" <<'END'
WAYS
END
  sync "$new"/* "$new" "$folder/turn"
  ln -sfnT "${new##*/}" "$new.link"
  mv -fT "$new.link" "$turn"
  sync "$startup"
  for old in "$turn".*; do [ "$old" = "$new" ] || rm -rf "$old"; done
fi
"""

DROP = r"""
rm -rf "$startup/$interface.turn" "$startup/$interface.turn".*
sync "$startup" 2>/dev/null || :
if [ -d "$folder/turn" ]; then
  find "$folder/turn" -type f -exec shred -u {} +
  rm -rf "$folder/turn"
fi
"""
"""Nothing is in flight any more: a restart brings what is declared."""


def head() -> str:
    """What `keep` and `DROP` need beside the names that every script begins with."""
    return f"startup={quote(startup.FOLDER)}\n"


def rename(keys: Mapping[str, str]) -> str:
    """The script that puts other public keys of peers into the declared list; all else of them stays.

    The list is written anew by whoever sets the peers, which comes after the rotation. In between it is as good.
    """
    if not keys:
        return ""
    lines = "".join(f"s|^{old} |{new} |\n" for old, new in sorted(keys.items()))
    return f"""
if [ -e "$startup/$interface.peers" ]; then
  (umask 077; sed -f /dev/stdin "$startup/$interface.peers" >"$startup/.peers.new") <<'END'
{lines}END
  sync "$startup/.peers.new"
  mv "$startup/.peers.new" "$startup/$interface.peers"
fi
"""


def ways(survey: Survey, node: str, peers: Iterable[str]) -> str:
    """Routes that lead to these peers over the second interface, a line each, for a node that does not have them yet.

    Others may go on without it when it goes down, and then understand it on the second interface alone: it finds that
    out by who answers where. Lines: first interface, key of the peer there (`-` without), its key on the second one,
    family, interface and route.
    """
    lines = []
    for across in peers:
        keys = f"{survey.interface} {survey.way(node, across).entry or '-'} {survey.goal(across)}"
        for network, via in routes.wanted(survey, node, [across]).items():
            source = survey.source(node, network)
            source = f" src {source}" if source else ""
            lines.append(f"{keys} {6 if ':' in network else 4} {via} {network}{source} proto {routes.PROTOCOL}")
    return "\n".join(lines)


def keep(survey: Survey, alias: str, ways: str = "") -> str:
    """The script that writes down what the node has now; `alias` marks its second interface, `ways` are as above.

    Nothing is done where nothing would be started from it.
    """
    text = _KEEP.replace("PROTOCOL", str(routes.PROTOCOL)).replace("TRIGGER", str(TRIGGER)).replace("WAYS", ways)
    return f"alias={quote(alias)}\n{text}"
