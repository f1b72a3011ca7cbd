"""What guards a change on the node itself, as POSIX shell: the copies of what was there, the timer, the way back.

Everything is in one folder of root's (0700, files 0600: copies of peers hold preshared keys):

- `deadline`: a change is not confirmed yet. One line: token of the run, seconds, boot id, seconds since boot and Unix
  time at which it is undone. Its removal is the confirmation.
- `touched/PART`: the part as it was when it was last confirmed; brought back whatever it is like now. The oldest copy
  stays until the confirmation, so that several changes are undone to where they began.
- `spare/PART`: a part that was not changed; brought back only where it is gone, as after a restart of the node.
- `begun`: a change was begun and has not come to its end. When nothing holds `change`, it never will: it is undone.
- `undone`: what the last undo did, until the next change. `failing`: parts that it could not bring back so far.
- `watcher`: process id of the timer. `lock`: held for moments by whoever changes any of these.
- `change`: held by a change and every process of it while it goes on, by the descriptor 9, and by whoever undoes or
  confirms, by 7: so a change and its undoing are never at work together. Taken before `lock`, or without waiting.

A part is `interface.NAME`, `peers.NAME`, `file.NAME` (whose path is in `PART.path`) or `firewall`; so they come back.
"""

from __future__ import annotations

FOLDER = "/etc/swarmctl/guard"
TABLE = "inet swarmctl"
"""The table of `mesh.firewall`, which is above this room; a test compares them."""
IDLE = 60
"""Seconds after which a timer that has nothing to watch ends."""

TIME = r"""
now() {
  read -r up _ <"$proc/uptime"
  up=${up%%.*}
  read -r boot <"$proc/sys/kernel/random/boot_id"
  wall=$(date +%s)
}
pending() {
  [ -s "$folder/deadline" ] || return 1
  read -r token seconds boot_ up_ wall_ <"$folder/deadline"
}
# Within one boot the time since then decides, so that no jump of the clock stops or hurries it. After a restart it is
# the clock, which may be wrong then: so never later than the whole span after the start.
remaining() {
  now
  if [ "$boot" = "$boot_" ]; then
    left=$((up_ - up))
  else
    left=$((wall_ - wall))
    [ "$left" -le $((seconds - up)) ] || left=$((seconds - up))
  fi
}
arm() {
  now
  # One second less: times are cut to whole ones, and the timer looks once in a second.
  printf '%s %s %s %s %s\n' "$1" "$2" "$boot" $((up + $2 - 1)) $((wall + $2 - 1)) >"$folder/.deadline.new"
  settle "$folder/.deadline.new" "$folder/deadline"
}
settle() {
  sync "$1"
  mv "$1" "$2"
  sync "$folder"
}
root() {
  mkdir -p "$folder"
  chmod 0700 "$folder"
}
lock() {
  root
  exec 8>>"$folder/lock"
  flock -w "$1" 8 || { echo "another change or undo holds $folder/lock" >&2; return 1; }
  # Not before: who held it may have taken them away.
  mkdir -p "$folder/touched" "$folder/spare"
  chmod 0700 "$folder/touched" "$folder/spare"
}
unlock() { exec 8>&-; }
answers() { timeout -k 1 5 wg show "$1" listen-port >/dev/null 2>&1; }
# No way back from here: whoever finds it so undoes it, and nobody puts it off or confirms it any more.
over() {
  remaining
  [ "$left" -le 0 ]
}
# What cannot stay, for whoever holds `change`: nobody brings it to its end any more.
lost() { over || [ -e "$folder/begun" ]; }
"""

