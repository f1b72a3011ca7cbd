"""The rules of the lease, and who a holder is, as plain functions."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from swarmctl.processes import Process
from swarmctl.state import holder, lease_files, lease_rules, lease_words
from swarmctl.state.lease_queue import Waiting
from swarmctl.state.lease_rules import Life, Party, Record, Sight, Turn
from swarmctl.state.lease_watch import Watch

ME = holder.me()
A, B, C = (Party(name, ME) for name in "abc")


@pytest.mark.parametrize(
    ("sight", "life"),
    [
        (Sight(near=True, alive=True, quiet=1, exact=True), Life.WORKING),
        (Sight(near=True, alive=False, quiet=1, exact=True), Life.GONE),
        (Sight(near=True, alive=True, quiet=15, exact=True), Life.STUCK),
        (Sight(near=False, alive=False, quiet=1, exact=True), Life.WORKING),
        (Sight(near=False, alive=False, quiet=1, exact=False), Life.UNSEEN),
        (Sight(near=False, alive=False, quiet=15, exact=False), Life.EXPIRED),
        (Sight(near=False, alive=False, quiet=0, exact=False, former=True), Life.GONE),
    ],
)
def test_what_is_seen_of_a_party_says_whether_it_lives(sight: Sight, life: Life) -> None:
    assert lease_rules.life(sight, 15.0) is life


@pytest.mark.parametrize(
    ("record", "lives", "turn"),
    [
        (Record(), {}, Turn.TAKE),
        (Record(1, A), {"a": Life.WORKING}, Turn.WAIT),
        (Record(1, A), {}, Turn.WAIT),
        (Record(1, A), {"a": Life.GONE}, Turn.CLEAR),
        (Record(1, A), {"a": Life.EXPIRED}, Turn.CLEAR),
        (Record(1, A), {"a": Life.STUCK}, Turn.END),
        (Record(1, None, queue=(B,)), {}, Turn.WAIT),
        (Record(1, None, queue=(B,)), {"b": Life.GONE}, Turn.TAKE),
        (Record(1, None, queue=(B,)), {"b": Life.STUCK}, Turn.TAKE),
        (Record(1, None, queue=(C, B)), {}, Turn.TAKE),
        (Record(1, A, queue=(B, C)), {"a": Life.GONE}, Turn.WAIT),
    ],
)
def test_what_one_who_wants_the_lease_does_next(record: Record, lives: dict[str, Life], turn: Turn) -> None:
    assert lease_rules.turn(record, "c", lives) is turn


def test_a_token_is_the_time_and_grows_when_time_does_not() -> None:
    assert lease_rules.next_token(0, 1700) == 1700
    assert lease_rules.next_token(1700, 1700) == 1701
    assert lease_rules.next_token(1700, 5) == 1701


def test_only_the_owner_beats_and_gives_back() -> None:
    record = Record(7, A)
    assert lease_rules.beaten(record, 7, 2.0) == Record(7, replace(A, beat=1, at=2.0))
    assert lease_rules.freed(record, 7) == Record(7)
    revoked = lease_rules.revoked(record, milliseconds=0)
    for other in (None, Record(8, B), Record(7), revoked):
        assert lease_rules.beaten(other, 7, 2.0) is None
        assert lease_rules.freed(other, 7) is None
        assert not lease_rules.owns(other, 7)


def test_a_record_is_read_as_it_was_written() -> None:
    record = Record(7, replace(A, holder=replace(ME, command="ä\n", run="https://ci.example/7")), 15.0, (B, C))
    assert lease_files.decode(lease_files.encode(record)) == record


def test_a_holder_is_this_very_process() -> None:
    assert holder.process_of(ME) == Process.of(os.getpid())
    assert holder.process_of(replace(ME, namespace="pid:[1]")) is None
    assert holder.process_of(replace(ME, boot="another")) is None


def test_another_boot_is_an_earlier_one_only_where_no_other_machine_can_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = replace(ME, boot="another")
    for local in (True, False):
        monkeypatch.setattr(holder, "one_machine", lambda folder, local=local: local)
        assert holder.of_former_boot(before, tmp_path) is local
        assert not holder.of_former_boot(ME, tmp_path)
    monkeypatch.setattr(holder, "one_machine", lambda folder: True)
    assert not holder.of_former_boot(replace(ME, boot="container another"), tmp_path)


def test_the_file_system_of_a_folder_is_the_one_mounted_last_and_deepest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounts = [("/", "ext4"), (str(tmp_path), "nfs4"), (f"{tmp_path}/a b", "ext4"), (f"{tmp_path}/a b", "xfs")]
    monkeypatch.setattr(holder, "_mounts", lambda: mounts)
    assert holder.one_machine(tmp_path / "a b" / "c")
    assert not holder.one_machine(tmp_path / "a")
    assert not holder.one_machine(tmp_path)
    monkeypatch.setattr(holder, "_mounts", list)
    assert not holder.one_machine(tmp_path)


@pytest.mark.parametrize(
    ("environment", "url"),
    [
        ({}, ""),
        (
            {"GITHUB_SERVER_URL": "https://github.com", "GITHUB_REPOSITORY": "a/b", "GITHUB_RUN_ID": "7"},
            "https://github.com/a/b/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.example/a/-/jobs/7"}, "https://gitlab.example/a/-/jobs/7"),
        ({"BUILD_URL": "https://user:canary@jenkins.example/job/7/"}, "https://jenkins.example/job/7/"),
        ({"BUILD_URL": "javascript:alert(1)"}, ""),
        (
            {"SYSTEM_COLLECTIONURI": "https://dev.azure.com/o/", "SYSTEM_TEAMPROJECT": "p", "BUILD_BUILDID": "7"},
            "https://dev.azure.com/o/p/_build/results?buildId=7",
        ),
    ],
)
def test_a_pipeline_is_known_by_the_address_of_its_run(environment: dict[str, str], url: str) -> None:
    assert holder.run_url(environment) == url


def test_a_command_line_is_one_line() -> None:
    assert holder.command_line(["apply", "-C", "a\x1b[31m\nb"]) == "swarmctl apply -C a?[31m?b"


def test_one_that_was_asleep_itself_holds_no_silence_against_the_others(tmp_path: Path) -> None:
    """Time is read before the record is: what passes in between is nobody's silence."""
    watch = Watch(tmp_path)
    now = time.monotonic()
    away = Party("x", replace(ME, boot="another", namespace="pid:[1]"), 1)
    assert watch.sight(away, now).quiet == 0
    assert watch.sight(away, now + 20).quiet == 20
    assert watch.sight(replace(away, beat=2), now + 40).quiet == 0


def test_who_holds_it_is_told_with_everything_that_helps_to_find_it() -> None:
    text = lease_words.who(replace(ME, run="https://ci.example/7"))
    assert all(part in text for part in (ME.command, ME.user, ME.host, str(ME.pid), "https://ci.example/7"))


def test_who_lost_the_lease_is_told_by_what() -> None:
    party = Party("b", replace(ME, command="swarmctl destroy"))
    assert "swarmctl destroy" in lease_words.lost(7, Record(8, party)).message
    assert "under token 8: by a run that has ended since, or by force" in lease_words.lost(7, Record(8)).message
    assert "is gone" in lease_words.lost(7, None).message


def test_who_waits_for_no_holder_waits_for_its_turn() -> None:
    waiting = Waiting(None, Life.WORKING, (ME, ME), 0.0, 1.0)
    assert waiting.text == "waiting for its turn, for 1 s at most; 2 others are served before"
