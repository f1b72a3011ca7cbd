"""Whatever is told of files of wg-quick(8), no key that may be secret is in it."""

from __future__ import annotations

import base64

import pytest

from swarmctl.diagnostics import Diagnostic, Position, Range, Related
from swarmctl.mesh.wgquick.codes import UNKNOWN_KEY
from swarmctl.mesh.wgquick.secrets import Hidden


def key(number: int) -> str:
    return base64.b64encode(bytes([number, 7] * 16)).decode()


SECRET, PUBLIC = key(1), key(2)


@pytest.mark.parametrize(
    "line",
    [
        f"PrivateKey = {SECRET}",
        f"  presharedkey={SECRET}",
        f"PrivateKey {SECRET}",
        f"Privatkey = {SECRET}",
        f"Private Key = {SECRET}",
        f"ListenPort = 99999 # {SECRET}",
        f"PostUp = curl -d k={SECRET} example.net",
        f"PostUp = wg set %i peer {PUBLIC} preshared-key <(echo {SECRET})",
        f"PrivateKey = {SECRET}\n[Peer]\nPublicKey = {SECRET}",
        f"PrivateKey = {SECRET[:-1]}",
        f"PrivateKey = {SECRET[:-3]}",
        f"PrivateKey = {SECRET}{SECRET}",
    ],
)
def test_a_secret_is_shown_nowhere(line: str) -> None:
    text = f"[Interface]\n{line}\n[Peer]\nPublicKey = {PUBLIC}\n"
    hidden = Hidden([text])
    shown = hidden.text(text)
    assert SECRET[:20] not in shown
    assert [len(row) for row in shown.splitlines()] == [len(row) for row in text.splitlines()], (
        "all else stays in place"
    )
    assert shown.count(PUBLIC) == text.count(PUBLIC)


def test_what_is_a_secret_in_one_file_is_one_in_all() -> None:
    hidden = Hidden([f"[Interface]\nPrivateKey = {SECRET}\n", f"[Peer]\nPublicKey = {SECRET}\n"], [PUBLIC])
    place = Range("a.conf", Position(1, 1), Position(1, 2))
    problem = Diagnostic(
        UNKNOWN_KEY, f"`{SECRET}`", place, f"not {SECRET}", f"{PUBLIC}, {SECRET}", related=(Related(place, SECRET),)
    )
    (told,) = hidden.diagnostics([problem])
    assert SECRET not in repr(told)
    assert PUBLIC in told.help
