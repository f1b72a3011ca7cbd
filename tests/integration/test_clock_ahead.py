"""A run under a clock that was ahead left a token that no clock reaches for long. A store that counts tokens goes on
from it; one that is lost asks the machines; and by hand it can be said what the next one has to be greater than."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration import lab as labs

pytestmark = [pytest.mark.integration, pytest.mark.slow]

AHEAD = (int(time.time()) + 30 * 86400) * 1000


@pytest.fixture
def lab(tmp_path: Path, engine: object) -> Iterator[labs.Lab]:
    """Applied under a clock that was thirty days ahead."""
    lab = labs.make(tmp_path)
    assert f"greater than {AHEAD}" in lab("lock", "release", "--force", "--above", str(AHEAD)).out
    lab("apply", "--yes")
    yield lab
    lab("destroy", "--yes")
    labs.assert_nothing_left(lab)


def store(lab: labs.Lab) -> Path:
    (found,) = lab.data.glob("stacks/*")
    return found


def token(lab: labs.Lab) -> int:
    found: int = lab("lock", "show", "--format", "json").json["token"]
    return found


def test_a_lost_store_goes_on_from_what_the_machines_know(lab: labs.Lab) -> None:
    assert token(lab) > AHEAD
    shutil.rmtree(store(lab))
    assert "adopted" in lab("apply", "--yes").out
    assert token(lab) > AHEAD
    lab("plan", "--detailed-exitcode")

    shutil.rmtree(store(lab))
    lab("doctor", "--stack", "--remove", "--yes")
    shutil.rmtree(store(lab))
    lab("apply", "--yes")
    assert token(lab) < AHEAD, "what bound the next one went with the machines"


def test_a_count_of_tokens_that_was_put_back_is_raised_by_hand(lab: labs.Lab) -> None:
    record = store(lab) / "lease.json"
    record.write_text(json.dumps({**json.loads(record.read_bytes()), "token": 5}))
    state = store(lab) / "state.json"
    state.write_text(json.dumps({**json.loads(state.read_bytes()), "token": 5}))
    lab.edit("network.yaml", "ports: [7946]", "ports: [7946, 8500]")

    run = lab("apply", "--yes", code=None)
    assert run.code not in (0, 1)
    assert "swarmctl lock release --force --above 1" in " ".join(run.err.split())
    assert "kept out" in lab("lock", "release", "--force").out
    lab("apply", "--yes")
    lab("plan", "--detailed-exitcode")
    shutil.rmtree(store(lab))
    lab("destroy", "--yes")
