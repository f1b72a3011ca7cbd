"""Secrets in inputs: found where the declarations say, known to the provider alone, shown to nobody.

In the graph, and so in plan, state, journal and logs, a secret is where it comes from and a keyed digest that tells
one value from another: `{"secret": {"env": NAME} | {"file": PATH}, "hmac": "hmac-sha256:…"}`. The values themselves go
to the provider through an anonymous file of the memory that only it inherits (memfd_create(2)): not through its
environment or arguments, which /proc shows, and not over a disk.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import re
import resource
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import quote

from swarmctl.declarations.secrets import SecretRef
from swarmctl.diagnostics import Code, Diagnostic, Range
from swarmctl.errors import SwarmError
from swarmctl.graph.model import Json

VARIABLE = "SWARMCTL_SECRETS"
"""Tells the provider the number of the descriptor that it inherits."""
LARGEST = 64 * 1024
"""Bytes of one secret."""
SHORTEST = 4
"""Characters; where a shorter one is quoted, the whole text is withheld: blanks in its place would tell it."""
HIDDEN = "(secret)"
OTHERS = 0o077
"""Bits of a file's mode by which others than its owner get at it."""

NOT_FOUND = Code(
    "SW2301",
    "secret that cannot be read",
    """A secret is declared by the place it is read from, when a plan is made and when it is carried out: an environment
variable of that swarmctl, or a file. `validate` doesn't look for it: it touches nothing.

Wrong: `{env: REGISTRY_TOKEN}` while no such variable is set, `{file: secrets/token}` while there is no such file

Right: `REGISTRY_TOKEN="$(…)" swarmctl plan`
""",
)

_known: dict[str, str] = {}
"""Values by place: those of the provider (`take`), and those that this process has read for one (`Secrets`)."""


class Secrets:
    """The secrets that the declarations of one stack refer to, each read once."""

    def __init__(self, folder: Path, hmac: Callable[[bytes], str], environ: Mapping[str, str] = os.environ) -> None:
        """`folder` is the stack's; `hmac` makes a value's digest under the stack's key (`Store.hmac`)."""
        self._folder = folder
        self._hmac = hmac
        self._environ = environ
        self.values: dict[str, str] = {}
        """By place, for the provider."""
        self.problems: list[Diagnostic] = []
        """What could not be read."""
        self.warnings: list[str] = []
        """Of files that others than their owner can read."""

    def secret(self, ref: SecretRef, where: Range) -> Json:
        """What stands for the secret in inputs; `where` it is declared. One that can't be read is a problem."""
        try:
            value = self._read(ref, where)
        except _Unreadable as error:
            label, help_ = str(error), error.help
            message = f"the secret from {_words(ref)} cannot be read: {label}"
            self.problems.append(Diagnostic(NOT_FOUND, message, where, label=label, help=help_))
            return {"secret": ref.plain()}
        # From here on our memory holds what must not get onto a disk.
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        self.values[_place(ref.plain())] = _known[_place(ref.plain())] = value
        return {"secret": ref.plain(), "hmac": self._hmac(value.encode())}

    def _read(self, ref: SecretRef, where: Range) -> str:
        if ref.env is not None:
            value = self._environ.get(ref.env)
            if value is None:
                raise _Unreadable("this variable is not set", f"set it where swarmctl runs: `{ref.env}=… swarmctl …`")
            content = os.fsencode(value)
        else:
            try:
                path = self._folder / Path(str(ref.file)).expanduser()
            except RuntimeError:
                raise _Unreadable("there is no such home folder", "write the whole path of the file") from None
            content, mode = _content(path)
            content = content.removesuffix(b"\n")
            if mode & OTHERS:
                at = f"{where.file}:{where.start.line}:{where.start.column}"
                text = f"{at}: the secret in {_words(ref)} can be read by others (mode {mode:04o}); `chmod 600 {path}`"
                if text not in self.warnings:
                    self.warnings.append(text)
        if not content:
            raise _Unreadable("it is empty", "a secret has at least one character")
        if len(content) > LARGEST:
            raise _Unreadable(f"it is larger than {LARGEST // 1024} KiB", "is it the right one?")
        try:
            return content.decode()
        except UnicodeDecodeError:
            # The error quotes what it could not decode.
            raise _Unreadable("it is no text in UTF-8", "encode it, for instance in base64") from None


class _Unreadable(Exception):
    """Why, without a word of the secret; `help` says how to mend it."""

    def __init__(self, why: str, help_: str) -> None:
        super().__init__(why)
        self.help = help_


def _content(path: Path) -> tuple[bytes, int]:
    """The file, one byte more than a secret has at most, and its mode. Raises `_Unreadable`."""
    try:
        # A pipe without a writer would keep us waiting.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:
            mode = os.fstat(descriptor).st_mode
            if not stat.S_ISREG(mode):
                raise _Unreadable("it is no regular file", "write the path of a file that holds the secret")
            return file.read(LARGEST + 2), stat.S_IMODE(mode)
    except (OSError, RuntimeError) as error:
        why = (error.strerror or type(error).__name__) if isinstance(error, OSError) else str(error)
        raise _Unreadable(why.lower(), f"swarmctl looks for it at {path}") from error


def _words(ref: SecretRef) -> str:
    return f"the environment variable `{ref.env}`" if ref.env is not None else f"the file `{ref.file}`"


def _place(place: Mapping[str, Json]) -> str:
    return ":".join(map(str, *place.items()))


def hand_over(values: Mapping[str, str]) -> int:
    """The values in an anonymous file that nobody can change any more; returns its descriptor, which the caller hands
    to the provider and closes."""
    descriptor = os.memfd_create("swarmctl", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    with open(descriptor, "wb", closefd=False) as file:
        file.write(json.dumps(values).encode())
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def take(descriptor: int) -> None:
    """In the provider: learn the values from the inherited descriptor, and close it."""
    with open(descriptor, "rb") as file:
        _known.update(json.load(file))


def reveal(value: Mapping[str, Json]) -> str:
    """In the provider, where it is used: the secret that an input stands for. Keep it out of outputs.

    Raises SwarmError when it is not known: a resource that has left the declarations has no secrets any more.
    """
    found = _known.get(_place(value["secret"]))
    if found is None:
        where = " ".join(map(str, *value["secret"].items()))
        raise SwarmError(f"the secret from {where} is needed and nothing declares it any more", "Declare it again.")
    return found


def redact(text: str) -> str:
    """`text` without any known secret, in whatever usual form it is quoted."""
    for value in _known.values():
        if len(value) < SHORTEST and value in text:
            return "(not shown: it quotes a secret)"
    forms = {form for value in _known.values() for form in _forms(value)}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    return text


def _forms(value: str) -> list[str]:
    """The secret as it is, and as it may be written by what stumbles over it."""
    raw = value.encode()
    lines = [line for line in (part.strip() for part in value.splitlines()) if len(line) > SHORTEST]
    encoded = [json.dumps(part, ensure_ascii=ascii_)[1:-1] for part in (value, *lines) for ascii_ in (True, False)]
    return [
        value,
        *lines,
        *encoded,
        repr(value)[1:-1],
        quote(value),
        quote(value, safe=""),
        raw.hex(),
        re.sub("=+$", "", base64.b64encode(raw).decode()),
    ]
