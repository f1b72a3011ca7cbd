# shellcheck shell=sh
# Moves networks of a WireGuard interface to another peer when the one that has them dies: TABLE STATE DIGEST
#
# The table names the interface, the candidates (number, name, public key, address to ping, keepalive, networks that
# always stay with it, its own address where those lack it) and the groups (number, networks, candidates in order):
#   interface wg0
#   candidate 1 hub-0 KEY 10.88.0.1 0 10.88.0.1/32 -
#   group 1 10.88.0.0/16 1 2
#   end
# DIGEST tells this program's version to whoever lists processes. Everything else is asked of WireGuard itself.
# shellcheck disable=SC2154,SC2034 # candidates and groups are numbered variables, which eval sets and reads
set -u
umask 077
table=$1 state=$2 digest=$3
DEAD=3  # misses, one a second
FIRST=8 # of one that has not answered yet: where both ends begin at once, handshakes may come 5 s later
BACK=10 # answers, one a second
loaded='' interface='' candidates='' groups='' told=''
seen=- lists='' # what WireGuard said when it was last looked at closely, and now

say() { printf '%s %s\n' "$(date -u +%Y-%m-%dT%H:%M:%SZ)" "$*"; }

# Takes a table in; one without its last line is not whole and stands for none.
load() {
  interface='' candidates='' groups='' seen=-
  case $1 in *"
end") ;; *) return ;; esac
  while read -r word number rest; do
    case $word in
      interface) interface=$number ;;
      candidate | group)
        case $number in '' | *[!0-9]*) continue ;; esac
        # shellcheck disable=SC2086 # words without blanks or patterns
        set -- $rest
        if [ "$word" = candidate ]; then
          candidates="$candidates $number"
          eval "name_$number=\$1 key_$number=\$2 address_$number=\$3 keepalive_$number=\$4 base_$number=\$5"
          eval "own_$number=\$6 misses_$number=0 lives_$number=0 down_$number=0 known_$number=0 heard_$number=0"
        else
          groups="$groups $number"
          eval "networks_$number=\$1 active_$number= settled_$number="
          shift
          eval "via_$number=\$*"
        fi
        ;;
    esac
  done <<EOF
$1
EOF
  say "watching $interface"
}

# Asks every candidate at the same time, and counts: three misses make one dead, eight one that has not answered since
# the table was taken in, and ten answers alive again.
ask() {
  for c in $candidates; do
    eval "address=\$address_$c"
    ping -n -q -c 1 -W 1 "$address" >/dev/null 2>&1 &
    eval "pid_$c=\$!"
  done
  for c in $candidates; do
    eval "pid=\$pid_$c misses=\$misses_$c lives=\$lives_$c down=\$down_$c heard=\$heard_$c"
    if wait "$pid"; then
      misses=0 heard=1
      [ "$lives" -ge "$BACK" ] || lives=$((lives + 1))
      [ "$lives" -lt "$BACK" ] || down=0
    else
      lives=0
      if [ "$heard" = 1 ]; then limit=$DEAD; else limit=$FIRST; fi
      [ "$misses" -ge "$limit" ] || misses=$((misses + 1))
      [ "$misses" -lt "$limit" ] || down=1
    fi
    eval "misses_$c=$misses lives_$c=$lives down_$c=$down heard_$c=$heard"
  done
}

# What the interface has now, as `list_N` and `known_N` of every candidate, when it changed: then no group is settled any
# more. Fails when WireGuard does not answer.
look() {
  lists=$(timeout 5 wg show "$interface" allowed-ips 2>/dev/null) || return 1
  [ "$lists" != "$seen" ] || return 0
  seen=$lists
  for g in $groups; do eval "settled_$g="; done
  for c in $candidates; do eval "list_$c=' ' known_$c=0"; done
  while read -r found nets; do
    for c in $candidates; do
      eval "key=\$key_$c"
      [ "$found" != "$key" ] || eval "list_$c=\" \$nets \" known_$c=1"
    done
  done <<EOF
$lists
EOF
}

