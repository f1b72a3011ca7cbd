"""A vendor's address with many repositories below it, each with a suite, a component and an index, as archives are."""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from email.utils import formatdate
from pathlib import Path
from typing import Any

from .build import Deb, build
from .repository import Key, entry

COMPONENT = "main"
ARCHITECTURE = "amd64"


class Tree:
    """Repositories in one folder, all signed by one key."""

    def __init__(self, folder: Path, key: Key, suite: str, origin: str) -> None:
        self.folder = folder
        self.key = key
        self.suite = suite
        self.origin = origin

    def repository(self, place: str, *packages: Deb) -> None:
        """Make one at that path; without packages it has an empty index."""
        root = self.folder / place
        pool = root / "pool"
        pool.mkdir(parents=True)
        index = "\n".join(entry(one, build(one, pool), "pool") for one in packages).encode()
        below = f"{COMPONENT}/binary-{ARCHITECTURE}/Packages"
        dist = root / "dists" / self.suite
        (dist / below).parent.mkdir(parents=True)
        (dist / below).write_bytes(index)
        lines = (
            f"Origin: {self.origin}",
            f"Suite: {self.suite}",
            f"Codename: {self.suite}",
            f"Date: {formatdate(usegmt=True)}",
            f"Architectures: {ARCHITECTURE}",
            f"Components: {COMPONENT}",
            "SHA256:",
            f" {hashlib.sha256(index).hexdigest()} {len(index)} {below}",
        )
        release = "".join(f"{line}\n" for line in lines).encode()
        (dist / "InRelease").write_bytes(self.key.gpg("--clearsign", stdin=release))

    def put(self, place: str, content: bytes) -> None:
        """Write a file beside the repositories."""
        file = self.folder / place
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)

    def into(self, host: Any, path: str) -> None:
        """Have a copy of all of it in a folder of a machine."""
        with tempfile.TemporaryFile() as archive:
            command = ["tar", "--owner=0", "--group=0", "--mode=a+rX", "-c", "-C", str(self.folder), "."]
            subprocess.run(command, check=True, stdout=archive)
            archive.seek(0)
            script = 'rm -rf "$0" && mkdir -p "$0" && tar -x -C "$0" && chmod 755 "$0"'
            host.run(["sh", "-c", script, path], stdin=archive.read(), timeout=60)
