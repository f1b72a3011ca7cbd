"""What the engine is started with: a home of its own, a private copy of the state, an environment made from scratch.

Nothing of the user's own Pulumi is seen or touched: not the plugins, not the login, not a `PULUMI_…` variable.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec

from swarmctl import __version__, paths
from swarmctl.processes import Process, boot_id
from swarmctl.state.checkpoint import latest, salt
from swarmctl.state.files import create
from swarmctl.state.runs import VARIABLE, RunFolder
from swarmctl.state.store import PROJECT, Store, checkpoint_file
from swarmctl.state.unlocking import opened

Json = Any
_MEMORY, _MEMORY_EACH = 220 << 10, 20
"""KiB that the engine may take before it collects garbage in earnest: at all, and for each resource."""
_PASSED = re.compile(
    r"HOME|PATH|SSH_AUTH_SOCK|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|SSL_CERT_(FILE|DIR)|SWARMCTL_\w+"
    r"|(https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
"""Variables that are handed on to the engine, and by it to the provider."""

_PROJECT_FILE = f"name: {PROJECT}\nruntime: {PROJECT}\ndescription: Written by swarmctl; not to be edited.\n"
_SCRATCH = re.compile(r"swarmctl-(?P<namespace>[0-9]{1,18})-(?P<pid>[0-9]{1,10})-(?P<start>[0-9]{1,18})-\w+")
"""Names of scratch folders, by the process that they are for; its id means something in its namespace only."""
_META_FILE = "version: 1\n"
"""Says that stacks are kept by project."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where and with what the engine runs."""

    stack: str
    folder: Path
    """Has `state/`, what the engine reads and writes, and `project/`, what it is started in."""
    passphrase: Path
    home: Path
    run: Mapping[str, str] = field(default_factory=dict)
    """Variables that say which changing run this is; empty for what only looks."""

    @property
    def state(self) -> Path:
        """The engine's state store."""
        return self.folder / "state"

    @property
    def project(self) -> Path:
        """The engine's working directory."""
        return self.folder / "project"

    @property
    def checkpoint(self) -> Path:
        """The engine's record of the resources."""
        return checkpoint_file(self.state, self.stack)

    def environment(self, inherited: Mapping[str, str], resources: int = 0) -> dict[str, str]:
        """The engine's environment, from ours by an allow-list, for so many resources."""
        passed = {name: it for name, it in inherited.items() if _PASSED.fullmatch(name) and name != VARIABLE}
        return {
            **passed,
            **self.run,
            "PULUMI_HOME": str(self.home),
            # The query keeps the store from writing a second file with attributes beside every file.
            "PULUMI_BACKEND_URL": f"file://{quote(str(self.state), safe='/ ')}?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.passphrase),
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_AUTOMATION_API": "true",
            # Without it the engine does not know `--event-log`.
            "PULUMI_DEBUG_COMMANDS": "true",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_IGNORE_AMBIENT_PLUGINS": "true",
            "PULUMI_DIY_BACKEND_NO_LEGACY_WARNING": "true",
            "PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS": "true",
            # It would write all of its state after every step. The journal has what happens until it writes it once.
            "PULUMI_SKIP_CHECKPOINTS": "true",
            # The engine lives a second or a few: collecting garbage less often is a tenth of that.
            "GOGC": "400",
            # Nothing but collecting is done where all that it holds is near the limit.
            "GOMEMLIMIT": f"{_MEMORY + _MEMORY_EACH * resources}KiB",
        }


