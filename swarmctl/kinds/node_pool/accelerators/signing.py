"""The key that DKMS signs modules with on a machine, and whether its firmware takes that. Pure.

Sources: dkms(8) and the README of DKMS 3.2 on `mok_certificate`; Ubuntu's package of dkms, which signs with the key of
`update-secureboot-policy`; mokutil(1) on `--test-key`.
"""

from __future__ import annotations

import re
from typing import NamedTuple

DKMS = "/var/lib/dkms/mok.pub"
UBUNTU = "/var/lib/shim-signed/mok/MOK.der"
SCRIPT = rf"""
part enrolled
said=$(sed -n 's/^mok_certificate="\{{0,1\}}\(\/[A-Za-z0-9\/._-]*\)"\{{0,1\}}$/\1/p' /etc/dkms/framework.conf \
  /etc/dkms/framework.conf.d/*.conf 2>/dev/null | tail -n 1)
ubuntu=; ! grep -qs '^ID=ubuntu' /etc/os-release || ubuntu={UBUNTU}
for file in "$said" "$ubuntu" {DKMS}; do
  if [ -f "$file" ]; then
    printf 'certificate %s\n' "$file"
    ! command -v mokutil >/dev/null || LC_ALL=C mokutil --test-key "$file" 2>&1
    break
  fi
done
"""
_PATH = re.compile(r"certificate (/[A-Za-z0-9/._-]{1,200})")


class Signing(NamedTuple):
    """What is known of it."""

    certificate: str = ""
    """Its file on the machine; empty where DKMS has no key yet."""
    enrolled: bool | None = None
    """Whether the firmware takes what it signs; None where nobody can tell."""

    def by_hand(self, machine: str) -> str:
        """What someone has to do."""
        command = f"mokutil --import {self.certificate or DKMS}"
        return f"by hand on {machine}: `{command}`, restart, and confirm at its console"


UNSIGNED = Signing()


def parse(text: str) -> Signing:
    """What `SCRIPT` printed: `… is already enrolled`, or `… is not enrolled`."""
    first, _, rest = text.partition("\n")
    match = _PATH.fullmatch(first)
    if match is None:
        return Signing()
    enrolled = True if "is already enrolled" in rest else False if "is not enrolled" in rest else None
    return Signing(match[1], enrolled)
