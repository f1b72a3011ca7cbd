"""What is run on a machine for NVIDIA's driver, with stand-ins of the programs first in the path."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from swarmctl.kinds.node_pool.accelerators import scripts, services

MODPROBE = """#!/bin/sh
echo "$*" >>modprobes
case "$*" in
  "-r "*) sed -i "/^$2 /d" modules; [ "$2" != nvidia ] || rm -f loaded ;;
  nvidia) echo 595.91.07 >loaded; echo 'nvidia 1' >>modules ;;
  *) echo "$1 1" >>modules ;;
esac
"""
CAT = """#!/bin/sh
case $1 in
  /proc/modules) exec /bin/cat modules ;;
  /sys/module/nvidia/version) exec /bin/cat loaded ;;
  /proc/driver/nvidia/version) exit 1 ;;
  *) exec /bin/cat "$@" ;;
esac
"""


def run(folder: Path, script: str, **programs: str) -> str:
    there = folder / "bin"
    there.mkdir(exist_ok=True)
    for name, text in programs.items():
        (there / name).write_text(text)
        (there / name).chmod(0o755)
    done = subprocess.run(
        ["sh", "-eu", "-c", script], cwd=folder, env={"PATH": f"{there}:/usr/bin:/bin"}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_what_uses_the_module_is_loaded_again_after_it(tmp_path: Path) -> None:
    (tmp_path / "modules").write_text("nvidia_peermem 1\nnvidia 1\ngdrdrv 1\next4 1\n")
    (tmp_path / "loaded").write_text("580.173.02\n")
    said = run(tmp_path, scripts.reload("595.91.07", "open", ["mlx5_core"]), modprobe=MODPROBE, cat=CAT)
    assert said == "loaded\n"
    asked = (tmp_path / "modprobes").read_text().splitlines()
    assert asked.index("-r nvidia_peermem") < asked.index("-r nvidia") < asked.index("mlx5_core")
    assert asked[asked.index("nvidia") :] == ["nvidia", "nvidia_uvm", "nvidia_peermem", "gdrdrv"]


@pytest.mark.parametrize(
    ("line", "kept"),
    [
        (
            "/usr/bin/nvidia-persistenced --user nvidia-persistenced --no-persistence-mode --verbose",
            "/usr/bin/nvidia-persistenced --user nvidia-persistenced  --verbose",
        ),
        ("/usr/bin/nvidia-persistenced --verbose", None),
    ],
)
def test_the_daemon_of_persistence_keeps_the_driver_loaded(tmp_path: Path, line: str, kept: str | None) -> None:
    (tmp_path / "unit").write_text(f"[Service]\nType=forking\nExecStart={line}\n")
    systemctl = f"""#!/bin/sh
echo "$*" >>calls
case "$*" in *FragmentPath*) echo {tmp_path}/unit ;; esac
"""
    script = services.start_script([services.PERSISTENCE]).replace("/run/systemd/system", str(tmp_path))
    for _ in range(2):
        run(tmp_path, script.replace("/etc/systemd", f"{tmp_path}/etc"), systemctl=systemctl)
    override = Path(services.PERSISTS.replace("/etc/systemd", f"{tmp_path}/etc"))
    found = override.read_text() if override.exists() else None
    assert found == (f"[Service]\nExecStart=\nExecStart={kept}\n" if kept else None)
    calls = (tmp_path / "calls").read_text()
    assert calls.count(f"stop {services.PERSISTENCE}") == (1 if kept else 0), (
        "once, so that it starts with the new line"
    )
    assert calls.count(f"enable --now {services.PERSISTENCE}") == 2
