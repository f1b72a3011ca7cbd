"""The whole cycle as an ordinary user: one user namespace holds the lab, nothing needs root."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

USER = 65534
"""nobody: a user id that owns nothing."""

STAGE = """
set -eu
stage=$1; shift
# Folders that only root may enter (a home, for one) are opened by hiding them under an empty one
# in which just the paths that the run needs are bound again; this mount namespace is the run's own.
mkdir -p "$stage"; n=0
for path in $PATHS; do n=$((n+1)); mkdir -p "$stage/$n"; mount --bind "$path" "$stage/$n"; done
for closed in $CLOSED; do mount -t tmpfs -o mode=755 none "$closed"; done
n=0
for path in $PATHS; do n=$((n+1)); mkdir -p "$path"; mount --bind "$stage/$n" "$path"; done
# udev gives everyone /dev/net/tun; where there is no udev it may be root's alone.
mknod "$stage/tun" c 10 200; chmod "$TUN" "$stage/tun"; mount --bind "$stage/tun" /dev/net/tun
exec setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all --bounding-set=-all "$@"
"""


@pytest.fixture
def root() -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    folder = Path(tempfile.mkdtemp(prefix="swarmctl-rootless-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


def as_nobody(
    lab: labs.Lab, engine: Path, *args: str, code: int | None = 0, tun: str = "666"
) -> subprocess.CompletedProcess[str]:
    """Run `swarmctl -C STACK …` as nobody, without a single capability, and expect `code`."""
    needed = {Path(sys.prefix), Path(sys.base_prefix), Path(__file__).resolve().parents[2], engine.parent}
    tools = Path(lab.env["XDG_CACHE_HOME"]) / "swarmctl" / "bin"
    if tools.is_dir():
        needed.add(tools)
    closed = {top for path in needed for top in path.parents if not top.stat().st_mode & 0o001}
    outermost = {path for path in closed if not any(other in path.parents for other in closed)}
    moved = sorted(path for path in needed if any(top in path.parents for top in outermost))
    env = lab.env | {
        "HOME": str(lab.root / "home"),
        "TUN": tun,
        "XDG_CACHE_HOME": str(lab.root / "cache"),
        "SWARMCTL_ENGINE": str(engine),
        "PATHS": " ".join(map(str, moved)),
        "CLOSED": " ".join(map(str, sorted(outermost))),
    }
    stage = Path(tempfile.mkdtemp(dir=lab.root))
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", STAGE.format(user=USER), "sh", str(stage)]
    run = subprocess.run(
        [*command, sys.executable, "-m", "swarmctl", "-C", str(lab.stack), *args],
        env=env,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        timeout=180,
        cwd=Path(__file__).resolve().parents[2],
    )
    assert "Traceback (most recent call last)" not in run.stdout + run.stderr, run.stderr
    assert code is None or run.returncode == code, f"{args}: exit {run.returncode}\n{run.stdout}\n{run.stderr}"
    return run


def own(folder: Path) -> None:
    for path in [folder, *folder.rglob("*")]:
        os.chown(path, USER, USER, follow_symlinks=False)


def test_the_whole_cycle_as_an_ordinary_user(root: Path, engine: Path) -> None:
    lab = labs.make(root)
    for name in ("home", "cache", "data"):
        (root / name).mkdir()
    tools = Path(lab.env["XDG_CACHE_HOME"]) / "swarmctl" / "bin"
    if tools.is_dir():
        shutil.copytree(tools, root / "cache" / "swarmctl" / "bin")
    own(root)
    doctor = as_nobody(lab, engine, "doctor", code=None).stdout
    if "user namespaces" in doctor and "not allowed" in doctor:
        pytest.skip("this kernel allows no user namespaces to ordinary users")
    assert "rootless" in doctor
    try:
        if "userspace (wireguard-go)" in doctor:
            refused = as_nobody(lab, engine, "apply", "--yes", code=1, tun="600")
            assert "wireguard-go may not use /dev/net/tun" in refused.stderr
            assert "sudo chmod 0666 /dev/net/tun" in refused.stderr
            assert "created" not in refused.stderr
            assert labs.footprint(lab.root)["processes"] == [], "nothing was made"
        as_nobody(lab, engine, "apply", "--yes")
        status = json.loads(as_nobody(lab, engine, "status", "--format", "json").stdout)
        assert len(status["nodes"]) == 5
        assert all(node["ready"] for node in status["nodes"]), status["nodes"]
        assert all(link["reachable"] for link in status["links"])
        assert all(flow["ok"] for flow in status["flows"])
        as_nobody(lab, engine, "plan", "--detailed-exitcode", code=0)
        as_nobody(lab, engine, "exec", "workers-0", "--", "ip", "link", "set", "wg0", "mtu", "1300")
        as_nobody(lab, engine, "drift", code=21)
        as_nobody(lab, engine, "apply", "--yes")
        as_nobody(lab, engine, "drift", code=0)
    finally:
        as_nobody(lab, engine, "destroy", "--yes")
    labs.assert_nothing_left(lab)
