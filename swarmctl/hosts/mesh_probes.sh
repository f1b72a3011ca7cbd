# shellcheck shell=bash
# Measures the mesh from one node and watches the underlay while it does. What to do comes on standard input, a line
# each; `hosts/mesh_probes.py` writes it and reads what is printed. Needs bash, ip, wg, coreutils; fping or ping.
# Nothing stays: what is captured lies in a folder that only root can read, until the end of this script.
umask 077
count=5 pattern='' text='' port=51820 limit=1000 capture=''
networks=() groups=() marked=() larger=() searches=()
while read -r what rest; do
  case $what in
    count) count=$rest ;;
    pattern) read -r pattern text <<<"$rest" ;;
    port) port=$rest ;;
    limit) limit=$rest ;;
    network) networks+=("$rest") ;;
    capture) capture=yes ;;
    group) groups+=("$rest") ;;
    mark) marked+=("$rest") ;;
    larger) larger+=("$rest") ;;
    search) searches+=("$rest") ;;
  esac
done
folder=$(mktemp -d) || exit 1
captures=()
trap '((${#captures[@]})) && kill "${captures[@]}" 2>/dev/null; rm -rf "$folder"' EXIT

# Where packets to other nodes leave: those to their endpoints, those to no one in particular, and those to the mesh,
# should its addresses lead past it.
devices() {
  local tunnels address line device four='route show default' six='route show default' found=' '
  tunnels=" lo $(wg show interfaces 2>/dev/null) "
  way() {
    case $1 in
      *:*) six+=$'\n'"route get $1" ;;
      *.*) four+=$'\n'"route get $1" ;;
    esac
  }
  while read -r _ _ address; do
    address=${address%:*} address=${address#[} address=${address%]}
    way "$address"
  done < <(wg show all endpoints 2>/dev/null)
  for line in "${groups[@]}"; do
    read -r _ _ line <<<"$line"
    for address in $line; do way "$address"; done
  done
  while read -r line; do
    [[ $line == *" dev "* ]] || continue
    device=${line##* dev } device=${device%% *}
    [[ $tunnels$found == *" $device "* ]] || { found+="$device "; printf '%s\n' "$device"; }
  done < <({ ip -force -o -4 -batch - <<<"$four"; ip -force -o -6 -batch - <<<"$six"; } 2>/dev/null) | head -n 8
}

watch() {
  local device log said tries number=0
  command -v tcpdump >/dev/null || { printf 'missing tcpdump\n'; return; }
  while read -r device; do
    number=$((number + 1))
    printf '%s\n' "$device" >"$folder/$number.name"
    # Its own limit ends it, too, should this script be killed. Heads of packets are enough, and all that is kept.
    timeout 60 tcpdump -Z root --immediate-mode -n -p -s 256 -B 8192 -c "$limit" -i "$device" \
      -w "$folder/$number.pcap" >/dev/null 2>"$folder/$number.log" &
    captures+=($!)
  done < <(devices)
  # Looked for without starting anything: there may be many nodes on one computer.
  for ((number = 0, tries = 0; number < ${#captures[@]} && tries < 40; tries++)); do
    ((tries)) && sleep 0.05
    number=0
    for log in "$folder"/*.log; do
      said='' && IFS= read -r -d '' said <"$log"
      [[ $said == *'listening on'* ]] && number=$((number + 1))
    done
  done
}

# A filter of tcpdump over what was captured: `packets` are those that it takes, as they look.
taken() {
  mapfile -t packets < <(tcpdump -Z root -r "$1" -n -q -t "$2" 2>/dev/null || printf 'unknown\n')
}

counted() { # NAME [SAMPLES]: those packets, the first few as they look, then how many there are
  local samples=${2:-0}
  printf '@ %s\n' "$1"
  if ((${#packets[@]})); then
    [[ ${packets[-1]} != unknown ]] || { printf 'unknown\n'; return; }
    ((samples == 0)) || printf '  %s\n' "${packets[@]:0:samples}"
  fi
  printf '%s\n' ${#packets[@]}
}

seen() {
  local file cut clear='' network name log device line packets
  for network in "${networks[@]}"; do clear="${clear:+$clear or }net $network"; done
  cut="(ip[6:2] & 0x2000 != 0 and ip[6:2] & 0x1fff = 0 and udp port $port) or (ip6[6] = 44 and ip6[40] = 17 and \
ip6[42:2] & 0xfff8 = 0 and (ip6[48:2] = $port or ip6[50:2] = $port))"
  sleep 0.1
  kill -INT "${captures[@]}" 2>/dev/null
  wait "${captures[@]}"
  captures=()
  for name in "$folder"/*.name; do
    [[ -e $name ]] || continue
    file=${name%.name}.pcap log=${name%.name}.log
    read -r device <"$name"
    printf '@ device %s\n' "$device"
    [[ -s $file ]] || { printf 'failed %s\n' "$(head -c 300 "$log" | tr '\n' ' ')"; continue; }
    while read -r line; do
      case $line in
        *' captured') printf 'captured %s\n' "${line%% *}" ;;
        *' dropped by kernel') printf 'dropped by kernel %s\n' "${line%% *}" ;;
      esac
    done <"$log"
    taken "$file" "udp port $port"; counted wireguard
    # Mostly there is neither, and one look shows it.
    taken "$file" "$cut or $clear"
    if ((${#packets[@]})); then
      taken "$file" "$cut"; counted fragments
      taken "$file" "$clear"; counted clear 3
    fi
    printf '@ pattern\n'; grep -a -c -F -- "$text" "$file"
  done
}

echoes() { # COUNT FAMILY SIZE ADDRESS…
  local number=$1 family=$2 size=$3 address
  shift 3
  if command -v fping >/dev/null; then
    fping "-$family" -q -c "$number" -i 30 -p 250 -t 2500 -b "$size" -M "$@" 2>&1
  else
    for address; do ping -n -q -c "$number" -i 0.25 -W 3 -M "do" -s "$size" "$address" 2>/dev/null & done
    wait
  fi
}

search() { # ADDRESS LOW HIGH: the largest payload that comes through, between one that does and one that doesn't
  local address=$1 low=$2 high=$3 step size best
  while ((high - low > 1)); do
    step=$(((high - low + 7) / 8))
    for ((size = low + step; size < high; size += step)); do
      { ping -n -q -c 2 -i 0.2 -W 1 -M "do" -s "$size" "$address" >/dev/null 2>&1 && printf '%s\n' "$size"; } &
    done >"$folder/sizes-$address"
    wait
    best=$(sort -n "$folder/sizes-$address" | tail -n 1)
    low=${best:-$low}
    ((low + step < high)) && high=$((low + step))
  done
  printf 'largest %s %s\n' "$address" "$low"
}

command -v fping >/dev/null || command -v ping >/dev/null || printf 'missing ping\n'
[[ $capture ]] && watch
printf '@@ echoes\n'
probes=() number=0
for group in "${groups[@]}"; do
  number=$((number + 1))
  # shellcheck disable=SC2086 # words of one group
  echoes "$count" $group >"$folder/echoes-$number" & probes+=($!)
done
for address in "${marked[@]}"; do
  ping -n -q -c 2 -i 0.2 -W 1 -s 128 -p "$pattern" "$address" >/dev/null 2>&1 & probes+=($!)
done
for one in "${larger[@]}"; do
  number=$((number + 1))
  # shellcheck disable=SC2086 # family, size and address
  echoes 1 $one | sed 's/^/larger /' >"$folder/echoes-$number" & probes+=($!)
done
for one in "${searches[@]}"; do
  # shellcheck disable=SC2086 # address and sizes
  search $one & probes+=($!)
done
((${#probes[@]})) && wait "${probes[@]}"
# One file each: fping writes a line in pieces.
cat "$folder"/echoes-* 2>/dev/null
printf '@@ capture\n'
((${#captures[@]})) && seen
printf '@@ end\n'
