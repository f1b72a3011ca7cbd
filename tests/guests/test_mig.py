"""Cards are divided when a machine starts, by systemd itself: `nvidia-smi` and the units around it are stand-ins."""

from __future__ import annotations

import pytest

from swarmctl.backends.reboot import reboot
from swarmctl.backends.ssh.transport import Transport
from swarmctl.kinds.node_pool.accelerators import at_start, reading
from swarmctl.kinds.node_pool.accelerators.services import CDI, PERSISTENCE

from .machine import Guest
from .node import Patient

pytestmark = [
    pytest.mark.integration,
    pytest.mark.soak,
    pytest.mark.xdist_group("guest"),
    pytest.mark.timeout(1200),
]
CARD = "0000:17:00.0"
LAYOUT = {CARD: {"1g.10gb": 2, "3g.40gb": 1}}
# What it knows is below /run, so that a restart loses it, the mode as well. A card in use does not take its mode.
SMI = f"""#!/bin/sh
mkdir -p /run/mig
mode() {{ if [ -e /run/mig/card ]; then echo Enabled; else echo Disabled; fi; }}
case "$*" in
  --query-gpu=index,*) echo "0, 0000{CARD}, 595.91.07, $(mode)" ;;
  -L)
    echo 'GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-1)'
    [ ! -e /run/mig/card ] || sed 's/.*/  MIG & Device  0: (UUID: MIG-1)/' /run/mig/card ;;
  --query-compute-apps=*) ;;
  *" -mig 1") ! systemctl -q is-active {PERSISTENCE} || exit 1; : >/run/mig/card ;;
  *mig.mode.current,mig.mode.pending*) echo "$(mode), $(mode)" ;;
  *" -cgi "*) echo "$5" | tr ',' '\\n' >/run/mig/card ;;
esac
"""
UNIT = "[Service]\nType={}\nRemainAfterExit=yes\nExecStart=/bin/sh -c 'nvidia-smi -L >/run/{}'\n[Install]\n"
UNITS = {PERSISTENCE: "simple", "kubelet.service": "oneshot", CDI: "oneshot", "nvidia-dcgm.service": "oneshot"}


def test_cards_are_divided_before_what_uses_them_starts(guest: Guest, transport: Transport) -> None:
    host = Patient(guest.host(), None, transport)

    def sh(script: str) -> str:
        return host.run(["sh", "-eu", "-s"], stdin=script.encode(), timeout=120).text

    def seen() -> reading.Seen:
        return reading.parse(host.run(reading.READING.argv, timeout=120).stdout, "n1")

    host.put("/usr/bin/nvidia-smi", SMI.encode(), mode=0o755)
    for unit, kind in UNITS.items():
        text = UNIT.format(kind, unit) + "WantedBy=multi-user.target\n"
        host.put(f"/etc/systemd/system/{unit}", text.encode())
    sh(f"systemctl daemon-reload; systemctl enable {' '.join(UNITS)}")
    sh(at_start.script({}, LAYOUT))
    found = seen()
    assert at_start.wrong(found.startup, LAYOUT) == ""
    assert found.instances == {}

    reboot(host, timeout=guest.patience)
    sh("systemctl is-system-running --wait || :")
    said = sh(f"journalctl -b -u {at_start.NAME} --no-pager")
    found = seen()
    assert found.instances == LAYOUT, said
    for unit in ("kubelet.service", "nvidia-dcgm.service", CDI):
        assert sh(f"cat /run/{unit}").count("MIG ") == 3, f"{unit} was there first: {said}"
    assert sh(f"systemctl is-active {PERSISTENCE} {at_start.NAME}").split() == ["active"] * 2
    assert "divided" in said

    # Where it can't be done the unit has failed, and the machine is up all the same.
    sh("sed -i 's/-cgi/-no/' /usr/bin/nvidia-smi; sync")
    reboot(host, timeout=guest.patience)
    sh("systemctl is-system-running --wait || :")
    assert sh(f"systemctl is-failed {at_start.NAME}") == "failed\n"
    assert sh("systemctl is-active kubelet.service multi-user.target").split() == ["active"] * 2
    assert f"the card at {CARD} could not be divided" in sh(f"journalctl -b -u {at_start.NAME} --no-pager")
