"""`swarmctl state`: what is recorded is shown, copied, put back, moved and encrypted anew; without an engine."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from swarmctl import cli
from swarmctl.state import backups, files
from swarmctl.state.checkpoint import salt
from swarmctl.state.journal import Intent, Result, encode
from swarmctl.state.migration import checkpoint_file
from swarmctl.state.model import Applied
from swarmctl.state.moving import StateMoved, move
from swarmctl.state.passphrase import Crypter
from swarmctl.state.store import Store
from tests.state.published import checkpoint, leased, resource, secret

Out = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def no_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SWARMCTL_ENGINE", str(tmp_path / "none"))
    monkeypatch.setattr("swarmctl.state.passphrase.ROUNDS", 10)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Out) -> Store:
    """An empty store of a declared stack; the current folder is the stack's."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    assert cli.run(["init", "stack", "--name", "lab"]) == 0
    monkeypatch.chdir(tmp_path / "stack")
    from swarmctl.operations.stack import load

    _, store = load(Path())
    capsys.readouterr()
    return store


def publish(
    store: Store, *resources: dict[str, Any], salt: str = "", token: int = 7, applied: Applied | None = None
) -> None:
    lease = leased(store, token)
    before = store.load()
    store.publish(lease, before.generation if before else 0, checkpoint(*resources, salt=salt), applied=applied)
    lease.give_back()


def recorded(store: Store) -> set[str]:
    return {address.removeprefix("mesh/") for address in store.snapshot().resources}


def generation(store: Store) -> int:
    found = store.load()
    assert found is not None
    return found.generation


def test_nothing_is_recorded_at_first_and_nothing_is_made(store: Store, capsys: Out) -> None:
    assert cli.run(["state", "list"]) == 0
    assert capsys.readouterr().out == "Nothing is recorded.\n"
    assert cli.run(["state", "backup"]) == 1
    assert "nothing is recorded" in capsys.readouterr().err
    assert not store.folder.exists()


