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
  local tunnels address line device
  tunnels=" lo $(wg show interfaces 2>/dev/null | tr '\n' ' ') "
  {
    ip -o -4 route show default; ip -o -6 route show default
    wg show all endpoints 2>/dev/null | while read -r _ _ address; do
      address=${address%:*} address=${address#[} address=${address%]}
      [[ $address == *none* ]] || printf 'route get %s\n' "$address"
    done >"$folder/ways"
    for line in "${groups[@]}"; do
      read -r _ _ line <<<"$line"
      for address in $line; do printf 'route get %s\n' "$address"; done
    done >>"$folder/ways"
    grep -F . "$folder/ways" | grep -vF : | ip -force -o -4 -batch - 2>/dev/null
    grep -F : "$folder/ways" | ip -force -o -6 -batch - 2>/dev/null
  } | sed -n 's/.* dev \([^ ]*\).*/\1/p' | sort -u | while read -r device; do
    [[ $tunnels == *" $device "* ]] || printf '%s\n' "$device"
  done | head -n 8
}

watch() {
  local device number=0
  command -v tcpdump >/dev/null || { printf 'missing tcpdump\n'; return; }
  while read -r device; do
    number=$((number + 1))
    printf '%s\n' "$device" >"$folder/$number.name"
    # Its own limit ends it, too, should this script be killed. Heads of packets are enough, and all that is kept.
    timeout 60 tcpdump -Z root --immediate-mode -n -p -s 256 -B 8192 -c "$limit" -i "$device" \
      -w "$folder/$number.pcap" >/dev/null 2>"$folder/$number.log" &
    captures+=($!)
  done < <(devices)
  for _ in {1..40}; do
    [[ $(cat "$folder"/*.log 2>/dev/null | grep -c 'listening on') -ge $number ]] && break
    sleep 0.05
  done
}

# A filter of tcpdump over what was captured; prints how many packets it takes, then the first three as they look.
taken() {
  tcpdump -Z root -r "$1" -n -q -t "$2" >"$folder/taken" 2>/dev/null || { printf 'unknown\n'; return; }
  sed 's/^/  /; 3q' "$folder/taken"
  wc -l <"$folder/taken"
}

seen() {
  local file cut clear='' network name log
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
    printf '@ device %s\n' "$(cat "$name")"
    [[ -s $file ]] || { printf 'failed %s\n' "$(head -c 300 "$log" | tr '\n' ' ')"; continue; }
    sed -n 's/^\([0-9]*\) packets* \(captured\|dropped by kernel\).*/\2 \1/p' "$log"
    printf '@ wireguard\n'; taken "$file" "udp port $port" | tail -n 1
    # Mostly there is neither, and one look shows it.
    if [[ $(taken "$file" "$cut or $clear" | tail -n 1) != 0 ]]; then
      printf '@ fragments\n'; taken "$file" "$cut" | tail -n 1
      printf '@ clear\n'; taken "$file" "$clear"
    fi
    printf '@ pattern\n'; grep -a -c -F -- "$text" "$file"
  done
}

echoes() { # COUNT FAMILY SIZE ADDRESS…
  local number=$1 family=$2 size=$3 address
  shift 3
  if command -v fping >/dev/null; then
    fping "-$family" -q -c "$number" -i 1 -p 250 -t 2500 -b "$size" -M "$@" 2>&1
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
