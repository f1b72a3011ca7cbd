"""Runs the README's commands and writes what they print back into it, so that the README shows what is so.

A block that starts with "```console run" needs no engine (a test compares it each time); "```console lab" brings up
nodes; plain "```console" is shown and not run. All of them work in a copy of stacks/ with a data folder of its own.

usage: scripts/capture_readme.py [run|lab ...]     by default both
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
BLOCK = re.compile(r"^```console(?: (run|lab))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)

Run = Callable[[str], str]


def commands(block: str) -> list[str]:
    """The commands of a block: its lines that begin with a dollar sign."""
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def rendered(text: str, kinds: tuple[str, ...], run: Run) -> str:
    """`text` with the blocks of these kinds run anew."""

    def replace(match: re.Match[str]) -> str:
        if match[1] not in kinds:
            return match[0]
        shown = "".join(f"$ {command}\n{run(command)}" for command in commands(match[2]))
        return f"```console {match[1]}\n{shown}```"

    return BLOCK.sub(replace, text)


@contextmanager
def sandbox() -> Iterator[Run]:
    """A function that runs one shell command in a copy of stacks/ and returns what it prints."""
    with tempfile.TemporaryDirectory(prefix="swarmctl-readme-") as folder:
        shutil.copytree(ROOT / "stacks", Path(folder) / "stacks")
        home = Path.home()
        environment = {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "LC_ALL": "C.UTF-8",
            "NO_COLOR": "1",
            "COLUMNS": "100",
            "XDG_DATA_HOME": f"{folder}/data",
            "XDG_CACHE_HOME": os.environ.get("XDG_CACHE_HOME", f"{home}/.cache"),
        } | {name: value for name, value in os.environ.items() if name == "SWARMCTL_ENGINE"}

        def run(command: str) -> str:
            done = subprocess.run(
                ["sh", "-c", command],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=300,
                check=False,
            )
            lines = [line.rstrip() for line in done.stdout.strip("\n").splitlines()]
            return "".join(f"{line}\n" for line in lines)

        yield run


def main(kinds: tuple[str, ...]) -> None:
    """Write the README anew; whatever happens, no lab is left."""
    with sandbox() as run:
        try:
            text = rendered(README.read_text("utf-8"), kinds, run)
        finally:
            if "lab" in kinds:
                run("swarmctl -C stacks/lab destroy --yes")
    README.write_text(text, "utf-8")


if __name__ == "__main__":
    main(tuple(sys.argv[1:]) or ("run", "lab"))
