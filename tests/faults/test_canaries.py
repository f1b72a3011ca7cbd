"""50 secrets go through every command and every error path, and nobody finds any of them afterwards."""

from __future__ import annotations

import base64
import hashlib
import os
import re
import resource
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from bench.costless.world import VARIABLE
from tests.faults.stack import CLI, Stack
from tests.faults.test_kills import changed
from tests.integration.watching import alive

pytestmark = [pytest.mark.integration, pytest.mark.slow]
EACH = 25
ROLES = {"engine": "--event-log", "provider": "provider.py"}
LARGEST = 50_000_000


@dataclass
class Canaries:
    """The secrets, and where they are."""

    env: dict[str, str]
    files: dict[str, str]
    folder: Path
    values: dict[str, str] = field(default_factory=dict)
    """By the thing that has it."""

    def forms(self) -> dict[bytes, str]:
        """Every form that is looked for, with the name of the thing whose secret it is."""
        found = {}
        for name, value in self.values.items():
            raw = value.encode()
            # In base64 the middle is the same wherever the value begins in what is encoded, for one of three offsets.
            codes = [base64.b64encode(b"\0" * offset + raw)[4:-4] for offset in range(3)]
            for form in (raw, raw[:16], raw.hex().encode(), *codes):
                found[form] = name
        return found


class Searcher:
    """Looks for all forms at once."""

    def __init__(self, canaries: Canaries) -> None:
        self.forms = canaries.forms()
        self.pattern = re.compile(b"|".join(map(re.escape, sorted(self.forms, key=len, reverse=True))))

    def __call__(self, content: bytes) -> set[str]:
        return {self.forms[hit] for hit in self.pattern.findall(content)}


