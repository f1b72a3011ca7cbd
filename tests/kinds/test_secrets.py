"""Declared secrets: read where they are declared to be, known to the provider, and told to nobody."""

from __future__ import annotations

import base64
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from swarmctl.declarations.secrets import SecretRef
from swarmctl.diagnostics import Position, Range
from swarmctl.errors import SwarmError
from swarmctl.kinds import secrets
from swarmctl.kinds.schema import type_schema
from swarmctl.provider.errors import LIMIT, describe

WHERE = Range("a.yaml", Position(3, 9), Position(3, 20))
CANARY = "canary-5f1d90b7/+ü"


def hmac(value: bytes) -> str:
    return f"hmac-sha256:{len(value)}"


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What the provider of this process knows."""
    values: dict[str, str] = {}
    monkeypatch.setattr(secrets, "_known", values)
    return values


def test_what_stands_for_a_secret_is_its_place_and_a_keyed_digest(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("from a file\n")
    found = secrets.Secrets(tmp_path, hmac, {"TOKEN": CANARY})
    by_variable = found.secret(SecretRef(env="TOKEN"), WHERE)
    by_file = found.secret(SecretRef(file="token"), WHERE)
    assert by_variable == {"secret": {"env": "TOKEN"}, "hmac": hmac(CANARY.encode())}
    assert by_file == {"secret": {"file": "token"}, "hmac": hmac(b"from a file")}
    assert found.values == {"env:TOKEN": CANARY, "file:token": "from a file"}
    assert found.problems == []


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_secret_in_a_file_that_others_get_at_is_warned_of_at_its_place(tmp_path: Path, mode: int) -> None:
    (tmp_path / "token").write_text("one")
    found = secrets.Secrets(tmp_path, hmac, {})
    (tmp_path / "token").chmod(0o600)
    found.secret(SecretRef(file="token"), WHERE)
    assert found.warnings == []
    (tmp_path / "token").chmod(mode)
    found.secret(SecretRef(file="token"), WHERE)
    (warning,) = found.warnings
    assert warning.startswith(f"a.yaml:3:9: the secret in the file `token` can be read by others (mode {mode:04o})")
    assert f"chmod 600 {tmp_path / 'token'}" in warning
    assert found.problems == []


@pytest.mark.parametrize(
    ("ref", "why"),
    [
        (SecretRef(env="UNSET"), "this variable is not set"),
        (SecretRef(env="EMPTY"), "it is empty"),
        (SecretRef(env="BYTES"), "it is no text in UTF-8"),
        (SecretRef(file="missing"), "no such file or directory"),
        (SecretRef(file="."), "is a directory"),
        (SecretRef(file="~nosuchuser/token"), "there is no such home folder"),
        (SecretRef(file="pipe"), "it is no regular file"),
        (SecretRef(file="large"), "it is larger than 64 KiB"),
    ],
)
def test_a_secret_that_cannot_be_read_is_told_at_its_place(tmp_path: Path, ref: SecretRef, why: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_text("x" * (secrets.LARGEST + 1))
    environ = {"EMPTY": "", "BYTES": os.fsdecode(b"\xff\xfe" + CANARY.encode())}
    found = secrets.Secrets(tmp_path, hmac, environ)
    assert found.secret(ref, WHERE) == {"secret": ref.plain()}
    (problem,) = found.problems
    assert (problem.code.id, problem.range, problem.label) == ("SW2301", WHERE, why)
    assert "canary" not in str(problem)
    assert found.values == {}


@pytest.mark.parametrize("written", ["hunter2", {"value": "hunter2"}, {"env": "A B"}, {"env": "SWARMCTL_X"}, 5])
def test_a_secret_cannot_be_written_out(written: Any) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(written, SecretRef)


def test_the_schema_takes_exactly_one_place() -> None:
    schema = type_schema(SecretRef)
    assert schema["type"] == "object"
    assert schema["oneOf"] == [{"required": ["env"]}, {"required": ["file"]}]


def test_values_are_handed_over_in_memory_that_nobody_can_change(known: dict[str, str]) -> None:
    descriptor = secrets.hand_over({"env:TOKEN": CANARY})
    with pytest.raises(PermissionError):
        os.pwrite(descriptor, b"x", 0)
    secrets.take(descriptor)
    assert secrets.reveal({"secret": {"env": "TOKEN"}, "hmac": "…"}) == CANARY
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(descriptor)


def test_a_secret_that_nothing_declares_any_more_is_told_by_its_place(known: dict[str, str]) -> None:
    with pytest.raises(SwarmError, match="the secret from file gone is needed"):
        secrets.reveal({"secret": {"file": "gone"}})


@pytest.mark.parametrize(
    "quoted",
    [
        CANARY,
        repr(CANARY),
        base64.b64encode(CANARY.encode()).decode(),
        CANARY.encode().hex(),
        "canary-5f1d90b7%2F%2B%C3%BC",
        "canary-5f1d90b7/%2B%C3%BC",
        "canary-5f1d90b7/+\\u00fc",
    ],
)
def test_errors_are_told_without_secrets_in_whatever_form_they_are_quoted(known: dict[str, str], quoted: str) -> None:
    known["env:TOKEN"] = CANARY
    told = describe(SwarmError(f"login with {quoted} failed", f"not with {quoted}", details=[quoted]))
    assert "5f1d90b7" not in told
    assert told.startswith("login with ")
    assert told.count("(secret)") == 3


def test_each_line_of_a_secret_of_many_lines_is_taken_out(known: dict[str, str]) -> None:
    known["file:key"] = "-----BEGIN-----\nabcdefgh\nijklmnop\n-----END-----"
    assert "ijklmnop" not in describe(SwarmError("line 3: unexpected 'ijklmnop'"))


def test_a_secret_at_the_cut_of_a_long_error_does_not_leave_half(known: dict[str, str]) -> None:
    known["env:TOKEN"] = CANARY
    assert "canary" not in describe(SwarmError("x" * (LIMIT - 8) + CANARY))


def test_text_with_a_very_short_secret_is_not_shown_at_all(known: dict[str, str]) -> None:
    known["env:PIN"] = "42"
    assert describe(SwarmError("wrong: 42")) == "(not shown: it quotes a secret)"
    assert describe(SwarmError("wrong")) == "wrong"
