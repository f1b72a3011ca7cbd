"""A release server in small on the loopback address, and programs that stand in for the engine and for Go."""

from __future__ import annotations

import hashlib
import io
import platform
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from swarmctl import toolchain

VERSION = toolchain.PULUMI.version
ARCHIVE = f"pulumi-v{VERSION}-linux-{'arm64' if platform.machine() == 'aarch64' else 'x64'}.tar.gz"
SUMS = f"pulumi-{VERSION}-checksums.txt"


def program(version: str) -> bytes:
    """A program that says it is the engine `version`."""
    return f'#!/bin/sh\n[ "$1" = version ] || exit 2\necho v{version}\n'.encode()


def archive(*members: tuple[str, bytes | None]) -> bytes:
    """A release archive; content None makes a symbolic link to /etc/passwd."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as bundle:
        for name, content in members:
            member = tarfile.TarInfo(name)
            if content is None:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                bundle.addfile(member)
            else:
                member.size = len(content)
                bundle.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


@dataclass
class Releases:
    """What the server answers with, and what it was asked for."""

    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    cut: int | None = None
    """Send only so many bytes of the archive."""
    stall: float = 0.0
    """Wait so many seconds in the middle of the archive."""
    redirect: str = ""
    asked: list[str] = field(default_factory=list)

    def publish(self, content: bytes, *, sha256: str | None = None) -> None:
        """Offer `content` as the release, listed with `sha256` (by default the right one)."""
        listed = sha256 or hashlib.sha256(content).hexdigest()
        self.files = {ARCHIVE: content, SUMS: f"{'0' * 64}  other.tar.gz\n{listed}  {ARCHIVE}\n".encode()}


@contextmanager
def serve() -> Iterator[Releases]:
    """A server on 127.0.0.1 for the length of the block."""
    releases = Releases()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.rpartition("/")[2]
            releases.asked.append(name)
            if releases.redirect:
                self.send_response(302)
                self.send_header("Location", releases.redirect)
                self.end_headers()
                return
            content = releases.files.get(name)
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            sent = content[: releases.cut] if name == ARCHIVE else content
            self.wfile.write(sent[: len(sent) // 2])
            if name == ARCHIVE:
                self.wfile.flush()
                time.sleep(releases.stall)
            self.wfile.write(sent[len(sent) // 2 :])

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                self.close_connection = True  # the client has given up, as the test wants

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    releases.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield releases
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def executable(path: Path, content: bytes) -> Path:
    """Write a program."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    path.chmod(0o755)
    return path


def fake_go(folder: Path, *, status: int = 0, builds: bytes = b"", log: Path | None = None) -> Path:
    """A `go` in `folder` that lists three packages and "builds" by writing `builds` to what follows -o."""
    (folder / "built").parent.mkdir(parents=True, exist_ok=True)
    (folder / "built").write_bytes(builds)
    note = f"echo \"$@\" >> '{log}'" if log else ":"
    script = f"""#!/bin/sh
{note}
if [ "$1" = list ]; then
  echo "go: downloading example.org/one v1.0.0" >&2
  printf 'a\\nb\\nc\\n'; exit 0
fi
[ {status} = 0 ] || {{ echo "example.org/one: no route to the module proxy" >&2; exit {status}; }}
printf 'a\\nb\\n' >&2
while [ "$1" != -o ]; do shift; done
cat '{folder}/built' > "$2"
"""
    return executable(folder / "go", script.encode())
