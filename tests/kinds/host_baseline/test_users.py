"""What plans tell of accounts: a machine's `authorized_keys` is text that its user writes, so it may be anything."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmctl.kinds.base import ChangeKind
from swarmctl.kinds.host_baseline.aspects.users import USERS

KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJd/gxLSi2ZbVLR8Zt0HoLSF8CZ4jcTkBn0nsAuAy7Zb anna"


def inputs(*keys: str) -> dict[str, Any]:
    users = {"anna": {"sudo": False, "shell": "/bin/bash", "authorizedKeys": list(keys)}}
    return {"machine": "m", "host": {}, "node": "n1", "baseline": "b", "users": users}


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("#old", "#old"),
        ("ssh-ed25519 ", "ssh-ed25519"),
        ("ssh-ed25519 AAAAB3NzaC1yc2EAAAA a b", "ssh-ed25519 …zaC1yc2EAAAA a b"),
        ("ssh-ed25519 AAAA \x1b[2Jevil\x07", "ssh-ed25519 …AAAA ?[2Jevil?"),
    ],
)
def test_a_line_that_is_no_key_is_one_that_goes(line: str, told: str) -> None:
    (effect,) = USERS.effects(inputs(line, KEY), inputs(KEY))
    assert effect.action is ChangeKind.DELETE
    assert effect.text == f"user anna, key {told}"


@given(st.lists(st.text(max_size=300), max_size=4))
def test_no_line_of_the_file_breaks_a_plan_or_what_shows_it(lines: list[str]) -> None:
    for effect in USERS.effects(inputs(*lines), inputs(KEY)):
        assert effect.text.isprintable()
        assert len(effect.text) < 200
    USERS.effects(inputs(*lines), None)
