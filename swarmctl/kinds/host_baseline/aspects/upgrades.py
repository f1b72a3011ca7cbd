"""`swarm:hostbaseline:Upgrades`: upgrades for security by unattended-upgrades, never of drivers.

A file of apt's of our own, read after all others; what is read back is what `apt-config` makes of all of them. On
machines with systemd apt's own timers do it, elsewhere apt's own daily script as a service.
"""

from __future__ import annotations

import re
from shlex import quote

from swarmctl.backends.base import Host
from swarmctl.graph.model import Json
from swarmctl.kinds.host_baseline.aspects.base import Aspect, Inputs, known
from swarmctl.kinds.host_baseline.reading import Seen

EXCLUDED = (
    "nvidia-", "libnvidia-", "cuda-", "libcuda", "libnvsdm", "libxnvctrl", "xserver-xorg-video-nvidia",
    "datacenter-gpu-manager", "nvlsm", "libnvinfer", "libcudnn", "libnccl", "rocm", "hip", "amdgpu", "libdrm-amdgpu",
    "amd-smi", "amd-container-toolkit", "hsa-", "comgr",
    "linux-modules-nvidia",
)  # fmt: skip
"""What drivers of GPUs are made of, by how the names of their packages begin (unattended-upgrades matches there)."""
SERVICE = "swarmctl-apt-daily"
DAILY = (
    "while :; do /usr/lib/apt/apt.systemd.daily update; /usr/lib/apt/apt.systemd.daily install; sleep 3600; done",
    SERVICE,
)
IN_PART = "in part"
_SETTING = re.compile(r'([A-Za-z:-]+) "([^"]*)";')


class UpgradesType(Aspect):
    """Of the machine's package manager."""

    name = "upgrades"
    library = r"""
file=/etc/apt/apt.conf.d/99zz-swarmctl-$baseline
"""

    def observe(self, seen: Seen, inputs: Inputs) -> dict[str, Json]:
        """What is in force."""
        for timer, installed, dump in seen.of("upgrades", inputs["baseline"]):
            settings: dict[str, list[str]] = {}
            for line in dump.splitlines():
                if match := _SETTING.fullmatch(line.strip()):
                    settings.setdefault(match[1], []).append(match[2])
            last = {name: values[-1] for name, values in settings.items()}
            excluded = settings.get("Unattended-Upgrade::Package-Blacklist::", [])
            restart = last.get("Unattended-Upgrade::Automatic-Reboot", "false").lower() in ("true", "1", "yes")
            listed = last.get("APT::Periodic::Update-Package-Lists", "0") not in ("", "0")
            done = last.get("APT::Periodic::Unattended-Upgrade", "0") not in ("", "0")
            able = (timer, installed) == ("yes", "yes")
            return {
                # What apt is told to do and nothing does is neither of the two, whichever of them is declared next.
                "automatic": (True if listed and able else IN_PART) if done else False,
                "reboot": last.get("Unattended-Upgrade::Automatic-Reboot-Time", "now") if restart else "never",
                "excluded": [one for one in inputs["excluded"] if one in excluded],
            }
        return {"automatic": False, "reboot": "never", "excluded": []}

    def setting(self, inputs: Inputs) -> str:
        """Only what the distribution publishes for security, and what its own file names, is ever upgraded."""
        on, reboot = inputs["automatic"], inputs["reboot"]
        lines = [
            f'APT::Periodic::Update-Package-Lists "{int(on)}";',
            f'APT::Periodic::Unattended-Upgrade "{int(on)}";',
            "#clear Unattended-Upgrade::Origins-Pattern;",
            "#clear Unattended-Upgrade::Allowed-Origins;",
            "Unattended-Upgrade::Origins-Pattern {",
            '  "origin=Debian,codename=${distro_codename}-security,label=Debian-Security";',
            '  "origin=Ubuntu,archive=${distro_codename}-security,label=Ubuntu";',
            "};",
            f'Unattended-Upgrade::Automatic-Reboot "{str(reboot != "never").lower()}";',
            f'Unattended-Upgrade::Automatic-Reboot-Time "{"now" if reboot == "never" else reboot}";',
            "Unattended-Upgrade::Package-Blacklist {",
            *(f'  "{one}";' for one in inputs["excluded"]),
            "};",
        ]
        needed = f"""
command -v apt-config >/dev/null || refuse "there is no apt" "securityUpgrades are for Debian, Ubuntu and their kin"
if {str(on).lower()}; then
  command -v unattended-upgrade >/dev/null ||
    refuse "unattended-upgrades is not installed" "declare \\`packages: {{unattended-upgrades: present}}\\`"
fi
begin
put "$file" 0644 {quote(chr(10).join(lines))} || :
if systemd; then
  if {str(on).lower()}; then
    for unit in apt-daily.timer apt-daily-upgrade.timer; do
      taken=$(others_have "$unit" | head -n 1)
      [ -e "$record/$unit" ] || [ -z "$taken" ] || put "$record/$unit" 0600 "$(cat "$taken")" || :
      [ -e "$record/$unit" ] || put "$record/$unit" 0600 "$(systemctl is-enabled "$unit" 2>/dev/null)" || :
      systemctl unmask -q "$unit"
      systemctl enable -q --now "$unit"
    done
  fi
else
  echo service
fi
"""
        return needed

    def settled(self, host: Host, inputs: Inputs, said: str) -> None:
        """Where no timers are."""
        if said.strip() == "service":
            if inputs["automatic"]:
                host.start_service(SERVICE, ("sh", "-c", *DAILY))
            else:
                host.stop_service(SERVICE)

    def removed(self, host: Host) -> None:
        """The service goes first."""
        host.stop_service(SERVICE)

    def taking_away(self, inputs: Inputs) -> str:
        """Timers are what they were."""
        return r"""
rm -f -- "$file"
if systemd; then
  for unit in apt-daily.timer apt-daily-upgrade.timer; do
    [ -z "$(others_have "$unit")" ] || continue
    case $(cat "$record/$unit" 2>/dev/null) in
      disabled) systemctl disable -q --now "$unit" ;;
      masked) systemctl mask -q --now "$unit" ;;
    esac
  done
fi
forget
"""

    def items(self, inputs: Inputs) -> dict[str, str]:
        """Three."""
        if "automatic" not in inputs:
            return {}
        automatic = inputs["automatic"]
        return {
            "security upgrades": {True: "every day", False: "not by themselves"}.get(automatic, known(automatic)),
            "security upgrades, restart": known(inputs["reboot"]),
            "security upgrades, never of": " ".join(f"{one}*" for one in inputs["excluded"]),
        }

    def impact_of(self, old: Inputs | None, new: Inputs | None) -> str:
        """Restarts that nobody asks for at the time."""
        if new is None or new["reboot"] == "never" or (old is not None and old.get("reboot") == new["reboot"]):
            return ""
        return f"{new['node']} restarts by itself at {new['reboot']} after upgrades that need it"


UPGRADES = UpgradesType()
