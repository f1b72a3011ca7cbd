"""A state that is cut off, damaged, gone, read-only, or on a disk that fills up."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from swarmctl.state.checkpoint import SECRET, SIGNATURE
from tests.faults.stack import Stack
from tests.faults.test_kills import changed

pytestmark = [pytest.mark.integration, pytest.mark.slow]

Shell = Callable[[str], None]

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "one byte short": lambda whole: whole.rstrip()[:-1],
    "half": lambda whole: whole[: len(whole) // 2],
    "zeros at the end": lambda whole: whole[:-512] + bytes(512),
    "bytes": lambda whole: bytes(range(256)) * 8,
    "something else": lambda whole: b'{"version": 3}',
    "a list": lambda whole: b"[]",
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_state_is_kept_aside_and_the_last_good_one_used(
    stack: Stack, damage: Callable[[bytes], bytes]
) -> None:
    stack.declare(web={"count": 4})
    stack("apply", "--yes")
    stack.declare(web={"count": 6, "version": 2})
    stack("apply", "--yes")
    file = stack.store / "state.json"
    broken = damage(file.read_bytes())
    file.write_bytes(broken)

    assert "state" in stack("plan", code=None).err
    assert file.read_bytes() == broken, "plan only looks"
    run = stack("apply", "--yes")
    assert "last good one" in run.err
    (aside,) = stack.store.glob("state.json.broken-*")
    assert aside.read_bytes() == broken
    stack.assert_converged()
    assert len(stack.world.things()) == 6
    aside.unlink()
    stack("destroy", "--yes")
    stack.assert_gone()


def test_without_any_good_state_nothing_is_touched_and_the_way_out_is_told(stack: Stack) -> None:
    stack.declare(web={"count": 3})
    stack("apply", "--yes")
    for file in (stack.store / "state.json", *stack.store.glob("backups/*")):
        file.write_bytes(b"?")
    before = stack.changes()
    # Destroy goes by the marks then, with those backends that list them.
    for command in ("plan", "apply --yes"):
        run = stack(*command.split(), code=1)
        assert "swarmctl state restore" in run.err
    assert stack.changes() == before
    for file in (stack.store / "state.json", *stack.store.glob("backups/*")):
        file.unlink()  # as it was told
    stack("apply", "--yes")
    stack.assert_converged()
    assert [line["op"] for line in stack.world.effects() if line["op"] == "create"] == ["create"] * 3


def test_a_plan_of_a_damaged_state_is_applied_as_it_was_reviewed(stack: Stack) -> None:
    stack.declare(web={"count": 4})
    stack("apply", "--yes")
    stack.declare(web={"count": 6, "version": 2})
    stack("apply", "--yes")
    (stack.store / "state.json").write_bytes(b"?")
    stack.declare(web={"count": 6, "version": 3})
    stack("plan", "--out", "plan.json")
    stack("apply", "--yes", "--plan", "plan.json")
    stack.assert_converged()
    assert "was carried out already" in stack("apply", "--yes", "--plan", "plan.json", code=5).err


@pytest.mark.parametrize("moved", ["world", "declarations", "state"])
def test_a_refused_plan_publishes_nothing_where_the_state_is_damaged(stack: Stack, moved: str) -> None:
    stack.declare(web={"count": 2})
    stack("apply", "--yes")
    stack.declare(web={"count": 3})
    stack("apply", "--yes")
    stack.declare(web={"count": 3, "version": 2})
    file = stack.store / "state.json"
    if moved == "state":
        stack("plan", "--out", "plan.json")
    file.write_bytes(b"?")
    if moved != "state":
        stack("plan", "--out", "plan.json")
    if moved == "world":
        stack.world.tamper("web[0]", None)
    if moved == "declarations":
        stack.declare(web={"count": 3, "version": 7})
    before, kept = stack.changes(), kept_in(stack)
    stack("apply", "--yes", "--plan", "plan.json", code=5)
    assert (stack.changes(), kept_in(stack)) == (before, kept)
    stack("apply", "--yes")
    stack.assert_converged()


def kept_in(stack: Stack) -> dict[str, bytes]:
    """What the store holds but for the lease."""
    files = (path for path in stack.store.rglob("*") if path.is_file() and not path.name.startswith("lease"))
    return {str(path): path.read_bytes() for path in files}


def test_what_a_lost_store_knew_and_nobody_declares_is_found_by_its_marks(stack: Stack) -> None:
    stack.declare(web={"count": 3}, app={"count": 1})
    stack("apply", "--yes")
    stack.lose_the_store()
    stack.declare(site={"count": 2}, app={"count": 1})
    stack("apply", "--yes")
    assert stack.world.things().keys() == {"web[0]", "web[1]", "web[2]", "site[0]", "site[1]", "app[0]"}
    found = stack("doctor", "--stack", "--format", "json", code=1).json["findings"]
    told = sorted((it["what"], it["declared"]) for it in found)  # they were made side by side, in any order
    assert told == [(f"thing web[{n}]", False) for n in range(3)]
    stack("doctor", "--stack", "--remove", "--yes")
    stack.assert_converged()
    stack("doctor", "--stack")
    stack("destroy", "--yes")
    stack.assert_gone()


def test_a_lost_store_is_made_anew_and_what_is_there_adopted(stack: Stack) -> None:
    stack.declare(web={"count": 5}, app={"count": 2, "after": "web"})
    stack("apply", "--yes")
    before = {address: thing.thing for address, thing in stack.world.things().items()}
    stack.lose_the_store()
    plan = stack("plan", "--format", "json").json
    assert {change["action"] for change in plan["changes"]} <= {"adopt", "create"}
    stack("apply", "--yes")
    assert {address: thing.thing for address, thing in stack.world.things().items()} == before
    stack.assert_converged()
    stack("destroy", "--yes")
    stack.assert_gone()


@pytest.mark.parametrize("torn", [b"", b'{"n":1', b"00000000 {}\n", bytes(300)], ids=["", "half", "wrong sum", "zeros"])
def test_a_journal_that_is_torn_says_what_it_can(stack: Stack, torn: bytes) -> None:
    stack.declare(web={"count": 60, "slow": 100})
    run = stack.watch("apply", "--yes")
    run.until(changed(2))
    run.kill("engine")
    run.end()
    run2 = stack.watch("apply", "--yes")
    run2.until(changed(stack.changes() + 1))
    run2.kill("cli")
    run2.end()
    stack.quiet()
    for journal in stack.store.glob("runs/*/journal"):
        with journal.open("ab") as file:
            file.write(torn)
    stack.declare(web={"count": 10})
    stack("apply", "--yes")
    stack.assert_converged()


# Mounts: in a mount namespace of the test's own, so that none is ever left behind.


@pytest.fixture
def inside(stack: Stack) -> Iterator[Shell]:
    """Runs a shell script in a mount namespace that lives as long as the test, in which the command line runs, too."""
    if os.geteuid() != 0:
        pytest.skip("needs root to mount in a namespace of its own")
    keeper = subprocess.Popen(["unshare", "-m", "sleep", "infinity"])
    try:
        mine = os.readlink("/proc/self/ns/mnt")
        while os.readlink(f"/proc/{keeper.pid}/ns/mnt") == mine:
            assert keeper.poll() is None

        enter = ["nsenter", "-t", str(keeper.pid), "-m", "--"]

        def run(script: str) -> None:
            subprocess.run([*enter, "sh", "-ec", script], check=True, capture_output=True, timeout=120)

        stack.prefix = enter
        yield run
    finally:
        keeper.kill()
        keeper.wait()


def test_a_read_only_store_is_told_and_nothing_begins(stack: Stack, inside: Shell) -> None:
    stack.declare(web={"count": 3})
    stack("apply", "--yes")
    stack.declare(web={"count": 5})
    before = stack.changes()
    inside(f"mount --bind {stack.root}/data {stack.root}/data; mount -o remount,ro,bind {stack.root}/data")
    assert "2 to create" in stack("plan").out, "looking needs nothing written"
    for command in ("apply", "destroy"):
        run = stack(command, "--yes", code=1)
        assert "read-only" in run.err.lower()
    assert stack.changes() == before
    stack.prefix = []
    stack("apply", "--yes")
    stack.assert_converged()


def test_a_disk_that_is_full_refuses_a_run_before_it_begins(stack: Stack, inside: Shell) -> None:
    with small_disk(stack, inside):
        stack.declare(web={"count": 10})
        stack("apply", "--yes")
        stack.declare(web={"count": 20})
        before = stack.changes()
        inside(f"dd if=/dev/zero of={stack.root}/data/filler bs=4k 2>/dev/null || true")
        for command in ("apply", "destroy"):
            run = stack(command, "--yes", code=1)
            assert "is full" in run.err
            assert "make room" in run.err
        assert stack.changes() == before
        inside(f"rm {stack.root}/data/filler")
        stack("apply", "--yes")
        stack.assert_converged()
        stack("destroy", "--yes")


def test_a_disk_that_fills_up_during_a_run_loses_nothing(stack: Stack, inside: Shell) -> None:
    with small_disk(stack, inside):
        stack.declare(web={"count": 4})
        stack("apply", "--yes")
        stack.declare(web={"count": 40, "slow": 200})
        run = stack.watch("apply", "--yes")
        run.until(changed(8))
        inside(f"dd if=/dev/zero of={stack.root}/data/filler bs=4k 2>/dev/null || true")
        assert run.end(120) in (1, 7), run.out + run.err
        assert "full" in run.err or "room" in run.err
        inside(f"rm {stack.root}/data/filler")
        stack.declare(web={"count": 40})
        stack("apply", "--yes")
        stack.assert_converged()
        stack("destroy", "--yes")


@contextlib.contextmanager
def small_disk(stack: Stack, inside: Shell) -> Iterator[None]:
    """The stack's data on a disk of 6 MB."""
    data = stack.root / "data"
    data.mkdir(exist_ok=True)
    inside(f"mount -t tmpfs -o size=6m none {data}")
    yield