def of_run(store: Store, run: RunFolder, checkpoint: Mapping[str, Json] | None, home: Path) -> Workspace:
    """A changing run's own, in the run's folder, on a copy of `checkpoint` (None: nothing is recorded yet).

    Raises `PassphraseGone`, as `scratch` does.
    """
    if checkpoint:
        checkpoint = opened(store.keys, checkpoint)
    space = Workspace(store.identity, run.path, store.passphrase_file(), home, run.environment)
    _prepare(space, checkpoint)
    return space


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """A folder of our own for what only looks; those that killed runs have left are removed first."""
    itself = Process.of(os.getpid())
    if itself is None:
        raise RuntimeError("this process is not listed in /proc")
    with contextlib.suppress(OSError):
        _remove_abandoned(Path(tempfile.gettempdir()))
    with tempfile.TemporaryDirectory(prefix=f"swarmctl-{_namespace()}-{itself.pid}-{itself.start}-") as folder:
        yield Path(folder)


def _remove_abandoned(temporary: Path) -> None:
    for path in temporary.glob("swarmctl-*"):
        named = _SCRATCH.fullmatch(path.name)
        if named is None or int(named["namespace"]) != _namespace():
            continue
        whose = Process(int(named["pid"]), int(named["start"]), boot_id())
        with contextlib.suppress(OSError):
            if path.lstat().st_uid == os.geteuid() and not path.is_symlink() and not whose.alive():
                shutil.rmtree(path)


def _namespace() -> int:
    return os.stat("/proc/self/ns/pid").st_ino


def scratch(store: Store, folder: Path, checkpoint: Mapping[str, Json] | None, home: Path) -> Workspace:
    """A copy in `folder`, for what only looks: the store stays as it is, whoever works on it.

    Protection is left out of it: the engine would break off at the first protected thing that would go.
    """
    if checkpoint:
        checkpoint = opened(store.keys, checkpoint)
    kept = store.keys.passphrase(salt(checkpoint))
    passphrase = kept if kept.exists() else folder / "passphrase"
    space = Workspace(store.identity, folder, passphrase, home)
    if passphrase != kept:
        create(passphrase, secrets.token_urlsafe(32).encode())
    _prepare(space, _unprotected(checkpoint) if checkpoint else None)
    return space


def _unprotected(checkpoint: Mapping[str, Json]) -> dict[str, Json]:
    deployment = latest(checkpoint)
    if not any(it.get("protect") for it in deployment.get("resources") or ()):
        return dict(checkpoint)
    resources = [{key: it[key] for key in it if key != "protect"} for it in deployment["resources"]]
    return {**checkpoint, "checkpoint": {**checkpoint["checkpoint"], "latest": {**deployment, "resources": resources}}}


def _prepare(space: Workspace, checkpoint: Mapping[str, Json] | None) -> None:
    for folder in (space.checkpoint.parent, space.project):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    (space.project / "Pulumi.yaml").write_text(_PROJECT_FILE)
    (space.state / ".pulumi" / "meta.yaml").write_text(_META_FILE)
    if found := salt(checkpoint):
        # Where the engine keeps the salt of the passphrase; JSON is YAML.
        (space.project / f"Pulumi.{space.stack}.yaml").write_text(json.dumps({"encryptionsalt": found}))
    space.checkpoint.write_bytes(msgspec.json.encode(checkpoint or empty(space.stack)))


def empty(stack: str) -> dict[str, Json]:
    """The checkpoint of a stack that was never applied, as `pulumi stack init` begins it."""
    return {"version": 3, "checkpoint": {"stack": f"organization/{PROJECT}/{stack}"}}


def engine_home(engine_version: str) -> Path:
    """The engine's home: nothing in it but what the engine itself keeps there."""
    return paths.cache_home() / "engine-home" / f"{engine_version}-{__version__}"


def without_logs(home: Path) -> None:
    """Keep the engine from logging every run into its home, at its most talkative: a quarter of its time and memory,
    and on the disk what nobody has asked for. It does without when the folder for them can't be made
    (pulumi v3.259.0, pkg/logging, `StartLogging`), so there is a file in its place."""
    logs = home / "logs"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if logs.is_dir():
        shutil.rmtree(logs, ignore_errors=True)
    logs.touch(exist_ok=True)
