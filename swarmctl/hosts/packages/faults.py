"""What apt and dpkg say when something fails, as one clear error each. Pure.

Only what these programs themselves write is recognised (apt 2.x, dpkg 1.2x, in the locale C); what a host prints is
untrusted, so names and paths out of it are taken only where they have the form of such, and cut.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from swarmctl.hosts.fence import one_line
from swarmctl.hosts.packages.errors import (
    NOT_WHOLE,
    BadSignature,
    DiskFull,
    Interrupted,
    Locked,
    Misconfigured,
    PackagesFailed,
    RepositoryUnreachable,
    ScriptFailed,
    UnknownPackage,
    Unmet,
)
from swarmctl.hosts.packages.model import NAME

SHOWN = 300
"""Characters of a host's own words in a message."""
MOST = 200_000
"""Characters that are looked through, from the end: a failing apt says why in its last lines."""


def fault(host: str, what: str, status: int, printed: str, said: str) -> PackagesFailed | None:
    """The error that `printed` and `said` (standard output and error) tell of; None when all went well."""
    if status == 0:
        return None
    text = f"{printed[-MOST:]}\n{said[-MOST:]}"
    for find in _FINDERS:
        if (found := find(host, what, text)) is not None:
            return found
    return PackagesFailed(
        f"{host}: {what} failed: {_last(said) or f'status {status}'}", "see /var/log/apt/term.log there"
    )


_NAME = rf"(?P<name>{NAME.pattern})"
_HOLDER = re.compile(r"(?:held by process|by another process with pid) ([0-9]{1,10})(?: \(([^()\n]{1,60})\))?")


def _locked(host: str, what: str, text: str) -> PackagesFailed | None:
    words = ("Could not get lock", "lock was locked by another process", "is another process using it")
    if not any(word in text for word in words):
        return None
    match = _HOLDER.search(text)
    program = f"{match[2]} " if match and match[2] else ""
    holder = f"{program}(process {match[1]})" if match else "another process"
    return Locked(
        f"{host}: {what} was not begun: {holder} works with the packages there and holds their lock",
        "wait until it has ended, then apply again",
    )


def _interrupted(host: str, what: str, text: str) -> PackagesFailed | None:
    if "dpkg was interrupted" not in text:
        return None
    return Interrupted(
        f"{host}: {what} was not begun: dpkg was cut off there and does nothing until that is finished",
        f"run `dpkg --configure -a` on {host}, then apply again",
    )


_SETTINGS = (
    r"^E: .{1,100}(?:line|stanza|entry) (?P<line>[0-9]{1,9}) in (?:source list|list file) (?P<file>/\S{1,200})",
    r"^E: Syntax error (?P<file>/[^\s:]{1,200}):(?P<line>[0-9]{1,9})",
)


def _misconfigured(host: str, what: str, text: str) -> PackagesFailed | None:
    match = next((found for one in _SETTINGS if (found := re.search(one, text, re.MULTILINE))), None)
    if match is None and "list of sources could not be read" not in text:
        return None
    at = f"{match['file']}, line {match['line']}" if match else "the list of sources"
    return Misconfigured(
        f"{host}: {what} was not begun: apt can't read its own settings: {one_line(at)}",
        f"mend that, see what `apt-get check` says on {host}, then apply again",
    )


def _full(host: str, what: str, text: str) -> PackagesFailed | None:
    if "No space left on device" not in text and "enough free space in" not in text:
        return None
    match = re.search(r"enough free space in (/[A-Za-z0-9/._-]{1,200}[A-Za-z0-9_-])", text)
    match = match or re.search(r" to '(/[A-Za-z0-9/._+~-]{1,200})\.dpkg-new'", text)
    match = match or re.search(r"bytes were written to (/[A-Za-z0-9/._+~%-]{1,400}): No space", text)
    where = f" at {match[1]}" if match else ""
    return DiskFull(
        f"{host}: {what} failed: the disk is full{where}", "make room there (`apt-get clean`), then apply again"
    )


_CHANGED = r"Hash Sum mismatch|File has unexpected size"
_SIGNATURES = (
    (r"NO_PUBKEY|public key is not available", "it is signed by another key than the one that is to sign it"),
    (r"EXPKEYSIG|KEYEXPIRED|key expired", "the key that signs it has expired"),
    (r"REVKEYSIG", "the key that signs it was revoked"),
    (r"BADSIG", "its signature is wrong: it was changed after it was signed"),
    (r"is (?:not|no longer) signed|could not be authenticated|unauthenticated packages", "it is not signed"),
    (_CHANGED, "a file is not the one that its index names"),
    (r"signatures? (?:were|was) invalid|couldn't be verified", "its signature can't be verified"),
)


