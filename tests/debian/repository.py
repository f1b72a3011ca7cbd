"""A signed apt repository of a test's own packages: a plain folder, signed by a key that was made for it.

It is flat (sources.list(5): a suite that ends in a slash), as the vendors' are. A node reads it from a folder
(`file:`) or over HTTP from its own loopback (`serving`).
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from email.utils import formatdate
from pathlib import Path
from typing import Any

from .build import Deb, build

PROGRAMS = ("dpkg-deb", "gpg", "apt-get")
"""What it takes; tests are skipped where one is missing."""


def missing() -> list[str]:
    return [program for program in PROGRAMS if shutil.which(program) is None]


class Key:
    """An OpenPGP key pair of its own, gone with `close`."""

    def __init__(self, name: str = "test") -> None:
        # Below /tmp: the agent's socket may have 107 characters at most.
        self.home = Path(tempfile.mkdtemp(prefix="swarmctl-gpg-", dir="/tmp"))
        self.home.chmod(0o700)
        self.gpg("--quick-generate-key", f"{name} <{name}@example.invalid>", "ed25519", "sign", "never")
        listed = self.gpg("--with-colons", "--list-keys").decode()
        self.fingerprint = next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))
        """40 hex digits in capitals."""
        self.public = self.gpg("--armor", "--export")
        """The keyring, armored, as vendors hand it out."""

    def gpg(self, *words: str, stdin: bytes = b"") -> bytes:
        command = ["gpg", "--homedir", str(self.home), "--batch", "--passphrase", "", *words]
        return subprocess.run(command, input=stdin, check=True, capture_output=True).stdout

    def close(self) -> None:
        subprocess.run(["gpgconf", "--homedir", str(self.home), "--kill", "all"], check=False, capture_output=True)
        shutil.rmtree(self.home, ignore_errors=True)


class Repository:
    """Packages in one folder; `publish` writes the index and signs it."""

    def __init__(self, folder: Path, key: Key) -> None:
        self.folder = folder
        self.key = key
        self._debs: dict[str, Deb] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def add(self, *packages: Deb) -> None:
        """Build and publish them, beside those that are there."""
        for package in packages:
            build(package, self.folder)
            self._debs[package.file] = package
        self.publish()

    def withdraw(self, name: str, version: str) -> None:
        """Take one away, as archives do with old versions."""
        for file in [file for file, one in self._debs.items() if (one.name, one.version) == (name, version)]:
            (self.folder / file).unlink()
            del self._debs[file]
        self.publish()

    def publish(self, key: Key | None = None) -> None:
        """Write the index anew and sign it, by another key if one is given."""
        index = "\n".join(entry(one, self.folder / one.file) for one in self._debs.values()).encode()
        (self.folder / "Packages").write_bytes(index)
        release = "".join(
            f"{line}\n"
            for line in (
                "Origin: swarmctl test",
                "Label: swarmctl test",
                f"Date: {formatdate(usegmt=True)}",
                "Architectures: amd64 arm64 i386",
                "SHA256:",
                f" {hashlib.sha256(index).hexdigest()} {len(index)} Packages",
            )
        ).encode()
        signer = key or self.key
        (self.folder / "Release").write_bytes(release)
        (self.folder / "InRelease").write_bytes(signer.gpg("--clearsign", stdin=release))
        (self.folder / "Release.gpg").write_bytes(signer.gpg("--armor", "--detach-sign", stdin=release))
        (self.folder / "key.asc").write_bytes(signer.public)

    def source(self, url: str, keyring: str) -> str:
        """The line for a file below /etc/apt/sources.list.d."""
        return f"deb [signed-by={keyring}] {url} ./\n"

    def into(self, host: Any, path: str = "/srv/repository") -> str:
        """Put a copy onto a machine (anything with `run`) and return the `file:` URL; an earlier copy is replaced."""
        files = [self.folder / name for name in ("Packages", "Release", "InRelease", "Release.gpg", "key.asc")]
        copy(host, [*files, *(self.folder / name for name in self._debs)], path)
        return f"file:{path}"


def copy(host: Any, files: Iterable[Path], path: str) -> None:
    """Put files into a folder of a machine, in the place of what is there."""
    with tempfile.TemporaryFile() as archive:
        names = [str(file) for file in files]
        bare = ["--transform", "s|.*/||", "--owner=0", "--group=0", "-cP", *names]
        subprocess.run(["tar", *bare], check=True, stdout=archive)
        archive.seek(0)
        script = 'rm -rf "$0" && mkdir -p "$0" && chmod 755 "$0" && tar -x -C "$0"'
        host.run(["sh", "-c", script, path], stdin=archive.read(), timeout=60)


SERVE = (
    "import http.server as it,sys;"
    "it.test(it.SimpleHTTPRequestHandler,it.ThreadingHTTPServer,port=int(sys.argv[1]),bind='127.0.0.1')"
)


def serving(host: Any, path: str = "/srv/repository", port: int = 8099, ready: str = "Release") -> str:
    """Serve that folder on the machine's own loopback, as a service of its; returns the URL."""
    program = f"import os;os.chdir({path!r});{SERVE}"
    host.start_service("repository", ["python3", "-c", program, str(port)])
    wait = 'i=0; until curl -sf "$0" >/dev/null; do i=$((i+1)); [ $i -lt 100 ] || exit 1; sleep 0.05; done'
    host.run(["sh", "-c", wait, f"http://127.0.0.1:{port}/{ready}"])
    return f"http://127.0.0.1:{port}"


def entry(package: Deb, file: Path, folder: str = ".") -> str:
    """A package in an index, its file in that folder of the repository."""
    content = file.read_bytes()
    fields = package.control() | {
        "Filename": f"{folder}/{file.name}",
        "Size": str(len(content)),
        "SHA256": hashlib.sha256(content).hexdigest(),
    }
    return "".join(f"{key}: {value}\n" for key, value in fields.items())
