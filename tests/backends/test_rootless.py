"""The life of a lab as an ordinary user: one user namespace holds it, and nothing needs root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.integration

USER = 65534
"""nobody: a user that owns nothing."""
ROOT = Path(__file__).resolve().parents[2]

STAGE = """
set -eu
stage=$1; python=$2; packages=$3; source=$4; shift 4
mount -t tmpfs -o mode=755 stage "$stage"
for pair in "python $python" "packages $packages" "source $source"; do
    mkdir "$stage/${pair%% *}"; mount --rbind "${pair#* }" "$stage/${pair%% *}"
done
mkdir -m 777 "$stage/home"
exec setpriv --reuid USER --regid USER --clear-groups --inh-caps=-all --bounding-set=-all "$@"
""".replace("USER", str(USER))

CYCLE = """
import os, sys
from pathlib import Path
from swarmctl.backends.lab import modes
from tests.backends import labs

assert os.geteuid() != 0
try:
    mode = modes.detect("tests", None)
except modes.LabImpossible as error:
    print("skip:", error.message, *error.details)
    sys.exit()
assert mode.name == "rootless" and not mode.overlay
placements = labs.place(labs.pool("a", 2), labs.pool("b", 1, "us"))
try:
    labs.create(placements)
    for placement in placements:
        assert labs.backend.read_machine(placement.inputs) == placement.inputs
    host = labs.host(placements[0])
    host.run(["ping", "-c1", "-W2", placements[-1].underlay[0]])
    assert host.run(["id", "-u"]).text == "0\\n"
    assert host.run(["hostname"]).text == "a-0\\n"
    host.put("/etc/wireguard/key", b"secret", mode=0o600)
    assert host.get("/etc/wireguard/key") == b"secret"
    host.run(["nft", "add", "table", "inet", "trial"])
    host.run(["ip", "link", "set", "eth0", "mtu", "1400"])
    assert labs.backend.read_machine(placements[0].inputs)["mtu"] == 1400
    labs.backend.update_machine(placements[0].inputs, placements[0].inputs)
    assert labs.backend.read_machine(placements[0].inputs) == placements[0].inputs
    for script in (
        "echo 1 > /proc/sys/kernel/panic", "mount -t tmpfs none /mnt", "mknod /tmp/x b 8 0", "date -s 2001-01-01",
        "unshare -U true", "touch /usr/x", "mount -o remount,rw /usr", "nsenter -t 1 -n true", "dmesg",
        f"ls {Path.home()}", f"kill -0 {os.getpid()}", f"ls {Path(labs.__file__).parent}",
    ):
        assert host.run(["sh", "-c", script], check=False).returncode, script
    host.start_service("one", ["sleep", "1357"])
    assert [service.running for service in host.services()] == [True]
    doctor = {check.name: check.detail for check in labs.backend.doctor()}
    assert doctor["lab mode"].startswith("rootless")
    (behind,) = labs.place(labs.pool("n", 1, "us", nat=True, mtu=9000))
    labs.create([behind])
    assert labs.backend.read_machine(behind.inputs) == behind.inputs
    labs.host(behind).run(["ping", "-c1", "-W2", "a-0.lab.swarm"])
    assert host.run(["ping", "-c1", "-W1", "n-0.lab.swarm"], check=False).returncode
    labs.host(behind).start_service("one", ["sleep", "1358"])
    labs.reboot(behind)
    assert [service.running for service in labs.host(behind).services()] == [True]
    labs.delete([behind])
    holders = labs.holders()
    host.run(["sh", "-c", "mkdir -p /srv/x/y; touch /srv/x/y/z; chmod 0 /srv/x/y /srv/x"])
    labs.delete(placements[:1])
    labs.host(placements[1]).run(["ping", "-c1", "-W2", placements[-1].underlay[0]])
    (limited,) = labs.place(labs.pool("c", 1, resources={"memory": "64Mi"}))
    try:
        labs.backend.create_machine(limited.inputs)
    except labs.cgroups.CannotLimit as error:
        assert "memory" in error.message and "delegated" in error.hint
    labs.delete(placements[1:])
    labs.backend.delete_machine(limited.inputs)
    assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()
    assert not [process for process in holders if process.alive()]
    labs.create(placements)
    labs.holders()[0].kill()
    assert sorted(labs.backend.sweep(labs.STACK)) == ["a-0", "a-1", "b-0"]
    assert labs.soon(lambda: not labs.left_behind()), labs.left_behind()
finally:
    labs.backend.sweep(labs.STACK)
print("done")
"""


@pytest.fixture
def stage() -> Iterator[Path]:
    """A folder that anybody may enter; what is mounted there belongs to the test's own mount namespace."""
    folder = Path(tempfile.mkdtemp(prefix="swarmctl-rootless-", dir="/var/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def test_the_whole_life_of_a_lab_as_an_ordinary_user(stage: Path) -> None:
    if os.geteuid() == 0:
        packages = next(path for path in sys.path if path.endswith("site-packages"))
        # The interpreter and the packages may stand where only root may enter: they are bound to where anybody may.
        name = Path(os.path.realpath(sys.executable)).relative_to(os.path.realpath(sys.base_prefix))
        command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", STAGE, "sh", str(stage)]
        command += [sys.base_prefix, packages, str(ROOT), f"{stage}/python/{name}"]
        path, home = f"{stage}/source:{stage}/packages", f"{stage}/home"
        library = f"{stage}/python/lib"
    else:
        command, path, home, library = [sys.executable], str(ROOT), str(stage), ""
    env = {
        "PATH": os.environ["PATH"],
        "HOME": home,
        "PYTHONPATH": path,
        "PYTHONDONTWRITEBYTECODE": "1",
        **({"LD_LIBRARY_PATH": library} if library else {}),
    }
    done = subprocess.run(
        [*command, "-c", CYCLE], env=env, cwd="/", capture_output=True, text=True, timeout=120, check=False
    )
    if done.stdout.startswith("skip:"):
        pytest.skip(done.stdout)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