COPY = r"""
copy_firewall() {
  tables=$(nft list tables) || return 1
  printf 'table TABLE\ndelete table TABLE\n'
  case "
$tables
" in *"
table TABLE
"*) TZ=UTC0 nft list table TABLE || return 1 ;; esac
}
copy_interface() {
  link=$(ip -o link show dev "$1" 2>/dev/null) && answers "$1" || { echo gone; return 0; }
  case $link in *' alias swarmctl:'*)
    alias=${link##* alias }
    alias=${alias%% *}
    # A mark that swarmctl would not make names no key of its.
    case ${alias#swarmctl:} in
      '' | *[!a-z0-9-]*) ;;
      *) printf 'alias %s\nkey /etc/swarmctl/mesh/%s/private.key\n' "$alias" "${alias#swarmctl:}" ;;
    esac
  esac
  printf 'port %s\nmark %s\n' "$(wg show "$1" listen-port)" "$(wg show "$1" fwmark)"
  mtu=${link#* mtu }
  printf 'mtu %s\n' "${mtu%% *}"
  ip -o addr show dev "$1" scope global | while read -r _ _ _ address _; do printf 'address %s\n' "$address"; done
  case ${link%%>*} in *'<UP'* | *',UP'*) echo 'state up' ;; *) echo 'state down' ;; esac
  for family in 4 6; do
    # The kernel makes those of the addresses by itself.
    ip -"$family" route show dev "$1" table main 2>/dev/null | while read -r route; do
      case " $route " in *' proto kernel '*) ;; *) printf 'route %s %s\n' "$family" "$route" ;; esac
    done
  done
  for switch in net/ipv4/ip_forward net/ipv6/conf/all/forwarding; do
    [ -r "$proc/sys/$switch" ] && printf 'switch %s %s\n' "$switch" "$(cat "$proc/sys/$switch")"
  done
  return 0
}
# Every field of every peer: `wg addconf` leaves alone what it is not told. A key of zeroes is none.
copy_peers() {
  answers "$1" || { echo '# gone'; return 0; }
  wg show "$1" dump | {
    read -r _ || :
    while IFS='	' read -r key shared endpoint allowed _ _ _ keepalive; do
      [ "$shared" != '(none)' ] || shared=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=
      [ "$allowed" != '(none)' ] || allowed=
      printf '[Peer]\nPublicKey = %s\nPresharedKey = %s\nAllowedIPs = %s\n' "$key" "$shared" "$allowed"
      [ "$endpoint" = '(none)' ] || printf 'Endpoint = %s\n' "$endpoint"
      printf 'PersistentKeepalive = %s\n' "$keepalive"
    done
  }
}
copy() {
  case $1 in
    firewall) copy_firewall ;;
    interface.*) copy_interface "${1#*.}" ;;
    peers.*) copy_peers "${1#*.}" ;;
  esac
}
keep() {
  copy "$2" >"$folder/$1/.new"
  mv "$folder/$1/.new" "$folder/$1/$2"
}
keep_file() {
  [ ! -e "$folder/touched/$1" ] || return 0
  if [ -e "$2" ]; then cp "$2" "$folder/touched/.new"; else : >"$folder/touched/.new"; fi
  printf '%s\n' "$2" >"$folder/touched/.path"
  mv "$folder/touched/.path" "$folder/touched/$1.path"
  mv "$folder/touched/.new" "$folder/touched/$1"
}
keep_all() {
  [ -e "$folder/touched/$1" ] || keep touched "$1"
  for name in $(wg show interfaces 2>/dev/null); do
    # Those of a rotation are there only while it goes on.
    case $name in *-n) continue ;; esac
    for part in "interface.$name" "peers.$name"; do
      [ -e "$folder/touched/$part" ] || keep spare "$part"
    done
  done
  [ -e "$folder/touched/firewall" ] || keep spare firewall
  # All at once: each call waits for the disk.
  sync "$folder"/*/* "$folder/touched" "$folder/spare"
}
""".replace("TABLE", TABLE)

