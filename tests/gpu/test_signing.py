"""By what key DKMS signs, as one script tells of a machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from swarmctl.kinds.node_pool.accelerators import signing
from swarmctl.kinds.node_pool.accelerators.signing import DKMS, UBUNTU, Signing

MOKUTIL = """#!/bin/sh
case $2 in *.der) echo "$2 is already enrolled" ;; *) echo "$2 is not enrolled" ;; esac
"""


@pytest.mark.parametrize(
    ("system", "files", "found"),
    [
        ("debian", {}, Signing()),
        ("debian", {DKMS: ""}, Signing(DKMS, False)),
        ("debian", {DKMS: "", UBUNTU: ""}, Signing(DKMS, False)),
        ("ubuntu", {DKMS: "", UBUNTU: ""}, Signing(UBUNTU, True)),
        ("ubuntu", {DKMS: ""}, Signing(DKMS, False)),
        (
            "ubuntu",
            {UBUNTU: "", "/srv/own.der": "", "/etc/dkms/framework.conf.d/own.conf": "mok_certificate=/srv/own.der\n"},
            Signing("/srv/own.der", True),
        ),
        (
            "debian",
            {DKMS: "", "/etc/dkms/framework.conf": '# mok_certificate="/no.der"\nmok_certificate="$(reboot)"\n'},
            Signing(DKMS, False),
        ),
    ],
)
def test_it_is_the_one_that_dkms_takes(tmp_path: Path, system: str, files: dict[str, str], found: Signing) -> None:
    program = tmp_path / "bin" / "mokutil"
    for path, text in {**files, "/etc/os-release": f"NAME=x\nID={system}\n"}.items():
        file = tmp_path / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    program.parent.mkdir()
    program.write_text(MOKUTIL)
    program.chmod(0o755)
    # The script's places, below a folder of this test's own; what it prints of them is as it was.
    script = "part() { :; }\n" + signing.SCRIPT
    for place in ("/etc/", "/var/lib/"):
        script = script.replace(place, f"{tmp_path}{place}")
    script = script.replace('for file in "$said"', f'for file in "${{said:+{tmp_path}$said}}"')
    path = f"{program.parent}:/usr/bin:/bin"
    said = subprocess.run(["sh", "-c", script], env={"PATH": path}, check=True, capture_output=True, text=True).stdout
    assert signing.parse(said.replace(str(tmp_path), "")) == found


@pytest.mark.parametrize("text", ["", "certificate ../x\nis not enrolled", "certificate /a b\n", "x is not enrolled"])
def test_what_makes_no_sense_tells_nothing(text: str) -> None:
    assert signing.parse(text) == Signing()


def test_where_nobody_can_tell_the_certificate_is_known_all_the_same() -> None:
    assert signing.parse(f"certificate {DKMS}\nEFI variables are not supported on this system") == Signing(DKMS, None)