def _signature(host: str, what: str, text: str) -> PackagesFailed | None:
    for pattern, why in _SIGNATURES:
        if re.search(pattern, text):
            return BadSignature(
                f"{host}: {what} failed: {_repository(text)}: {why}",
                NOT_WHOLE
                if pattern == _CHANGED
                else "see whose key the repository has now and, if it is right, declare its fingerprint",
            )
    return None


_UNREACHABLE = (
    (r"Temporary failure resolving|Could not resolve", "its name can't be resolved"),
    (r"Connection refused", "the connection is refused"),
    (r"[Cc]onnection timed out|Connection failed|Unable to connect|Could not connect", "it can't be connected to"),
    (r"\b404\b", "it does not have that (404)"),
    (r"\b40[13]\b", "it refuses access"),
    (r"does not have a Release file|File not found|Failed to (?:stat|fetch)", "it can't be read"),
    (r"Failed to fetch|Unable to fetch", "it can't be fetched"),
)


def _unreachable(host: str, what: str, text: str) -> PackagesFailed | None:
    for pattern, why in _UNREACHABLE:
        if re.search(pattern, text):
            return RepositoryUnreachable(
                f"{host}: {what} failed: {_repository(text)}: {why}", "see whether it can be reached from there"
            )
    return None


def _unknown(host: str, what: str, text: str) -> PackagesFailed | None:
    hint = f"see what `apt-cache policy NAME` says on {host}"
    if match := re.search(rf"Version '(?P<version>[A-Za-z0-9.+~:*-]{{1,100}})' for '{_NAME}' was not found", text):
        return UnknownPackage(
            f"{host}: {what} was not begun: no repository has {match['name']} in version {match['version']}", hint
        )
    patterns = (
        rf"Unable to locate package {_NAME}",
        rf"Package '{_NAME}' has no installation candidate",
    )
    for pattern in patterns:
        if match := re.search(pattern, text):
            return UnknownPackage(f"{host}: {what} was not begun: no repository has a package {match['name']}", hint)
    return None


def _script(host: str, what: str, text: str) -> PackagesFailed | None:
    match = re.search(rf"dpkg: error processing (?:package|archive) (?:/\S*/)?{_NAME}\S* \(--?(\w+)\)", text)
    if match is None:
        return None
    after = text[match.end() : match.end() + 2 * SHOWN].strip(": \n")
    why = after.partition("\n")[0].strip()[:SHOWN]
    return ScriptFailed(
        f"{host}: {what} failed at the package {match['name']}: {why or 'it gave no reason'}",
        "see /var/log/apt/term.log there, mend it, then apply again",
    )


def _unmet(host: str, what: str, text: str) -> PackagesFailed | None:
    if "Packages need to be removed" in text:
        return Unmet(
            f"{host}: {what} was not begun: other packages would have to be removed for it",
            "remove what is in the way there, if nobody needs it",
        )
    if "unmet dependencies" not in text and "Unable to correct problems" not in text:
        return None
    match = re.search(rf"^ {_NAME} : (?P<why>.{{1,200}})$", text, re.MULTILINE)
    why = f"{match['name']} {' '.join(match['why'].split())}" if match else "packages need what is not there"
    return Unmet(
        f"{host}: {what} was not begun: {why}", "see whether the repository has all packages in the same version"
    )


_FINDERS: tuple[Callable[[str, str, str], PackagesFailed | None], ...] = (
    _locked,
    _interrupted,
    _misconfigured,
    _full,
    _signature,
    _unknown,
    _script,
    _unmet,
    _unreachable,
)
"""The first that recognises its words counts: a full disk breaks scripts, a bad signature makes packages unknown."""


def _repository(text: str) -> str:
    match = re.search(r"\b((?:https?|file|copy):/{1,3}[A-Za-z0-9./_:%~+-]{1,200})", text)
    return f"the repository {match[1].rstrip(':/')}" if match else "a repository"


def _last(text: str) -> str:
    """The last line that apt or dpkg marks as an error, else the last one."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(("E: ", "dpkg: error"))]
    line = (marked or lines or [""])[-1]
    return "".join(char if char.isprintable() else "?" for char in line[:SHOWN])