def test_every_resource_is_listed_with_what_is_special_about_it(store: Store, capsys: Out) -> None:
    publish(
        store,
        resource("b", inputs={"node": "web-0"}, protect=True),
        resource("a", initErrors=["cut off"]),
    )

    assert cli.run(["state", "list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[:3]] == ["ADDRESS", "mesh/a", "mesh/b"]
    assert "begun" in lines[1]
    assert "web-0" in lines[2]
    assert "protected" in lines[2]
    assert any("2 resources; generation 1" in line for line in lines)

    assert cli.run(["state", "list", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(it["address"], it["node"]) for it in document["resources"]] == [("mesh/a", ""), ("mesh/b", "web-0")]


def test_what_is_to_be_done_about_the_rest_is_said_by_what_left_it(store: Store, capsys: Out) -> None:
    def listed() -> tuple[str, bool]:
        assert cli.run(["state", "list", "--format", "json"]) == 0
        document = json.loads(capsys.readouterr().out)
        assert cli.run(["state", "list"]) == 0
        return capsys.readouterr().out, document["destroyed"]

    publish(store, resource("a"), resource("b"), applied=Applied("digest", complete=False))
    said, destroyed = listed()
    assert "`swarmctl apply` does the rest" in said
    assert not destroyed
    # A destroy is cut off: after it, an apply would make all anew.
    run = store.begin(leased(store, 8), operation="destroy", resources={})
    urn = resource("b")["urn"]
    run.journal.write_bytes(encode(Intent(1, "delete", urn, {})) + encode(Result(1, {})))
    for _ in ("cut off", "recovered"):
        said, destroyed = listed()
        assert "`swarmctl destroy` takes it away" in said
        assert "does the rest" not in said
        assert destroyed
        assert recorded(store) == {"a"}
        store.recover(leased(store, 9))


def test_one_resource_is_shown_without_its_secrets(store: Store, capsys: Out) -> None:
    crypter = Crypter.new("x")
    needs = [resource("b")["urn"]]
    shown = resource("a", inputs={"mtu": 1420, "key": secret(crypter, "hush")}, dependencies=needs)
    publish(store, resource("b"), shown, salt=crypter.salt)

    assert cli.run(["state", "show", "mesh/a"]) == 0
    text = capsys.readouterr().out
    assert "mtu: 1420" in text
    assert "key: (secret)" in text
    assert "needs:\n    mesh/b" in text
    assert cli.run(["state", "show", "mesh/a", "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["inputs"] == {"mtu": 1420, "key": {"secret": True}}
    assert document["dependencies"] == ["mesh/b"]

    assert cli.run(["state", "show", "mesh/aa"]) == 2
    assert "did you mean mesh/" in capsys.readouterr().err


class TestBackup:
    """Copies, and putting them back."""

    def test_a_copy_can_be_put_back(self, store: Store, capsys: Out, tmp_path: Path) -> None:
        file = tmp_path / "copy.json"
        publish(store, resource("a"), resource("b"))
        assert cli.run(["state", "backup", str(file)]) == 0
        assert file.stat().st_mode & 0o077 == 0
        assert str(store.folder / "keys") in capsys.readouterr().out
        publish(store, resource("b", outputs={}), resource("c"), token=8)

        assert cli.run(["state", "restore", str(file), "--yes", "--format", "json"]) == 0

        out, err = capsys.readouterr()
        document = json.loads(out)
        assert (document["forgotten"], document["back"], document["changed"]) == (["mesh/c"], ["mesh/a"], ["mesh/b"])
        assert "- 1 resource: mesh/c" in err
        assert "+ 1 resource: mesh/a" in err
        assert recorded(store) == {"a", "b"}
        assert generation(store) == document["generation"] == 3
        assert [it.generation for it in backups.found(store.backups)] == [2, 1]

    def test_a_generation_can_be_put_back_and_that_can_be_undone(self, store: Store) -> None:
        publish(store, resource("a"))
        publish(store, resource("b"), token=8)

        assert cli.run(["state", "restore", "1", "--yes"]) == 0
        assert recorded(store) == {"a"}
        assert cli.run(["state", "restore", "2", "--yes"]) == 0
        assert recorded(store) == {"b"}
        assert generation(store) == 4

    def test_also_over_a_state_that_is_broken(self, store: Store, tmp_path: Path, capsys: Out) -> None:
        publish(store, resource("a"))
        assert cli.run(["state", "backup", str(tmp_path / "copy")]) == 0
        store.file.write_bytes(b"junk")
        assert cli.run(["state", "list"]) == 1
        assert "swarmctl state restore" in capsys.readouterr().err

        assert cli.run(["state", "restore", str(tmp_path / "copy"), "--yes"]) == 0

        assert recorded(store) == {"a"}
        (aside,) = store.folder.glob("state.json.broken-*")
        assert aside.read_bytes() == b"junk"

    def test_no_file_is_overwritten(self, store: Store, capsys: Out) -> None:
        publish(store, resource("a"))
        assert cli.run(["state", "backup"]) == 0
        (file,) = Path().glob("*.state.json")
        assert file.name == f"{store.identity}-1.state.json"
        assert cli.run(["state", "backup"]) == 2
        assert "exists already" in capsys.readouterr().err

    @pytest.mark.parametrize(
        ("source", "words"),
        [("7", "there is no backup of generation 7"), ("none.json", "can't be read"), ("junk.json", "no copy")],
    )
    def test_what_is_no_copy_is_refused(self, store: Store, capsys: Out, source: str, words: str) -> None:
        publish(store, resource("a"))
        Path("junk.json").write_text("{}")

        assert cli.run(["state", "restore", source, "--yes"]) == 2
        assert words in capsys.readouterr().err
        assert generation(store) == 1

    def test_another_stacks_copy_is_refused(self, store: Store, capsys: Out, tmp_path: Path) -> None:
        other = Store("other", f"file://{tmp_path}/elsewhere")
        publish(other, resource("a"))

        assert cli.run(["state", "restore", str(other.file), "--yes"]) == 2
        assert "the state of another stack, other" in capsys.readouterr().err

    def test_without_a_yes_nothing_is_restored(
        self, store: Store, capsys: Out, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(store, resource("a"))
        publish(store, resource("b"), token=8)
        monkeypatch.setattr("swarmctl.cli.state.require_terminal", lambda yes, what: None)
        monkeypatch.setattr("swarmctl.cli.state.ask", lambda question: "y")

        assert cli.run(["state", "restore", "1"]) == 9
        assert recorded(store) == {"b"}

    def test_a_copy_under_another_passphrase_needs_it(self, store: Store, capsys: Out, tmp_path: Path) -> None:
        crypter = Crypter.new("another")
        foreign = Store(store.identity, f"file://{tmp_path}/elsewhere")
        publish(foreign, resource("a", inputs={"key": secret(crypter, "hush")}), salt=crypter.salt)
        store.passphrase_file()
        publish(store, resource("b"))

        assert cli.run(["state", "restore", str(foreign.file), "--yes"]) == 1
        assert "--passphrase-file" in capsys.readouterr().err
        assert recorded(store) == {"b"}
        given = tmp_path / "passphrase"
        given.write_text("another\n")
        given.chmod(0o600)
        assert cli.run(["state", "restore", str(foreign.file), "--yes", "--passphrase-file", str(given)]) == 0
        assert recorded(store) == {"a"}
        assert store.passphrase_file().read_text() == "another\n"


class TestMoving:
    """Another place."""

    def test_all_of_it_is_moved_and_a_note_says_where_to(self, store: Store, capsys: Out, tmp_path: Path) -> None:
        publish(store, resource("a"))
        publish(store, resource("a"), resource("b"), token=8)
        seen, key, phrase = store.snapshot(), store.hmac(b"x"), store.passphrase_file().read_text()

        assert cli.run(["state", "migrate", "--to", f"file://{tmp_path}/new%20place"]) == 0

        assert f"state: file://{tmp_path}/new%20place" in capsys.readouterr().out
        moved = Store(store.identity, f"file://{tmp_path}/new%20place")
        assert (moved.snapshot(), moved.hmac(b"x"), moved.passphrase_file().read_text()) == (seen, key, phrase)
        assert [it.generation for it in backups.found(moved.backups)] == [1]
        assert {path.name for path in store.folder.iterdir()} == {"moved.json", "lease.json", "lease.lock"}
        for command in (
            ["state", "list"],
            ["state", "backup"],
            ["state", "restore", "1", "--yes"],
            ["state", "migrate"],
        ):
            assert cli.run(command) == 1
            err = capsys.readouterr().err
            assert f"was moved from {store.folder} to file://{tmp_path}/new%20place" in err
        assert not store.file.exists()

    def test_and_back_again(self, store: Store, tmp_path: Path) -> None:
        publish(store, resource("a"))
        assert cli.run(["state", "migrate", "--to", f"file://{tmp_path}/new"]) == 0
        (stack,) = (file for file in Path().glob("*.yaml") if "kind: Stack" in file.read_text())
        text = stack.read_text()
        stack.write_text(text.replace("\nspec:", f"\nspec:\n  state: file://{tmp_path}/new", 1))
        assert "state: file" in stack.read_text()
        assert cli.run(["state", "migrate", "--to", f"file://{store.folder.parent}"]) == 0
        stack.write_text(text)
        assert recorded(store) == {"a"}

    def test_another_state_is_not_overwritten(self, store: Store, capsys: Out, tmp_path: Path) -> None:
        publish(store, resource("a"))
        other = Store(store.identity, f"file://{tmp_path}/new")
        publish(other, resource("b"))

        assert cli.run(["state", "migrate", "--to", f"file://{tmp_path}/new"]) == 1
        assert "there is a state of this stack" in capsys.readouterr().err
        assert cli.run(["state", "migrate", "--to", f"file://{store.folder.parent}"]) == 1
        assert "already" in capsys.readouterr().err
        assert (recorded(store), recorded(other)) == ({"a"}, {"b"})

    def test_a_crash_at_any_step_leaves_one_whole_state_and_it_can_be_done_again(
        self, store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        publish(store, resource("a"))
        publish(store, resource("a"), resource("b"), token=8)
        store.passphrase_file()
        target = Store(store.identity, f"file://{tmp_path}/new")
        seen = store.snapshot()
        write = files.write

        def cut_off_after(steps: int) -> bool:
            """Move, and be killed instead of writing one more file; whether that came."""
            written = 0

            def counted(file: Path, content: bytes) -> None:
                nonlocal written
                written += 1
                if written > steps:
                    raise KeyboardInterrupt
                write(file, content)

            # Whoever takes and gives back the lease is not counted.
            with store.lease() as lease, target.lease() as other, monkeypatch.context() as patch:
                patch.setattr(files, "write", counted)
                try:
                    move(store, lease, target, other)
                except KeyboardInterrupt:
                    return True
            return False

        step = 0
        while cut_off_after(step):
            assert store.snapshot() == seen
            step += 1
        assert step >= 4
        assert target.snapshot() == seen
        with pytest.raises(StateMoved):
            store.load()


def test_the_layout_before_is_taken_over(store: Store, capsys: Out) -> None:
    assert cli.run(["state", "migrate"]) == 0
    assert "Nothing is recorded" in capsys.readouterr().out
    old = checkpoint_file(store.folder / "state", store.identity)
    old.parent.mkdir(parents=True)
    old.write_text(json.dumps(checkpoint(resource("a"))))
    assert recorded(store) == {"a"}

    assert cli.run(["state", "migrate"]) == 0

    assert not old.exists()
    assert store.file.exists()
    assert recorded(store) == {"a"}


class TestRotation:
    """Another passphrase."""

    @pytest.fixture
    def sealed(self, store: Store) -> Store:
        crypter = Crypter.new(store.passphrase_file().read_text())
        publish(store, resource("a", inputs={"key": secret(crypter, "hush")}), salt=crypter.salt)
        return store

    def test_a_random_one(self, sealed: Store, capsys: Out) -> None:
        before = sealed.passphrase_file().read_text()

        assert cli.run(["state", "rotate-passphrase"]) == 0

        out = capsys.readouterr().out
        assert "1 secret of the state and 1 backup" in out
        new = sealed.passphrase_file().read_text()
        assert new.strip() not in out
        assert new != before
        found = sealed.load()
        assert found is not None
        Crypter.of(new, salt(found.checkpoint))

    @pytest.mark.parametrize(
        ("content", "mode", "words"),
        [
            ("good enough\n", 0o644, "can be read by others"),
            ("\n", 0o600, "no passphrase"),
            ("a\nb", 0o600, "one line"),
        ],
    )
    def test_a_file_with_none_or_for_all_to_see_is_refused(
        self, sealed: Store, capsys: Out, content: str, mode: int, words: str
    ) -> None:
        Path("new").write_text(content)
        os.chmod("new", mode)

        assert cli.run(["state", "rotate-passphrase", "--passphrase-file", "new"]) == 2
        assert words in capsys.readouterr().err
        assert generation(sealed) == 1
        os.chmod("new", 0o600)
        Path("new").write_text("good enough\n")
        assert cli.run(["state", "rotate-passphrase", "--passphrase-file", "new"]) == 0
        assert sealed.passphrase_file().read_text() == "good enough\n"


@pytest.mark.parametrize(
    "command", [["restore", "1", "--yes"], ["migrate"], ["migrate", "--to", "file:///tmp/x"], ["rotate-passphrase"]]
)
def test_what_changes_the_state_waits_for_nobody_who_works_on_it(store: Store, capsys: Out, command: list[str]) -> None:
    publish(store, resource("a"))
    publish(store, resource("b"), token=8)
    with store.lease():
        assert cli.run(["state", *command]) == 6
    assert "works on this stack" in capsys.readouterr().err
    assert generation(store) == 2


def test_who_only_looks_does_not_wait(store: Store) -> None:
    publish(store, resource("a"))
    with store.lease():
        assert cli.run(["state", "list"]) == 0
        assert cli.run(["state", "backup"]) == 0


@pytest.mark.parametrize(
    "command", [["list"], ["show", "mesh/a"], ["backup"], ["restore", "1", "--yes"], ["migrate"], ["rotate-passphrase"]]
)
def test_a_newer_swarmctls_state_is_refused_with_the_version(store: Store, capsys: Out, command: list[str]) -> None:
    publish(store, resource("a"))
    publish(store, resource("b"), token=8)
    document = json.loads(store.file.read_bytes()) | {"needs": "99.0.0"}
    store.file.write_text(json.dumps(document))

    assert cli.run(["state", *command]) == 1
    assert "needs 99.0.0 or newer" in capsys.readouterr().err
    assert json.loads(store.file.read_bytes()) == document


def test_with_a_lock_timeout_it_waits(store: Store, capsys: Out) -> None:
    publish(store, resource("a"))
    with contextlib.ExitStack() as held:
        held.enter_context(store.lease())
        timer = threading.Timer(0.2, held.pop_all().close)
        timer.start()
        assert cli.run(["state", "migrate", "--lock-timeout", "20s"]) == 0
        timer.join()
    assert "waiting for" in capsys.readouterr().err


def test_a_run_that_nobody_can_read_is_told_by_what_only_looks(store: Store, capsys: Out) -> None:
    publish(store, resource("a"))
    run = store.runs_folder / "9"
    run.mkdir(parents=True)
    (run / "run.json").write_bytes(b"")
    (run / "journal").write_bytes(b"?")
    assert cli.run(["state", "list"]) == 0
    told = capsys.readouterr()
    assert "mesh/a" in told.out
    assert f"can't be read ({run})" in told.err
    assert "swarmctl doctor --stack" in told.err
