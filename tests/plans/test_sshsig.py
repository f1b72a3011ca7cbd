"""Signatures are those of OpenSSH: its own tool takes ours, and we take its own; nothing else counts."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmctl.plans import sshsig
from swarmctl.plans.sshsig import Unusable

MESSAGE = b'{"createdAt":"2026-01-01T00:00:00.000Z"}'
needs_openssh = pytest.mark.skipif(not shutil.which("ssh-keygen"), reason="OpenSSH is the judge")


def key(seed: int = 1) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)


def public(private: Ed25519PrivateKey) -> bytes:
    return private.public_key().public_bytes_raw()


def ours(message: bytes = MESSAGE) -> str:
    return sshsig.seal(message, public(key()), key().sign)


def accepted_by_openssh(folder: Path, line: str, signature: str, message: bytes = MESSAGE) -> bool:
    (folder / "allowed").write_text(f"me {line}\n")
    (folder / "sig").write_text(signature)
    command = ["ssh-keygen", "-Y", "verify", "-f", "allowed", "-I", "me", "-n", sshsig.NAMESPACE, "-s", "sig"]
    run = subprocess.run(command, cwd=folder, input=message, capture_output=True, check=False)
    return run.returncode == 0


def test_what_is_signed_is_verified_and_names_its_key() -> None:
    found = sshsig.verify(ours(), MESSAGE)
    assert found == sshsig.public_blob(sshsig.public_line(public(key())))
    assert sshsig.signing_key(ours()) == found


@needs_openssh
def test_openssh_takes_our_signatures_and_no_others(tmp_path: Path) -> None:
    line = sshsig.public_line(public(key()))
    assert accepted_by_openssh(tmp_path, line, ours())
    assert not accepted_by_openssh(tmp_path, line, ours(), MESSAGE + b" ")
    assert not accepted_by_openssh(tmp_path, sshsig.public_line(public(key(2))), ours())


@needs_openssh
def test_the_fingerprint_is_that_of_openssh(tmp_path: Path) -> None:
    line = sshsig.public_line(public(key()))
    (tmp_path / "key.pub").write_text(line)
    told = subprocess.run(["ssh-keygen", "-l", "-f", tmp_path / "key.pub"], capture_output=True, text=True, check=True)
    assert sshsig.fingerprint(sshsig.public_blob(line)) in told.stdout


def on_hardware(message: bytes, *, touched: bool = True, application: bytes = b"ssh:") -> tuple[str, str]:
    """A signature as a hardware key makes it (PROTOCOL.u2f), and the line of its public key."""
    sort = sshsig.HARDWARE.encode()
    blob = sshsig._packed(sort, public(key()), application)
    tail = bytes([1 if touched else 0]) + (7).to_bytes(4, "big")
    signed = sshsig._signed(message, b"sha512")
    signature = key().sign(hashlib.sha256(application).digest() + tail + hashlib.sha256(signed).digest())
    body = sshsig._packed(blob, sshsig.NAMESPACE.encode(), b"", b"sha512", sshsig._packed(sort, signature) + tail)
    return sshsig._armored(
        b"SSHSIG" + (1).to_bytes(4, "big") + body
    ), f"{sort.decode()} {base64.b64encode(blob).decode()}"


@needs_openssh
def test_keys_on_hardware_are_verified_as_openssh_verifies_them(tmp_path: Path) -> None:
    signature, line = on_hardware(MESSAGE)
    assert accepted_by_openssh(tmp_path, line, signature)
    assert sshsig.verify(signature, MESSAGE) == sshsig.public_blob(line)
    with pytest.raises(Unusable, match="does not fit"):
        sshsig.verify(signature, MESSAGE + b" ")


def test_a_hardware_key_that_nobody_touched_does_not_count() -> None:
    with pytest.raises(Unusable, match="nobody touched"):
        sshsig.verify(on_hardware(MESSAGE, touched=False)[0], MESSAGE)


def test_another_message_is_not_signed() -> None:
    with pytest.raises(Unusable, match="does not fit"):
        sshsig.verify(ours(), MESSAGE[:-1])


def test_a_signature_for_another_purpose_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(sshsig, "NAMESPACE", "git")
        signature = ours()
    with pytest.raises(Unusable, match="made for 'git', not for 'swarmctl-plan'"):
        sshsig.verify(signature, MESSAGE)


def test_whichever_byte_of_a_signature_changes_it_is_refused() -> None:
    text = ours()
    for at in range(len(text)):
        for character in ("A", "B", "\n", " ", "="):
            if text[at] == character:
                continue
            with pytest.raises(Unusable):
                sshsig.verify(text[:at] + character + text[at + 1 :], MESSAGE)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-----BEGIN SSH SIGNATURE-----\n-----END SSH SIGNATURE-----\n",
        ours()[:-1],
        ours() + "\n",
        ours().replace("\n", "\r\n"),
    ],
    ids=["empty", "letter", "hollow", "no line break", "one more", "Windows"],
)
def test_what_is_no_signature_is_refused(text: str) -> None:
    with pytest.raises(Unusable):
        sshsig.verify(text, MESSAGE)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "not an Ed25519 public key"),
        ("ssh-rsa AAAAB3NzaC1yc2EAAAADAQAB", "not an Ed25519 public key"),
        ("ssh-ed25519 !!!", "not Base64"),
        ("ssh-ed25519 AAAAB3NzaC1yc2EAAAADAQAB", "holds another sort"),
        ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJY0", "breaks off"),
    ],
)
def test_what_is_no_public_key_is_refused(line: str, reason: str) -> None:
    with pytest.raises(Unusable, match=reason):
        sshsig.public_blob(line)
