"""How the scripts of all aspects write files."""

from __future__ import annotations

import subprocess
from pathlib import Path

from swarmctl.kinds.host_baseline.aspects.base import PRELUDE

TOLD = 'chmod() { stat -c %a "$2"; command chmod "$@"; }\n'
"""Says with what rights the new file lay there until it got those of the old one."""


def test_what_is_written_anew_is_nobody_else_s_to_read_on_the_way(tmp_path: Path) -> None:
    table, left = tmp_path / "fstab", tmp_path / ".fstab.swarmctl-new"
    table.write_text("//nas/a /mnt cifs username=a,password=b 0 0\n")
    table.chmod(0o600)
    for before in (None, 0o644):
        if before is not None:
            left.write_text("of one that was cut off\n")
            left.chmod(before)
        text = f"{table.read_text()}# {before}\n"
        script = f'{PRELUDE}{TOLD}rewritten "$1" "$2"\nstat -c %a "$1"\n'
        done = subprocess.run(["sh", "-euc", script, "sh", table, text], text=True, capture_output=True, check=True)
        assert done.stdout == "600\n600\n"
        assert table.read_text() == text
        assert not left.exists()