# Whether candidate $1 has all networks of group $2, or with a third argument any of them.
has() {
  eval "list=\$list_$1 networks=\$networks_$2"
  IFS=,
  for network in $networks; do
    case $list in
      *" $network "*) if [ $# -gt 2 ]; then unset IFS; return 0; fi ;;
      *) if [ $# -eq 2 ]; then unset IFS; return 1; fi ;;
    esac
  done
  unset IFS
  [ $# -eq 2 ]
}

# The candidate that group $1 should be with, as `chosen`: the one it is with, unless that is dead or an earlier one is
# back. Who does not answer at this moment is never chosen, so nothing moves when none of them answers.
choose() {
  eval "chosen=\$active_$1 via=\$via_$1"
  eval "down=\$down_$chosen"
  for c in $via; do
    eval "known=\$known_$c dead=\$down_$c misses=\$misses_$c lives=\$lives_$c"
    if [ "$down" = 0 ]; then
      [ "$c" != "$chosen" ] || return 0
      if [ "$known" = 1 ] && [ "$lives" -ge "$BACK" ]; then chosen=$c; return 0; fi
    elif [ "$known" = 1 ] && [ "$dead" = 0 ] && [ "$misses" = 0 ]; then
      chosen=$c
      return 0
    fi
  done
  [ "$down" = 1 ] || return 0
  for c in $via; do
    eval "known=\$known_$c lives=\$lives_$c"
    if [ "$known" = 1 ] && [ "$lives" -ge "$DEAD" ]; then chosen=$c; return 0; fi
  done
}

# The exact allowed IPs of candidate $1, as a section of a configuration. Without a group that it is the first of, it
# keeps its own address: else nobody could hear that it is back.
section() {
  eval "key=\$key_$1 keepalive=\$keepalive_$1 all=\$base_$1 own=\$own_$1"
  [ "$all" != - ] || all=
  for g in $groups; do
    eval "active=\$active_$g networks=\$networks_$g via=\$via_$g"
    if [ "$active" = "$1" ]; then
      all=$all,$networks
    elif [ "${via%% *}" = "$1" ] && [ "$own" != - ]; then
      all=$all,$own
      own=-
    fi
  done
  printf '[Peer]\nPublicKey = %s\nAllowedIPs = %s\nPersistentKeepalive = %s\n' "$key" "${all#,}" "$keepalive"
}

# Finds out who has networks of group $1, as `holders`, and whether that is as it should be, as `settled_N`: yes, no, or
# alone, when no candidate has any. Somebody else is changing them then.
survey() {
  eval "active=\$active_$1 via=\$via_$1"
  holders=
  for c in $via; do ! has "$c" "$1" any || holders="$holders $c"; done
  if [ -z "$holders" ]; then
    eval "settled_$1=alone"
    return
  fi
  if [ -z "$active" ]; then
    active=${holders# }
    active=${active%% *}
  fi
  if has "$active" "$1"; then settled=yes; else settled=no; fi
  eval "active_$1=$active settled_$1=$settled holders_$1=\$holders"
}

# Puts every group where it should be.
move() {
  gains='' loses=''
  for group in $groups; do
    eval "settled=\$settled_$group"
    [ -n "$settled" ] || survey "$group"
    eval "settled=\$settled_$group active=\$active_$group networks=\$networks_$group"
    [ "$settled" != alone ] || continue
    choose "$group"
    eval "known=\$known_$chosen name=\$name_$chosen before=\$name_$active down=\$down_$active"
    if [ "$known" = 0 ] || { [ "$chosen" = "$active" ] && [ "$settled" = yes ]; }; then continue; fi
    if [ "$chosen" = "$active" ]; then
      say "$networks back to $name, where they were"
    elif [ "$down" = 1 ]; then
      say "$networks from $before to $name: $before does not answer"
    else
      say "$networks from $before to $name: $name answers again"
    fi
    eval "active_$group=$chosen holders=\$holders_$group"
    gains="$gains $chosen"
    for c in $holders; do [ "$c" = "$chosen" ] || loses="$loses $c"; done
  done
  [ -z "$gains" ] || put
}

# Gives the candidates of `gains` and `loses` their exact lists. Who gains comes first: no network is ever with nobody.
put() {
  seen=- past=' '
  for one in $gains $loses; do
    case $past in *" $one "*) continue ;; esac
    past="$past$one "
    section "$one"
  done >"$state.conf"
  timeout 5 wg addconf "$interface" "$state.conf" || say "wg addconf $interface failed"
  rm -f "$state.conf"
}

# Writes the state file, where it differs: who runs, and whom each group is with.
tell() {
  telling="agent $digest $$"
  for g in $groups; do
    eval "active=\$active_$g name=-"
    [ -z "$active" ] || eval "name=\$name_$active"
    telling="$telling
active $g $name"
  done
  if [ "$telling" != "$told" ] || [ ! -e "$state" ]; then
    printf '%s\n' "$telling" >"$state.new" && mv "$state.new" "$state" && told=$telling
  fi
}

mkdir -p "${state%/*}"
tell
while :; do
  sleep 1 &
  pause=$!
  now=$(cat "$table" 2>/dev/null)
  if [ "$now" != "$loaded" ]; then
    loaded=$now
    load "$now"
  fi
  if [ -n "$interface" ]; then
    ask
    if look; then move; fi
  fi
  tell
  wait "$pause"
done
