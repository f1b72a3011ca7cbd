"""Where swarmctl keeps things on this computer, by the XDG base directory specification (0.8)."""

from __future__ import annotations

import os
from pathlib import Path


def data_home() -> Path:
    """State, labs and logs: `$XDG_DATA_HOME/swarmctl`, by default `~/.local/share/swarmctl`."""
    return _base("XDG_DATA_HOME", ".local/share") / "swarmctl"


def cache_home() -> Path:
    """What can be fetched or built again: `$XDG_CACHE_HOME/swarmctl`, by default `~/.cache/swarmctl`."""
    return _base("XDG_CACHE_HOME", ".cache") / "swarmctl"


def _base(variable: str, default: str) -> Path:
    value = os.environ.get(variable, "")
    # The specification says that relative paths are to be ignored.
    return Path(value) if value.startswith("/") else Path.home() / default


def stack_dir(stack: str) -> Path:
    """The folder of one stack: state, passphrase file, lock, the engine's project. `stack` is its identity."""
    return data_home() / "stacks" / stack


def lab_dir(stack: str) -> Path:
    """The folder of one stack's lab: nodes' trees and marks."""
    return data_home() / "lab" / stack


def log_dir() -> Path:
    """Logs of `--debug` runs."""
    return data_home() / "logs"


def ssh_dir(stack: str) -> Path:
    """The folder with what is noted of one stack's machines over SSH."""
    return data_home() / "ssh" / stack
