"""How the scripts of all aspects write files and begin records."""

from __future__ import annotations

import subprocess
from pathlib import Path

from swarmctl.kinds.host_baseline.aspects.base import PRELUDE

TOLD = 'chmod() { stat -c %a "$2"; command chmod "$@"; }\n'
"""Says with what rights the new file lay there until it got those of the old one."""
RACED = """
left=2
mkdir() {
  [ "$left" -eq 0 ] || { left=$((left - 1)); echo 'No such file or directory' >&2; return 1; }
  command mkdir "$@"
}
"""
"""Somebody else removes the folder around the new one between the two steps of mkdir."""


def test_a_record_is_begun_also_while_another_baseline_forgets_its_last(tmp_path: Path) -> None:
    place = f"records={tmp_path}/baseline record={tmp_path}/baseline/b/sysctl\n"
    done = subprocess.run(["sh", "-euc", f"{place}{PRELUDE}{RACED}begin"], text=True, capture_output=True, check=True)
    assert done.stderr == ""
    for folder in ("baseline", "baseline/b", "baseline/b/sysctl"):
        assert (tmp_path / folder).stat().st_mode & 0o777 == 0o700
    (tmp_path / "taken").touch()
    place = f"records={tmp_path}/taken record={tmp_path}/taken/b/sysctl\n"
    done = subprocess.run(["sh", "-euc", f"{place}{PRELUDE}begin"], text=True, capture_output=True, check=False)
    assert "Not a directory" in done.stderr, "what is no race is told"
    assert done.returncode != 0


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