BRING_BACK = r"""
# In `if` and `||` a failure ends nothing by itself: each step that matters says so.
back_firewall() { TZ=UTC0 nft -f "$1"; }
link_there() {
  ip link show dev "$1" >/dev/null 2>&1 || ip link add dev "$1" type wireguard 2>/dev/null || :
  tries=0
  until answers "$1"; do
    tries=$((tries + 1))
    [ "$tries" -lt 20 ] || return 1
    sleep 0.2
  done
}
addresses() { ip -o addr show dev "$1" scope global | while read -r _ _ _ address _; do printf '%s ' "$address"; done; }
back_interface() {
  read -r first <"$2"
  [ "$first" != gone ] || return 0
  link_there "$1" || return 1
  bad=0 state='' wanted=' '
  while read -r what value; do [ "$what" != address ] || wanted="$wanted$value "; done <"$2"
  # With a primary address the kernel drops the others of its network: removed first, then looked at again.
  for address in $(addresses "$1"); do
    case $wanted in *" $address "*) ;; *) ip addr del "$address" dev "$1" || bad=1 ;; esac
  done
  present=" $(addresses "$1")"
  while read -r what value more; do
    case $what in
      key) [ "$(wg show "$1" public-key)" != '(none)' ] || wg set "$1" private-key "$value" || bad=1 ;;
      alias) ip link set dev "$1" alias "$value" || bad=1 ;;
      port) [ "$(wg show "$1" listen-port)" = "$value" ] || wg set "$1" listen-port "$value" || bad=1 ;;
      mark) [ "$(wg show "$1" fwmark)" = "$value" ] || wg set "$1" fwmark "$value" || bad=1 ;;
      mtu) ip link set dev "$1" mtu "$value" || bad=1 ;;
      state) ip link set dev "$1" "$value" || bad=1 ;;
      route) [ "$state" != up ] || eval_route "$1" "$value" "$more" || bad=1 ;;
      switch) [ "$(cat "$proc/sys/$value")" = "$more" ] || echo "$more" >"$proc/sys/$value" || bad=1 ;;
      address)
        case $present in *" $value "*) continue ;; esac
        nodad=
        case $value in *:*)
          nodad=nodad
          echo 0 >"$proc/sys/net/ipv6/conf/$1/disable_ipv6" || :
        esac
        ip addr add "$value" dev "$1" $nodad || bad=1
        ;;
    esac
    [ "$what" != state ] || state=$value
  done <"$2"
  return "$bad"
}
eval_route() {
  set -f
  # Words of `ip route`'s own.
  ip -"$2" route replace $3 dev "$1"
  status=$?
  set +f
  return "$status"
}
back_peers() {
  read -r first <"$2" || first=
  [ "$first" != '# gone' ] || return 0
  answers "$1" || return 1
  wanted=' '
  while read -r what _ value; do [ "$what" != PublicKey ] || wanted="$wanted$value "; done <"$2"
  # Removed first, so that an address can move from one peer to another.
  for key in $(wg show "$1" peers); do
    case $wanted in *" $key "*) ;; *) wg set "$1" peer "$key" remove || return 1 ;; esac
  done
  [ ! -s "$2" ] || wg addconf "$1" "$2"
}
back_file() {
  read -r path <"$1.path" || return 1
  if [ -s "$1" ]; then
    mkdir -p "${path%/*}" && cp "$1" "$path.swarmctl-new" && mv "$path.swarmctl-new" "$path"
  else
    rm -f "$path"
  fi
}
back() {
  case $1 in
    firewall) back_firewall "$2" ;;
    interface.*) back_interface "${1#*.}" "$2" ;;
    peers.*) back_peers "${1#*.}" "$2" ;;
    file.*) back_file "$2" ;;
  esac
}
gone() {
  case $1 in
    firewall) grep -q '{' "$2" && ! nft list table TABLE >/dev/null 2>&1 ;;
    interface.*) ! answers "${1#*.}" || [ "$(wg show "${1#*.}" public-key)" = '(none)' ] ;;
    peers.*) [ -s "$2" ] && [ -z "$(wg show "${1#*.}" peers 2>/dev/null)" ] ;;
  esac
}
undo() {
  pending || return 0
  done_='' failed=''
  for path in "$folder"/*/interface.* "$folder"/*/peers.* "$folder"/*/file.* "$folder"/*/firewall; do
    [ -e "$path" ] || continue
    part=${path##*/}
    case $path in
      *.path) continue ;;
      "$folder"/spare/*) { [ ! -e "$folder/touched/$part" ] && gone "$part" "$path"; } || continue ;;
    esac
    if back "$part" "$path"; then done_="$done_ $part"; else failed="$failed $part"; fi
  done
  now
  if [ -n "$failed" ]; then
    printf '%s %s%s\n' "$wall" "$token" "$failed" >"$folder/.undone.new"
    mv "$folder/.undone.new" "$folder/failing"
    return 1
  fi
  printf '%s %s%s\n' "$wall" "$token" "$done_" >"$folder/.undone.new"
  settle "$folder/.undone.new" "$folder/undone"
  forget
}
# Ends the change that goes on, if one does: every process that has its lock, which no other process can have.
stop() {
  exec 7>>"$folder/change"
  tries=0
  until flock -n 7; do
    for process in /proc/[0-9]*; do
      [ "$process/fd/9" -ef "$folder/change" ] && kill -9 "${process#/proc/}" 2>/dev/null || :
    done
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { echo "what holds $folder/change does not end" >&2; return 1; }
    sleep 0.1
  done
}
# Whether the change was cut off in the middle: then what is there is neither the old nor the new. Holds 7 if so.
cut_off() {
  [ -e "$folder/begun" ] || return 1
  exec 7>>"$folder/change"
  flock -n 7
}
forget() {
  rm -f "$folder/deadline" "$folder/failing" "$folder/begun"
  sync "$folder"
  rm -rf "$folder/touched" "$folder/spare"
}
""".replace("TABLE", TABLE)

WATCH = r"""
set -u
umask 077
lock 20
unlock
echo $$ >"$folder/.watcher.new"
mv "$folder/.watcher.new" "$folder/watcher"
idle=0
while :; do
  if pending; then
    idle=0
    remaining
    if [ "$left" -le 0 ]; then
      # Looked at again under the lock: it may have been put off in between. Then the change is ended, and only what
      # is at rest is undone; what cannot be ended is tried again.
      (
        lock 10 && pending && over || exit 0
        unlock
        stop && lock 10 && pending && over && undo
      )
      [ ! -e "$folder/failing" ] || sleep 4
    fi
  else
    idle=$((idle + 1))
    if [ "$idle" -ge "$limit" ]; then
      # A change that comes now sees under the lock that nobody watches, and begins anew.
      lock 20 && ! pending && rm -f "$folder/watcher" && exit 0
      unlock
      idle=0
    fi
  fi
  sleep "$tick"
done
"""
