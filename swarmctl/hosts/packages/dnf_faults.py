"""What `dnf_program` says when something fails, as one clear error each. Pure.

It tells a kind and words in its last line, `@ fault`; what repositories and transfers say is told apart by the words of
librepo, libcurl and rpm (dnf 4, in the locale C). What a host prints is untrusted: it is cut, and names are taken only
where they have the form of such.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from swarmctl.hosts.packages.errors import (
    NOT_WHOLE,
    BadSignature,
    DiskFull,
    Locked,
    PackagesFailed,
    RepositoryUnreachable,
    ScriptFailed,
    UnknownPackage,
    Unmet,
)
from swarmctl.hosts.packages.model import RPM_NAME

SHOWN = 300
AGAIN = "apply again"


def fault(host: str, what: str, status: int, printed: str, said: str) -> PackagesFailed | None:
    """The error that it ended with; None when all went well."""
    if status == 0:
        return None
    lines = [line for line in said.splitlines() if line.startswith("@ fault\t")]
    kind, *words = (lines[-1] if lines else "").split("\t")[1:] or [""]
    find = _KINDS.get(kind, _other)
    return find(host, what, [_clean(word) for word in words] or [_clean(_last(said) or f"status {status}")])


def _locked(host: str, what: str, words: list[str]) -> PackagesFailed:
    process, program = words[0], words[1] if len(words) > 1 else ""
    holder = f"{f'{program[:60]} ' if program else ''}(process {process})" if process.isdecimal() else "another process"
    return Locked(
        f"{host}: {what} was not begun: {holder} works with the packages there and holds their lock",
        f"wait until it has ended, then {AGAIN}",
    )


def _unknown(host: str, what: str, words: list[str]) -> PackagesFailed:
    name, version = (*words, "")[:2]
    which = f"{name} in version {version}" if version else f"a package {name}"
    if ":" in name:
        which = f"the stream {name} of a module"
    return UnknownPackage(
        f"{host}: {what} was not begun: no repository has {which}",
        f"see what `dnf --showduplicates list {name if RPM_NAME.fullmatch(name) else 'NAME'}` says on {host}",
    )


def _unmet(host: str, what: str, words: list[str]) -> PackagesFailed:
    text = words[0]
    match = re.search(r"nothing provides (?P<need>.{1,120}?) needed by (?P<name>\S{1,120})", text)
    why = (
        f"{match['name']} needs {match['need']}, which no repository has"
        if match
        else text.removeprefix("Problem: ").removesuffix(" - conflicting requests")
    )
    hint = "see whether the repository has all packages in the same version"
    if match and match["need"].startswith("dkms"):
        hint = "set up the repository that has `dkms` there: for Enterprise Linux that is EPEL"
    return Unmet(f"{host}: {what} was not begun: {why}", hint)


def _removed(host: str, what: str, words: list[str]) -> PackagesFailed:
    return Unmet(
        f"{host}: {what} was not begun: other packages would have to be removed for it: {', '.join(words[0].split())}",
        "remove what is in the way there, if nobody needs it",
    )


def _full(host: str, what: str, words: list[str]) -> PackagesFailed:
    match = re.search(r"on the (/\S{0,200}) filesystem", words[0])
    where = f" in {match[1]}" if match else ""
    return DiskFull(
        f"{host}: {what} failed: the disk is full{where}", f"make room there (`dnf clean packages`), then {AGAIN}"
    )


_SIGNED = {
    "changed": "its file is not the one that its index names",
    "other": "it is not signed by the key that is to sign it",
}


def _signature(host: str, what: str, words: list[str]) -> PackagesFailed:
    name, how, text = (*words, "", "")[:3]
    why = _SIGNED.get(how) or (
        "it is not signed"
        if "is not signed" in text
        else "its signature can't be verified by the keys of its repository"
    )
    return BadSignature(
        f"{host}: {what} failed: the package {name}: {why}",
        NOT_WHOLE
        if how == "changed"
        else "see whose key the repository has now and, if it is right, declare its fingerprint",
    )


_UNREACHABLE = (
    (r"Could not resolve", "its name can't be resolved"),
    (r"Connection refused|Could(?:n't| not) connect|Failed to connect", "it can't be connected to"),
    (r"[Tt]imed? ?out|Timeout", "it does not answer in time"),
    (r"\b404\b", "it does not have that (404)"),
    (r"\b40[13]\b", "it refuses access"),
    (r"SSL|[Cc]ertificate", "its certificate is not trusted"),
    (r"Couldn't open file|Couldn't read a file|No such file", "it can't be read"),
    (r"mirrors were already tried", "it does not have what its index names"),
)
_SPACE = ("No space left", "Failed writing", "Failed to write", "nsufficient space", "more space needed")


def _repository(host: str, what: str, words: list[str]) -> PackagesFailed:
    text = " ".join(words)
    if any(word in text for word in _SPACE):
        return _full(host, what, words)
    if "checksum" in text.lower() or "GPG" in text:
        return BadSignature(
            f"{host}: {what} failed: {_url(text)}: a file is not the one that its index names",
            NOT_WHOLE,
        )
    why = next((told for pattern, told in _UNREACHABLE if re.search(pattern, text)), words[0])
    return RepositoryUnreachable(f"{host}: {what} failed: {_url(text)}: {why}", f"see that it answers, then {AGAIN}")


def _script(host: str, what: str, words: list[str]) -> PackagesFailed:
    name, script = (*words, "")[:2]
    return ScriptFailed(
        f"{host}: {what} failed at the package {name}: its script ({script}) failed",
        f"see /var/log/dnf.rpm.log there, mend it, then {AGAIN}",
    )


def _other(host: str, what: str, words: list[str]) -> PackagesFailed:
    if any(word in words[0] for word in _SPACE):
        return _full(host, what, words)
    if "incorrect checksum" in words[0]:
        return _repository(host, what, words)
    return PackagesFailed(f"{host}: {what} failed: {words[0]}", "see /var/log/dnf.log there")


_KINDS: dict[str, Callable[[str, str, list[str]], PackagesFailed]] = {
    "locked": _locked,
    "unknown": _unknown,
    "unmet": _unmet,
    "removed": _removed,
    "full": _full,
    "signature": _signature,
    "repository": _repository,
    "download": _repository,
    "script": _script,
}


def _url(text: str) -> str:
    match = re.search(r"\b((?:https?|file):/{1,3}[A-Za-z0-9./_:%~+-]{1,200})", text)
    if match:
        return f"the repository {match[1].rstrip(':/.')}"
    match = re.search(r"repo(?:sitory)? '([A-Za-z0-9._-]{1,100})'", text)
    return f"the repository {match[1]}" if match else "a repository"


def _clean(text: str) -> str:
    return "".join(char if char.isprintable() else "?" for char in text[:SHOWN])


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else ""