def test_a_state_of_a_newer_version_is_refused_by_every_command(stack: Stack) -> None:
    stack.declare(web={"count": 2})
    stack("apply", "--yes")
    file = stack.store / "state.json"
    newer = json.dumps({**stack.state(), "schema": "swarmctl/state/v2", "needs": "9.9.9", "writer": "9.9.9"}).encode()
    file.write_bytes(newer)
    before = stack.changes()
    for command in ("plan", "apply --yes", "drift", "destroy --yes", "state list"):
        run = stack(*command.split(), code=1)
        assert "9.9.9" in run.err
    assert file.read_bytes() == newer
    assert stack.changes() == before
    assert Path(stack.store).exists()


def test_what_a_clock_that_was_ahead_has_left_goes_with_the_last_thing(stack: Stack) -> None:
    stack.declare(web={"count": 2})
    ahead = (int(time.time()) + 86400) * 1000
    stack("lock", "release", "--force", "--above", str(ahead))
    stack("apply", "--yes")
    stack("destroy", "--yes")
    assert min(line["token"] for line in stack.world.effects()) > ahead
    stack("apply", "--yes")
    assert len(stack.world.things()) == 2
    assert stack.world.effects()[-1]["token"] < ahead

    # A world that no backend knows of can't be asked: the refusal names what it has, and the way on.
    stack("destroy", "--yes")
    stack("lock", "release", "--force", "--above", str(ahead))
    stack("apply", "--yes")
    stack.lose_the_store()
    stack.declare(web={"count": 2, "version": 2})
    refused = stack("apply", "--yes", code=None).err
    greatest = stack.world.effects()[-1]["token"]
    assert f"`swarmctl lock release --force --above {greatest}`" in refused
    stack("lock", "release", "--force", "--above", str(greatest))
    stack("apply", "--yes")
    assert {thing.inputs["version"] for thing in stack.world.things().values()} == {2}
    stack("destroy", "--yes")