class Watcher(threading.Thread):
    """Collects argv and environment of every process that works on the world, but for the command line's own
    environment, in which the user has put the secrets; and who has an anonymous file of ours."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(daemon=True)
        self.mark = f"{VARIABLE}={stack.env[VARIABLE]}".encode()
        self.seen: set[bytes] = set()
        self.holders: set[str] = set()
        self.uncapped: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.wait(0.01):
            for proc in Path("/proc").iterdir():
                if proc.name.isdigit():
                    try:
                        self.look(proc)
                    except OSError:
                        continue

    def look(self, proc: Path) -> None:
        argv = (proc / "cmdline").read_bytes()
        environment = (proc / "environ").read_bytes()
        if self.mark not in environment.split(b"\0"):
            return
        self.seen.add(argv)
        words = argv.decode().split("\0")
        if str(CLI) in words and "launch.py" not in argv.decode():
            return
        # Between fork and exec it is still a copy of the command line's.
        if (proc / "cmdline").read_bytes() == argv:
            self.seen.add(environment)
        role = next((it for it, word in ROLES.items() if word in argv.decode()), "other")
        if "launch.py" in argv.decode() or role == "other":
            return
        if not re.search(r"Max core file size +0 +0", (proc / "limits").read_text()):
            self.uncapped.add(role)
        if any(os.readlink(it).startswith("/memfd:swarmctl") for it in (proc / "fd").iterdir()):
            self.holders.add(role)


@pytest.fixture
def canaries(tmp_path: Path) -> Canaries:
    folder = tmp_path / "stack" / "secrets"
    folder.mkdir(parents=True)
    made = Canaries({}, {}, folder)
    for number in range(EACH):
        made.env[f"CANARY_{number}"] = made.values[f"e{number}"] = f"canary/{secrets.token_urlsafe(24)}+ü"
        made.files[f"c{number}"] = made.values[f"f{number}"] = f'canary"{secrets.token_urlsafe(24)}\n{number} more'
        (folder / f"c{number}").write_text(made.files[f"c{number}"] + "\n")
    return made


@pytest.fixture
def watcher(stack: Stack) -> Iterator[Watcher]:
    thread = Watcher(stack)
    thread.start()
    yield thread
    thread.over.set()
    thread.join()


def declare(stack: Stack, version: int = 1, fail: dict[str, object] | None = None, slow: int = 0) -> None:
    more: dict[str, object] = {"version": version} | ({"fail": fail} if fail else {}) | ({"slow": slow} if slow else {})
    by_env = {f"e{it}": {"secret": {"env": f"CANARY_{it}"}, **more} for it in range(EACH)}
    by_file = {f"f{it}": {"secret": {"file": f"secrets/c{it}"}, **more} for it in range(EACH)}
    stack.declare(**by_env, **by_file)


def files(stack: Stack, but: Path) -> Iterator[Path]:
    """Every file that swarmctl may have written: the stack's own folders, this machine's temp folders, and what the
    engine keeps in its home."""
    homes = Path(stack.env["XDG_CACHE_HOME"]) / "swarmctl" / "engine-home"
    for folder in (stack.root, homes):
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink() and not path.is_relative_to(but):
                yield path
    for folder in (Path("/tmp"), Path("/var/tmp"), Path("/dev/shm")):
        for pattern in ("*", "swarmctl-*/**/*", "pulumi*/**/*"):
            for path in folder.glob(pattern):
                if path.is_file() and not path.is_symlink() and path.stat().st_size < LARGEST:
                    yield path


def test_no_canary_is_found_anywhere(stack: Stack, canaries: Canaries, watcher: Watcher) -> None:
    search = Searcher(canaries)
    stack.env |= canaries.env
    quoting: dict[str, object] = {"create": [0], "update": [0], "delete": [0], "times": 1, "quoting": True}
    declare(stack, fail=quoting)
    stack("--debug", "fmt", "--check", code=1)
    plan = str(stack.root / "plan.json")

    for command in (
        ["validate"], ["fmt"], ["fmt", "--check"], ["explain"], ["explain", "SW2301"], ["explain", "Costless.secret"],
        ["schema"], ["init", str(stack.root / "another")], ["version"], ["doctor"], ["doctor", "--format", "json"],
    ):  # fmt: skip
        stack("--debug", *command)
    stack("--debug", "doctor", "--stack")
    stack("--debug", "plan")
    stack("--debug", "plan", "--format", "json")
    stack("--debug", "plan", "--out", plan)
    stack("--debug", "plan", "show", plan)
    stack("--debug", "plan", "show", plan, "--format", "json")
    failed = stack("--debug", "apply", "--yes", code=1)
    assert "its secret is (secret)" in failed.err
    stack("--debug", "apply", "--yes")
    proofs = {address: thing.inputs["proof"] for address, thing in stack.world.things().items()}
    assert proofs == {
        f"{name}[0]": hashlib.sha256(value.encode()).hexdigest() for name, value in canaries.values.items()
    }, "every thing was made with its secret"

    declare(stack, version=2, fail=quoting)
    stack("--debug", "plan", "--out", plan)
    stack("--debug", "apply", "--plan", plan, "--yes", code=1)
    stack("--debug", "apply", "--yes", "--format", "json")
    again = quoting | {"times": 2}
    declare(stack, version=3, fail=again)
    stack("--debug", "apply", "--yes", "--target", "costless/e1[0]", "--target", "costless/f1[0]", code=1)
    stack("--debug", "apply", "--yes", "--target", "costless/e1[0]", "--target", "costless/f1[0]")
    stack("--debug", "apply", "--yes", "--no-refresh", code=1)
    stack("--debug", "apply", "--yes", "--no-refresh")

    stack.world.tamper("e0[0]", {**stack.world.things()["e0[0]"].inputs, "version": 7})
    stack("--debug", "drift", code=21)
    stack("--debug", "drift", "--format", "json", code=21)
    backup = str(stack.root / "backup.json")
    for command in (
        ["status"], ["status", "--format", "json"], ["graph"], ["state", "list"], ["state", "show", "costless/e0[0]"],
        ["state", "show", "costless/f0[0]", "--format", "json"], ["state", "backup", backup],
        ["state", "restore", backup, "--yes"], ["state", "restore", "1", "--yes", "--format", "json"],
        ["state", "rotate-passphrase"], ["state", "migrate"], ["lock", "show"], ["lock", "release"],
        ["lock", "release", "--force"], ["doctor"],
    ):  # fmt: skip
        stack("--debug", *command)
    stack("--debug", "apply", "--yes")  # what the first generation knows as begun is read back
    stack.lose_the_store()
    stack("--debug", "doctor", "--stack", code=1)
    stack("--debug", "doctor", "--stack", "--adopt")
    stack("--debug", "doctor", "--stack")
    stack.lose_the_store()
    failed = stack("--debug", "doctor", "--stack", "--remove", "--yes", code=1)
    assert "the secret from" in failed.err, "who removes what only marks tell of has no secrets, not even to quote one"
    declare(stack, version=3)
    stack("--debug", "doctor", "--stack", "--remove", "--yes")
    assert stack.world.things() == {}
    stack("--debug", "apply", "--yes")
    elsewhere = stack.root / "elsewhere"
    stack("--debug", "state", "migrate", "--to", f"file://{elsewhere}")
    stack("--debug", "plan", code=1)
    stack.moved = elsewhere
    declare(stack, version=3)
    stack("--debug", "plan", "--detailed-exitcode")
    assert watcher.seen

    # Errors: one that is not set, one that is not there, and a run that is killed in the middle.
    stack("--debug", "apply", "--yes", env={"CANARY_3": ""}, code=4)
    (canaries.folder / "c3").rename(canaries.folder / "away")
    missing = stack("--debug", "plan", code=4)
    assert "SW2301" in missing.err + missing.out
    assert "stack.yaml:" in missing.err + missing.out
    (canaries.folder / "away").rename(canaries.folder / "c3")
    declare(stack, version=5, slow=60)
    before = stack.changes()
    for victim, number in (("provider", signal.SIGSEGV), ("engine", signal.SIGABRT), ("cli", signal.SIGSEGV)):
        run = stack.watch("--debug", "apply", "--yes")
        run.until(changed(before + 1))
        pid = run.find(victim)
        os.kill(pid, number)
        run.end()
        assert not alive(pid)
        stack.quiet()
        before = stack.changes()
        hits = {str(path): search(path.read_bytes()) for path in files(stack, canaries.folder)}
        assert {path: found for path, found in hits.items() if found} == {}, f"after the {victim} was killed"
    declare(stack, version=6, fail=quoting | {"times": 3})
    stack("--debug", "apply", "--yes", code=1)
    declare(stack, version=7, fail=quoting)
    stack("--debug", "apply", "--yes")
    # Which things still have a failure before them depends on what the killed runs had begun: all of them, or nearly.
    assert stack("--debug", "destroy", "--yes", code=None).code in (1, 7)
    stack("--debug", "destroy", "--yes")

    watcher.over.set()
    watcher.join()
    assert watcher.holders == {"provider"}, "only the provider has the file with the values"
    assert watcher.uncapped == set(), "none of them dumps core"
    assert [argv for argv in watcher.seen if search(argv)] == []
    said = {" ".join(run.args): search((run.out + run.err).encode()) for run in stack.runs}
    assert {run: hits for run, hits in said.items() if hits} == {}
    kept = {str(path): search(path.read_bytes()) for path in files(stack, canaries.folder)}
    assert {path: hits for path, hits in kept.items() if hits} == {}
    assert list((stack.root / "data" / "swarmctl" / "logs").glob("*.log")), "--debug has written logs"


def test_the_search_finds_a_canary_that_was_planted(stack: Stack, canaries: Canaries, watcher: Watcher) -> None:
    """The control: in a file, in each form, in an argument and in an environment."""
    search = Searcher(canaries)
    value = canaries.values["f3"]
    for form in (value, value.encode().hex(), base64.b64encode(f"x{value}".encode()).decode(), value[:16]):
        (stack.root / "data").mkdir(exist_ok=True)
        planted = stack.root / "data" / "planted"
        planted.write_text(f"… {form} …")
        assert {path for path in files(stack, canaries.folder) if search(path.read_bytes())} == {planted}
    for argv, environment in ((["x", value], {}), (["x"], {"X": value})):
        watcher.seen.clear()
        code = "import time; time.sleep(0.5)"
        subprocess.run([sys.executable, "-c", code, *argv], env=stack.env | environment, check=True)
        assert any(search(seen) == {"f3"} for seen in watcher.seen)


def test_the_command_line_that_has_read_secrets_dumps_no_core(stack: Stack, canaries: Canaries) -> None:
    stack.env |= canaries.env
    declare(stack, slow=200)
    before = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (before[1], before[1]))
    try:
        run = stack.watch("apply", "--yes")
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, before)
    run.until(changed(1))
    limits = Path(f"/proc/{run.find('cli')}/limits").read_text()
    assert re.search(r"Max core file size +0 +0", limits)
    assert run.end() == 0
