"""Fetches the official Pulumi release: over TLS, bounded, checked against the release's list of SHA-256 sums.

What the check proves: the archive is byte for byte the one that the release lists, neither damaged nor cut short nor
swapped on the download host alone, because list and archive come from two hosts. It doesn't protect from someone who
can change both. With a mirror (SWARMCTL_ENGINE_URL) both come from the mirror, and the mirror is trusted.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import platform
import re
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import IO

from swarmctl import __version__
from swarmctl.errors import SwarmError

MIRROR_VARIABLE = "SWARMCTL_ENGINE_URL"
"""Environment variable with the address of a folder that holds both the archives and the list of sums."""
ARCHIVES = "https://get.pulumi.com/releases/sdk"
CHECKSUMS = "https://github.com/pulumi/pulumi/releases/download/v{version}"

STALL_TIMEOUT = 20.0
"""Seconds without a byte before a download is given up."""
WHOLE_TIMEOUT = 1800.0
"""Seconds for one download in all."""
_LIST_LIMIT = 1 << 20
_ARCHIVE_LIMIT = 512 << 20
_UNPACKED_LIMIT = 2 << 30
_CHUNK = 1 << 18
_MEMBER = "pulumi/pulumi"
_PLATFORMS = {("linux", "x86_64"): "linux-x64", ("linux", "aarch64"): "linux-arm64"}
_LOOPBACK = ("127.0.0.1", "localhost", "::1")

BytesDone = Callable[[int, int], None]
"""Called as (bytes done, bytes in all or 0 when that isn't known)."""


class DownloadFailed(SwarmError):
    """The release could not be fetched, or is not what its list of sums says."""


def fetch_release(version: str, target: Path, on_bytes: BytesDone) -> None:
    """Write the engine of release `version` to `target`. Raises DownloadFailed; then `target` is not to be used."""
    name = f"pulumi-v{version}-{_platform()}.tar.gz"
    mirror = os.environ.get(MIRROR_VARIABLE, "").rstrip("/")
    archives, checksums = (mirror, mirror) if mirror else (ARCHIVES, CHECKSUMS.format(version=version))
    sums_url = f"{checksums}/pulumi-{version}-checksums.txt"
    with tempfile.TemporaryFile(dir=target.parent) as sums, tempfile.TemporaryFile(dir=target.parent) as archive:
        _fetch(sums_url, sums, _LIST_LIMIT, lambda _done, _total: None)
        expected = _listed(sums, name, sums_url)
        actual = _fetch(f"{archives}/{name}", archive, _ARCHIVE_LIMIT, on_bytes)
        if actual != expected:
            raise DownloadFailed(f"{archives}/{name} has SHA-256 {actual}, but {sums_url} lists {expected}")
        _extract(archive, target, name)


def _platform() -> str:
    here = (platform.system().lower(), platform.machine().lower())
    if here not in _PLATFORMS:
        raise DownloadFailed(f"swarmctl knows no Pulumi release for {' '.join(here)}")
    return _PLATFORMS[here]


def _listed(sums: IO[bytes], name: str, url: str) -> str:
    for line in sums.read().decode("utf-8", "replace").splitlines():
        found = re.fullmatch(r"([0-9a-fA-F]{64})\s+\*?(\S+)", line.strip())
        if found and found[2] == name:
            return found[1].lower()
    raise DownloadFailed(f"{url} lists no SHA-256 sum for {name}")


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from TLS to plain text."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        _require_tls(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _require_tls(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
        raise DownloadFailed(f"{url} is not an https address")


def _fetch(url: str, sink: IO[bytes], limit: int, on_bytes: BytesDone) -> str:
    """Copy what is at `url` to `sink`, rewind it, and return the SHA-256 sum in hex."""
    _require_tls(url)
    request = urllib.request.Request(url, headers={"User-Agent": f"swarmctl/{__version__}"})
    opener = urllib.request.build_opener(_NoDowngrade)
    digest = hashlib.sha256()
    deadline = time.monotonic() + WHOLE_TIMEOUT
    done = 0
    try:
        with opener.open(request, timeout=STALL_TIMEOUT) as response:
            total = int(response.headers.get("Content-Length") or 0)
            while chunk := response.read(_CHUNK):
                done += len(chunk)
                if max(done, total) > limit:
                    raise DownloadFailed(f"{url} is larger than {limit >> 20} MiB")
                if time.monotonic() > deadline:
                    raise DownloadFailed(f"{url} took longer than {WHOLE_TIMEOUT:.0f} s")
                digest.update(chunk)
                sink.write(chunk)
                on_bytes(done, total)
    except urllib.error.HTTPError as error:
        error.close()
        raise DownloadFailed(f"{url} answered {error.code} {error.reason}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        # URLError, time-outs and TLS failures are OSErrors; ValueError is an address that urllib can't read.
        reason = getattr(error, "reason", None) or error
        raise DownloadFailed(f"{url}: {reason}") from error
    if done < total:
        raise DownloadFailed(f"{url} ended after {done} of {total} bytes")
    sink.seek(0)
    return digest.hexdigest()


def _extract(archive: IO[bytes], target: Path, name: str) -> None:
    """Write the one member that is the engine to `target`; nothing else of the archive touches the disk."""
    unpacked = 0
    try:
        with tarfile.open(fileobj=archive, mode="r|gz") as bundle:
            for member in bundle:
                unpacked += member.size
                if unpacked > _UNPACKED_LIMIT:
                    raise DownloadFailed(f"{name} unpacks to more than {_UNPACKED_LIMIT >> 30} GiB")
                if member.name.removeprefix("./") != _MEMBER:
                    continue
                content = bundle.extractfile(member) if member.isreg() else None
                if content is None:
                    raise DownloadFailed(f"{_MEMBER} in {name} is not a plain file")
                with target.open("wb") as out:
                    shutil.copyfileobj(content, out)
                return
    except (tarfile.TarError, EOFError, OSError) as error:
        raise DownloadFailed(f"{name} can't be unpacked: {error}") from error
    raise DownloadFailed(f"{name} holds no {_MEMBER}")
