"""`--debug`: a log of the run in a file that only the user can read, with secrets taken out before they are written."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from swarmctl import __version__, paths
from swarmctl.errors import SwarmError
from swarmctl.reports.console import look, remark

_KEY = re.compile(r"[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=")
"""32 bytes in base64: a WireGuard key. Public and private ones look the same, so no key is written out."""
_BLOCK = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_NAMED = re.compile(
    r"""(?ix)(\b[\w-]*(?:passphrase|password|passwd|secret|token|private[_-]?key|api[_-]?key)[\w-]*["']?\s*[:=]\s*)
    (?: "[^"\n]*" | '[^'\n]*' | (?:bearer\s+)?[^\s,;)}\]]+ )"""
)
_AWS = re.compile(r"\b(?:AKIA|ASIA)[A-Z0-9]{16}\b")
_SECRET_NAMES = re.compile(r"PASSPHRASE|PASSWORD|SECRET|TOKEN|PRIVATE|API_?KEY", re.IGNORECASE)
_SHORTEST = 6
"""Known secrets shorter than this are not searched for: they would blank ordinary words."""
_KEPT = 20
"""Log files kept; older ones are removed."""


class Scrubber:
    """Takes secrets out of text: what looks like one, and the known ones."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        long = sorted({secret for secret in known if len(secret) >= _SHORTEST}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, long))) if long else None

    @classmethod
    def of_environment(cls, environ: Mapping[str, str]) -> Scrubber:
        """One that knows the values of all variables whose names say that they hold secrets."""
        return cls(
            value
            for name, value in environ.items()
            # A name such as PULUMI_CONFIG_PASSPHRASE_FILE holds a path, which is worth having in a log.
            if _SECRET_NAMES.search(name) and not name.endswith("_FILE")
        )

    def scrub(self, text: str) -> str:
        """`text` without secrets. Keys become a fingerprint, so that one can still see which is the same as which."""
        if self._known:
            text = self._known.sub("(secret)", text)
        text = _BLOCK.sub("(private key)", text)
        text = _NAMED.sub(r"\1(secret)", text)
        return _AWS.sub("(key)", _KEY.sub(_fingerprint, text))


def without_secrets(text: str) -> str:
    """`text` without the declared secrets that this process has read; it has read none where their module is not even
    loaded, and loading it takes time."""
    secrets = sys.modules.get("swarmctl.kinds.secrets")
    return secrets.redact(text) if secrets is not None else text


def _fingerprint(match: re.Match[str]) -> str:
    return f"(key {hashlib.sha256(match[0].encode()).hexdigest()[:8]})"


class _ScrubbingFormatter(logging.Formatter):
    def __init__(self, scrubber: Scrubber) -> None:
        super().__init__("%(asctime)s.%(msecs)03d %(levelname)-7s %(name)s [%(threadName)s] %(message)s", "%H:%M:%S")
        self._scrubber = scrubber

    def format(self, record: logging.LogRecord) -> str:
        """The whole line, traceback included, scrubbed."""
        return self._scrubber.scrub(without_secrets(super().format(record)))


class _File(logging.FileHandler):
    """Says once that it can't write, and lets the run go on without."""

    def __init__(self, path: Path) -> None:
        super().__init__(path, encoding="utf-8", errors="backslashreplace")
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:
        """Called where a line could not be written, with the error at work."""
        if self._told:
            return
        self._told = True
        error = sys.exc_info()[1]
        why = (isinstance(error, OSError) and error.strerror) or type(error).__name__
        text = remark(f"the log {self.baseFilename} is not whole: {why}", warning=True, color=look(sys.stderr).color)
        print(text, file=sys.stderr)


def start(argv: list[str]) -> Path:
    """Send everything that is logged in this process to a new file in `paths.log_dir()`, mode 0600; returns its path.

    Raises SwarmError when the file can't be made.
    """
    folder = paths.log_dir()
    path = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        handler = _File(path)
    except OSError as error:
        raise SwarmError(f"cannot write the log {path}: {error.strerror}", "run it without --debug") from error
    _remove_old(folder)
    handler.setFormatter(_ScrubbingFormatter(Scrubber.of_environment(os.environ)))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    python = sys.version.split()[0]
    logging.getLogger("swarmctl").info("swarmctl %s, Python %s, %s: %s", __version__, python, sys.platform, argv)
    return path


def _remove_old(folder: Path) -> None:
    for old in sorted(folder.glob("*.log"))[:-_KEPT]:
        old.unlink(missing_ok=True)