def test_keys_that_are_gone_are_made_anew(stack: Stack) -> None:
    stack.env["WORD"] = "a word that nobody knows"
    stack.declare(web={"count": 2, "secret": {"env": "WORD"}})
    stack("apply", "--yes")
    shutil.rmtree(stack.store / "keys")
    look = stack("plan").err
    assert "looks changed" in look, "the one who makes a new key says so"
    assert "passphrase" not in look, "who looks does without it"
    assert "the passphrase of the state is gone" in stack("apply", "--yes").err
    stack.assert_converged()
    shutil.rmtree(stack.store / "keys")
    stack("destroy", "--yes")
    stack.assert_gone()


def test_a_state_with_secrets_that_nobody_can_decrypt_can_be_destroyed(stack: Stack) -> None:
    stack.declare(web={"count": 2})
    stack("apply", "--yes")
    state = stack.state()
    resource = state["checkpoint"]["checkpoint"]["latest"]["resources"][-1]
    resource["inputs"]["note"] = {SIGNATURE: SECRET, "ciphertext": "v1:of:nothing"}
    (stack.store / "state.json").write_text(json.dumps(state))
    file = stack.store / "keys" / "passphrase"
    file.unlink()
    for command in ("plan", "apply --yes"):
        run = stack(*command.split(), code=1)
        assert str(file) in run.err
        assert "`swarmctl destroy`" in run.err
    assert not file.exists()
    assert "removed without the secrets" in stack("destroy", "--yes").err
    stack.assert_gone()
