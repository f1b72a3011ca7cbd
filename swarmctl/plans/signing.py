"""Who signs plans: a key that a person or a pipeline names, or else one that is kept with the state.

Private keys stay in their files, or in ssh-agent, or on hardware: here is only what they sign.
"""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from swarmctl import durable
from swarmctl.errors import SwarmError
from swarmctl.plans import sshsig

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

Sign = Callable[[bytes], str]
"""Makes the signature of a message, in the armour of OpenSSH. Raises SwarmError when it can't."""
VARIABLE = "SWARMCTL_SIGNING_KEY"
"""Names the file of the key where `--sign-with` doesn't."""
_PASSED_ON = ("PATH", "HOME", "TERM", "DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR", "TMPDIR", "LANG", "LC_ALL")


@dataclass(frozen=True, slots=True)
class Signer:
    """One of those whose plans a stack accepts (`Stack.spec.signers`)."""

    name: str
    key: str
    """`ssh-ed25519 AAAA…`"""


def with_key(path: Path) -> Sign:
    """Sign with the key in this file of OpenSSH's: read here when it lies there open, else by `ssh-keygen -Y sign`.

    That one asks for the passphrase of an encrypted key, talks to hardware, and, given the public key's file, to
    ssh-agent. Raises SwarmError when the file is missing, holds no Ed25519 key, or lets others read a private key.
    """

    def sign(message: bytes) -> str:
        content = _read(path)
        if b"PRIVATE KEY-----" not in content:
            return _by_ssh_keygen(path, message)
        key = _open_key(content, path)
        return _seal(key, message) if key else _by_ssh_keygen(path, message)

    return sign


def with_local_key(path: Path) -> Sign:
    """Sign with the key kept with the state; it is made, 0600, when there is none yet."""

    def sign(message: bytes) -> str:
        make_local_key(path)
        return with_key(path)(message)

    return sign


def make_local_key(path: Path) -> None:
    """Make an Ed25519 key at `path`, 0600, unless there is one. Of several that try at once one succeeds.

    Raises SwarmError when it can't be written.
    """
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if path.exists():
        return
    text = Ed25519PrivateKey.generate().private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    )
    try:
        durable.create(path, text)
    except OSError as error:
        raise SwarmError(
            f"cannot write the signing key {path}: {error.strerror}", "mend that, or name another key with --sign-with"
        ) from error


def local_public_key(path: Path) -> str:
    """The public line of the key kept with the state; empty when there is none. Raises SwarmError."""
    if not path.exists():
        return ""
    key = _open_key(_read(path), path)
    if key is None:
        raise SwarmError(f"the signing key {path} is encrypted", "move it away; the next `plan --out` makes another")
    return sshsig.public_line(key.public_key().public_bytes_raw())


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise SwarmError(f"the signing key {path} is no file", "name the file of an Ed25519 key")
            content = file.read(1 << 16)
    except OSError as error:
        raise SwarmError(
            f"cannot read the signing key {path}: {error.strerror}", "name the file of an Ed25519 key with --sign-with"
        ) from error
    if b"PRIVATE KEY-----" in content and facts.st_mode & 0o077:
        raise SwarmError(
            f"the signing key {path} can be read by others (mode {stat.S_IMODE(facts.st_mode):04o})",
            f"chmod 600 {path}, and think about who may have read it",
        )
    return content


def _open_key(content: bytes, path: Path) -> Ed25519PrivateKey | None:
    """The key, None when it is encrypted or only points to hardware. Raises SwarmError for another sort of key."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key

    try:
        key = load_ssh_private_key(content, password=None)
    except (TypeError, ValueError, UnsupportedAlgorithm):
        return None
    if not isinstance(key, Ed25519PrivateKey):
        raise SwarmError(f"the signing key {path} is not of Ed25519", "make one with `ssh-keygen -t ed25519`")
    return key


def _seal(key: Ed25519PrivateKey, message: bytes) -> str:
    return sshsig.seal(message, key.public_key().public_bytes_raw(), key.sign)


def _by_ssh_keygen(path: Path, message: bytes) -> str:
    command = ["ssh-keygen", "-Y", "sign", "-n", sshsig.NAMESPACE, "-f", str(path)]
    try:
        # Its own words and questions go to the terminal: it may ask for a passphrase, or for a touch of the key.
        run = subprocess.run(
            command, input=message, stdout=subprocess.PIPE, env=_environment(os.environ), check=False, timeout=300
        )
    except FileNotFoundError as error:
        raise SwarmError(f"ssh-keygen is needed to sign with {path}, and is not there", "install OpenSSH") from error
    except subprocess.TimeoutExpired as error:
        raise SwarmError(f"ssh-keygen did not sign with {path} within five minutes", "try again") from error
    signature = run.stdout.decode(errors="replace")
    if run.returncode:
        raise SwarmError(
            f"ssh-keygen did not sign with {path} (exit code {run.returncode})",
            f"see what it says; `ssh-keygen -Y sign -n {sshsig.NAMESPACE} -f {path}` must work",
        )
    try:
        sshsig.verify(signature, message)
    except sshsig.Unusable as error:
        raise SwarmError(f"the signature that ssh-keygen made with {path} can't be used: {error}") from error
    return signature


def _environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What ssh-keygen needs, and none of the secrets that may be in our environment."""
    return {key: value for key, value in environ.items() if key in _PASSED_ON or key.startswith("SSH_")}
