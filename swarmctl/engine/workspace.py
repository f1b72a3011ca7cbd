"""What the engine is started with: a home of its own, a project folder, an environment made from scratch.

Nothing of the user's own Pulumi is seen or touched: not the plugins, not the login, not a `PULUMI_…` variable.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from swarmctl import __version__, paths
from swarmctl.state.files import write
from swarmctl.state.store import PROJECT, Store, checkpoint_file

_PASSED = re.compile(
    r"HOME|PATH|USER|LOGNAME|LANG|LC_\w+|TZ|TMPDIR|XDG_\w+|SSL_CERT_(FILE|DIR)|SWARMCTL_\w+"
    r"|(https?|all|no)_proxy|(HTTPS?|ALL|NO)_PROXY"
)
"""Variables that are handed on to the engine, and by it to the provider."""

_PROJECT_FILE = f"name: {PROJECT}\nruntime: {PROJECT}\ndescription: Written by swarmctl; not to be edited.\n".encode()
_META_FILE = b"version: 1\n"
"""Says that stacks are kept by project."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where and with what the engine runs."""

    stack: str
    folder: Path
    """Has `state/`, what the engine reads and writes, and `project/`, what it is started in."""
    passphrase: Path
    home: Path

    @property
    def state(self) -> Path:
        """The engine's state store."""
        return self.folder / "state"

    @property
    def project(self) -> Path:
        """The engine's working directory."""
        return self.folder / "project"

    def environment(self, inherited: Mapping[str, str]) -> dict[str, str]:
        """The engine's environment, from ours by an allow-list."""
        passed = {name: value for name, value in inherited.items() if _PASSED.fullmatch(name)}
        return passed | {
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
            # The engine lives a second or a few: collecting garbage less often is a tenth of that.
            "GOGC": "400",
            "GOMEMLIMIT": "1GiB",
            "PULUMI_LOG_ROTATION_MAX_AGE_DAYS": "1",
            "PULUMI_LOG_ROTATION_MAX_TOTAL_MB": "16",
        }


def lasting(store: Store, home: Path) -> Workspace:
    """The store itself, for what changes things; call it with the store's lock held."""
    space = Workspace(store.identity, store.folder, store.passphrase_file(), home)
    _prepare(space)
    if not store.checkpoint.exists():
        store.checkpoint.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write(store.checkpoint, _empty(store.identity))
    return space


def scratch(store: Store, folder: Path, home: Path) -> Workspace:
    """A copy in `folder` of what is recorded, for what only looks: the store stays as it is, whoever works on it."""
    kept = store.folder / "passphrase"
    passphrase = kept if kept.exists() else folder / "passphrase"
    space = Workspace(store.identity, folder, passphrase, home)
    _prepare(space)
    if passphrase != kept:
        passphrase.write_text(secrets.token_urlsafe(32))
    settings = store.project / _settings(store.identity)
    if settings.exists():
        (space.project / settings.name).write_bytes(settings.read_bytes())
    checkpoint = checkpoint_file(space.state, store.identity)
    checkpoint.parent.mkdir(parents=True)
    recorded = store.read()
    checkpoint.write_bytes(_empty(store.identity) if recorded is None else json.dumps(recorded).encode())
    return space


def remove_logs(space: Workspace) -> None:
    """Remove the logs that the engine writes of every run, at its most talkative, into its home."""
    mine = re.compile(rf"organization\+{PROJECT}\+{re.escape(space.stack)}-[0-9T]+\.log")
    folder = space.home / "logs"
    for file in folder.iterdir() if folder.is_dir() else ():
        if mine.fullmatch(file.name):
            file.unlink(missing_ok=True)


def _prepare(space: Workspace) -> None:
    for folder in (space.state / ".pulumi", space.project):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for file, content in (
        (space.project / "Pulumi.yaml", _PROJECT_FILE),
        (space.state / ".pulumi" / "meta.yaml", _META_FILE),
    ):
        # Also when a full disk or a kill has left half of it.
        if not file.exists() or file.read_bytes() != content:
            file.write_bytes(content)


def _settings(stack: str) -> str:
    """Where the engine keeps the salt of the passphrase."""
    return f"Pulumi.{stack}.yaml"


def _empty(stack: str) -> bytes:
    """The checkpoint of a stack that was never applied, as `pulumi stack init` begins it."""
    return json.dumps({"version": 3, "checkpoint": {"stack": f"organization/{PROJECT}/{stack}"}}).encode()


def engine_home(engine_version: str) -> Path:
    """The engine's home: nothing in it but what the engine itself keeps there."""
    return paths.cache_home() / "engine-home" / f"{engine_version}-{__version__}"
