"""`swarm:hostbaseline:Time`: the servers that a machine's clock follows, by chrony or systemd-timesyncd.

chrony reads one file, so that file is ours as long as it is declared, and the one that was there is in the record.
systemd-timesyncd reads a file of our own last.
"""

from __future__ import annotations

from shlex import quote

from swarmctl.backends.base import Host
from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import Seen

SERVICE = "swarmctl-chrony"
HEAD = "# By swarmctl: what is changed here is changed back. The file before is put back when it goes."


class TimeType(Aspect):
    """Whichever of the two is there."""

    name = "time"
    library = r"""
chosen() {
  if command -v chronyd >/dev/null; then
    daemon=chronyd file=/etc/chrony/chrony.conf unit=chrony
    [ -d /etc/chrony ] || file=/etc/chrony.conf unit=chronyd
  elif systemd && systemctl cat systemd-timesyncd.service >/dev/null 2>&1; then
    daemon=systemd-timesyn unit=systemd-timesyncd
    file=/etc/systemd/timesyncd.conf.d/zz-swarmctl-$baseline.conf
  else
    refuse "neither chrony nor systemd-timesyncd is installed" "declare \`packages: {chrony: present}\`"
  fi
}
again() {
  if ! systemd; then echo "service $file"; return 0; fi
  [ -e "$record/enabled" ] || put "$record/enabled" 0600 "$(systemctl is-enabled "$unit" 2>/dev/null)" || :
  systemctl unmask -q "$unit"
  systemctl enable -q "$unit" 2>/dev/null
  if [ "$1" = changed ]; then systemctl restart "$unit"; else systemctl start "$unit"; fi
}
"""

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """The servers of its file, and whether it runs, and does so after a restart."""
        for daemon, running, filed in seen.of("time", inputs["baseline"]):
            found: list[str] = []
            for line in filed.splitlines():
                words = line.split()
                if daemon == "chronyd" and words[:1] in (["server"], ["pool"], ["peer"]):
                    found += words[1:2]
                elif daemon != "chronyd" and line.startswith("NTP="):
                    found = line.removeprefix("NTP=").split()
            return {"servers": found, "running": running == "yes"}
        return {"servers": [], "running": False}

    def setting(self, inputs: Inputs) -> str:
        """The declared servers and no others."""
        servers = inputs["servers"]
        chrony = [
            HEAD,
            *(f"server {server} iburst" for server in servers),
            "driftfile /var/lib/chrony/chrony.drift",
            "makestep 1 3",
            "rtcsync",
        ]
        timesyncd = [HEAD, "[Time]", "NTP=", f"NTP={' '.join(servers)}", "FallbackNTP="]
        return f"""
chosen
begin
if [ ! -e "$record/file" ]; then
  taken=$(others_have file | head -n 1)
  if [ -n "$taken" ] && [ "$(cat "${{taken%/*}}/daemon")" = "$daemon" ]; then
    for one in before enabled; do
      [ ! -e "${{taken%/*}}/$one" ] || cp -p "${{taken%/*}}/$one" "$record/$one" 2>/dev/null || unwritten "$record/$one"
    done
  else
    [ "$daemon" != chronyd ] || [ ! -e "$file" ] || cp -p "$file" "$record/before" 2>/dev/null ||
      unwritten "$record/before"
  fi
  put "$record/daemon" 0600 "$daemon" || :
  put "$record/unit" 0600 "$unit" || :
  put "$record/file" 0600 "$file" || :
fi
if [ "$daemon" = chronyd ]; then text={quote(chr(10).join(chrony))}; else text={quote(chr(10).join(timesyncd))}; fi
if put "$file" 0644 "$text"; then again changed; else again same; fi
"""

    def settled(self, host: Host, inputs: Inputs, said: str) -> None:
        """Where there is no systemd: a file that has changed is read at the start only."""
        word, _, path = said.strip().partition(" ")
        if word == "service" and path in ("/etc/chrony/chrony.conf", "/etc/chrony.conf"):
            host.stop_service(SERVICE)
            host.start_service(SERVICE, ("chronyd", "-n", "-f", path))

    def removed(self, host: Host) -> None:
        """The service goes first."""
        host.stop_service(SERVICE)

    def taking_away(self, inputs: Inputs) -> str:
        """The file before is put back, and the service is as it was."""
        return rf"""
if [ -e "$record/file" ]; then
  file=$(cat "$record/file") unit=$(cat "$record/unit")
  for taken in $(others_have file); do
    [ "$(cat "${{taken%/*}}/unit")" = "$unit" ] || continue
    [ "$(cat "$taken")" = "$file" ] || {{ rm -f -- "$file"; ! systemd || systemctl try-restart "$unit" || :; }}
    forget
    exit 0
  done
  if [ "$(head -n 1 "$file" 2>/dev/null)" = {quote(HEAD)} ]; then
    if [ -e "$record/before" ]; then
      {{ cp -p "$record/before" "$(fresh "$file")" && sync "$(fresh "$file")" && mv -fT "$(fresh "$file")" "$file"; }} \
        2>/dev/null || unwritten "$file"
    else
      rm -f -- "$file"
    fi
  fi
  if systemd; then
    case $(cat "$record/enabled" 2>/dev/null) in
      disabled) systemctl disable -q --now "$unit" ;;
      masked) systemctl mask -q --now "$unit" ;;
      *) systemctl try-restart "$unit" || : ;;
    esac
  fi
fi
forget
"""

    def items(self, inputs: Inputs) -> dict[str, str]:
        """One line."""
        if "servers" not in inputs:
            return {}
        return {"time servers": ", ".join(map(known, inputs["servers"]))} | (
            {} if inputs.get("running", True) else {"time service": "does not run"}
        )


TIME = TimeType()
