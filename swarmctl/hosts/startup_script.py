"""What a machine runs when it starts, as POSIX shell: `start.sh firewall` before its network, `start.sh mesh` later.

It needs no swarmctl and no other machine. What was changed and not confirmed before the restart is undone first: see
`guard_script`, whose ways back are used here, too.
"""

from __future__ import annotations

from swarmctl.hosts.guard_script import BRING_BACK, FOLDER, TABLE, TIME

_HEAD = r"""# Puts back, when this machine starts, what swarmctl has set up here: firewall | mesh
set -u
umask 077
export LC_ALL=C PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
startup=/etc/swarmctl/startup folder=GUARD proc=/proc
say() { printf '%s\n' "$*" >&2; }
""".replace("GUARD", FOLDER)

_FIREWALL = r"""
# A restart ends the time that a change had to be confirmed in. No run can reach this machine yet.
over_now() {
  lock 20
  now
  printf '%s %s - 0 0\n' "$token" "$seconds" >"$folder/.deadline.new"
  settle "$folder/.deadline.new" "$folder/deadline"
  unlock
}
start_firewall() {
  file=$startup/firewall.nft
  if pending; then
    over_now
    [ ! -e "$folder/touched/file.startup-firewall" ] || file=$folder/touched/file.startup-firewall
  fi
  [ ! -s "$file" ] || TZ=UTC0 nft -f "$file"
}
"""

_MESH = r"""
undo_first() {
  pending || return 0
  ( stop && lock 20 && undo ) || say "a change that was not confirmed could not be undone as a whole so far"
}
# Where a process stands in for the kernel's WireGuard it is a service of its own, which starts at the same time.
await_link() {
  [ -e "/etc/systemd/system/swarmctl-wireguard-$1.service" ] || return 0
  waited=0
  until answers "$1"; do
    waited=$((waited + 1))
    [ "$waited" -lt 120 ] || return 1
    sleep 0.5
  done
}
# Where the machine went down while its mesh turned keys, a phase of that has written down what it had then: a folder
# `NAME.turn`, with the interfaces that were there and their peers, in files of the same kinds as the declared ones.
turned() {
  for found in "$startup"/*.turn/"$1"; do
    [ ! -e "$found" ] || { printf '%s\n' "$found"; return 0; }
  done
}
# What is declared of an interface, with the key that was in use, and the routes and switches that were there for it.
whole_interface() {
  turn=$(turned "$1.interface") declared=$startup/$1.interface
  [ -n "$turn" ] || { cat "$declared"; return; }
  sed -n '/^key /p' "$turn" | while read -r _ key; do
    # The last step of all moves the next key over the one before.
    [ -s "$key" ] || key=${key%/*}/private.key
    printf 'key %s\n' "$key"
  done
  for file in "$declared" "$turn"; do [ ! -e "$file" ] || sed '/^key /d' "$file"; done
}
# Lines: public key, file with the preshared key, keepalive, endpoint (after a tilde: one with a name), networks.
start_peers() {
  list=$(turned "$1.peers") work=/run/swarmctl/startup-$1
  [ -n "$list" ] || list=$startup/$1.peers
  [ -e "$list" ] || return 0
  mkdir -p "${work%/*}"
  wanted=' ' whole=0
  : >"$work.secrets"
  : >"$work.names"
  while read -r key secret keepalive endpoint networks; do
    wanted="$wanted$key "
    if [ "$secret" != - ]; then
      # Never without it: the other end would not answer, and what it protects from would be let in.
      [ -s "$secret" ] || { say "$1: $secret is not there, so its peer is left out"; whole=1; continue; }
      printf 'peer\n%s\npreshared-key\n%s\n' "$key" "$secret" >>"$work.secrets"
    fi
    [ "$networks" != - ] || networks=
    printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s\nPersistentKeepalive = %s\n' "$key" "$networks" "$keepalive"
    case $endpoint in
      -) ;;
      '~'*) printf '%s %s\n' "$key" "${endpoint#?}" >>"$work.names" ;;
      *) printf 'Endpoint = %s\n' "$endpoint" ;;
    esac
  done <"$list" >"$work.conf"
  for key in $(wg show "$1" peers); do
    case $wanted in *" $key "*) ;; *) wg set "$1" peer "$key" remove || whole=1 ;; esac
  done
  # Before all else of a peer, which begins a handshake as soon as it has an endpoint.
  [ ! -s "$work.secrets" ] || xargs -n 400 wg set "$1" <"$work.secrets" || whole=1
  [ ! -s "$work.conf" ] || wg addconf "$1" "$work.conf" || whole=1
  [ ! -s "$work.names" ] || look_up "$1" "$work.names" </dev/null &
  rm -f "$work.secrets" "$work.conf"
  return "$whole"
}
# Names are known when the network is: they are asked for until all are, and only for peers that have no endpoint.
look_up() {
  tries=0
  while [ "$tries" -lt 1000 ]; do
    tries=$((tries + 1)) open=0
    while read -r key endpoint; do
      wg show "$1" endpoints 2>/dev/null | grep -qxF "$key	(none)" || continue
      WG_ENDPOINT_RESOLUTION_RETRIES=1 timeout 10 wg set "$1" peer "$key" endpoint "$endpoint" 2>/dev/null || open=1
    done <"$2"
    [ "$open" = 1 ] || break
    sleep $((tries < 12 ? 5 : 60))
  done
  rm -f "$2"
}
# The others may have gone on with their turn without this machine, and know it by the second interface alone. Lines:
# first interface, key of a peer there, its key on the second one, family, interface and route.
find_ways() {
  tries=0
  while [ "$tries" -lt 360 ] && ip link show dev "$1" >/dev/null 2>&1; do
    tries=$((tries + 1))
    sleep 5
    while read -r first key next family link route; do
      met "$first" "$key" || ! met "$1" "$next" || eval_route "$link" "$family" "$route"
    done <"$2"
  done
}
# Whether there was a handshake within the time for which WireGuard takes packets: 180 s (whitepaper, 6.1).
met() {
  wg show "$1" latest-handshakes 2>/dev/null | {
    while read -r peer at; do
      [ "$peer" != "$2" ] || [ "$(($(date +%s) - at))" -ge 180 ] || exit 0
    done
    exit 1
  }
}
start_mesh() {
  undo_first
  if [ -s "$startup/firewall.nft" ] && ! nft list table TABLE >/dev/null 2>&1; then
    say "the firewall is not there, so the mesh stays away"
    return 1
  fi
  all=0 started=' '
  mkdir -p /run/swarmctl
  for file in "$startup"/*.interface "$startup"/*.turn/*.interface; do
    [ -e "$file" ] || continue
    name=${file##*/}
    name=${name%.interface}
    case $started in *" $name "*) continue ;; esac
    started="$started$name "
    whole_interface "$name" >"/run/swarmctl/startup-$name.interface"
    if ! { await_link "$name" && back_interface "$name" "/run/swarmctl/startup-$name.interface"; }; then
      say "$name could not be set up as it was"
      all=1
    fi
    rm -f "/run/swarmctl/startup-$name.interface"
    start_peers "$name" || all=1
    ways=$(turned "$name.ways")
    # Redirected for good: a shell keeps copies of what it redirects for one command.
    if [ -s "$ways" ]; then (exec </dev/null >/dev/null 2>&1; find_ways "$name" "$ways") & fi
  done
  return "$all"
}
""".replace("TABLE", TABLE)

_MAIN = r"""
case ${1-} in
  firewall) start_firewall ;;
  mesh) start_mesh ;;
  *) say "usage: start.sh firewall | mesh"; exit 2 ;;
esac
"""

PROGRAM = f"{_HEAD}{TIME}{BRING_BACK}{_FIREWALL}{_MESH}{_MAIN}"
