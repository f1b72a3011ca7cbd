"""A new passphrase: all secrets are encrypted anew, and a crash at any step leaves a state that can be decrypted."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from swarmctl.errors import SwarmError
from swarmctl.state import backups, published
from swarmctl.state.checkpoint import SECRET, SIGNATURE, salt
from swarmctl.state.passphrase import Crypter, WrongPassphrase
from swarmctl.state.rotation import rotate
from swarmctl.state.store import Store
from tests.state.crashes import killed_after
from tests.state.published import checkpoint, leased, resource, secret

OLD = "the old passphrase"


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmctl.state.passphrase.ROUNDS", 10)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Two generations with a secret in each."""
    store = Store("lab", f"file://{tmp_path}")
    store.passphrase_file().write_text(f"{OLD}\n")
    crypter = Crypter.new(OLD)
    lease = leased(store, 7)
    for n, value in enumerate(("first", {"a": ["second"]})):
        recorded = resource("a", inputs={"key": secret(crypter, value)}, outputs={"list": [secret(crypter, value)]})
        store.publish(lease, n, checkpoint(recorded, salt=crypter.salt), applied=None)
    return store


def plain(value: Any, crypter: Crypter) -> Any:
    if isinstance(value, dict):
        if value.get(SIGNATURE) == SECRET:
            return json.loads(crypter.decrypt(value["ciphertext"]))
        return {key: plain(item, crypter) for key, item in value.items()}
    return [plain(item, crypter) for item in value] if isinstance(value, list) else value


def values(store: Store, content: bytes) -> Any:
    """The secret in a state, by the passphrase that the store has for it."""
    document = published.decode(content).checkpoint
    phrase = store.keys.passphrase(salt(document)).read_text()
    (found,) = plain(document, Crypter.of(phrase, salt(document)))["checkpoint"]["latest"]["resources"]
    assert found["outputs"]["list"] == [found["inputs"]["key"]]
    return found["inputs"]["key"]


def usable(store: Store) -> None:
    """The state and its backup can be decrypted, and the engine gets the fitting passphrase."""
    assert values(store, store.file.read_bytes()) == {"a": ["second"]}
    oldest = list(backups.found(store.backups))[-1]
    assert values(store, oldest.file.read_bytes()) == "first"
    found = store.load()
    assert found is not None
    Crypter.of(store.passphrase_file().read_text(), salt(found.checkpoint))


@pytest.mark.parametrize("given", [None, "another one of mine"])
def test_all_secrets_are_under_the_new_one_and_the_old_one_is_gone(store: Store, given: str | None) -> None:
    before = store.load()
    done = rotate(store, leased(store, 8), given)

    usable(store)
    found = store.load()
    assert found is not None
    assert before is not None
    assert (done.secrets, done.backups, done.left) == (2, 2, ())
    assert found.generation == before.generation + 1
    new = store.passphrase_file().read_text().strip()
    assert new == given if given else len(new) >= 32
    assert store.keys.passphrases() == [store.passphrase_file()]
    assert store.passphrase_file().stat().st_mode & 0o077 == 0
    old = salt(before.checkpoint)
    for path in store.folder.rglob("*"):
        assert not path.is_file() or (OLD.encode() not in path.read_bytes() and old.encode() not in path.read_bytes())


def test_it_can_be_done_again(store: Store) -> None:
    rotate(store, leased(store, 8))
    rotate(store, leased(store, 9))
    usable(store)
    assert len(store.keys.passphrases()) == 1


def test_a_passphrase_that_does_not_fit_changes_nothing(store: Store) -> None:
    store.passphrase_file().write_text("wrong")
    before = {path: path.read_bytes() for path in store.folder.rglob("*.json")}
    lease = leased(store, 8)
    before[store.folder / "lease.json"] = (store.folder / "lease.json").read_bytes()

    with pytest.raises(WrongPassphrase):
        rotate(store, lease)
    assert {path: path.read_bytes() for path in store.folder.rglob("*.json")} == before
    assert len(store.keys.passphrases()) == 1


def test_what_is_damaged_is_named_and_left(store: Store) -> None:
    (broken,) = [backup.file for backup in backups.found(store.backups)]
    broken.write_bytes(b"junk")

    assert rotate(store, leased(store, 8)).left == (broken,)


def test_before_anything_was_encrypted_the_passphrase_alone_is_another(tmp_path: Path) -> None:
    store = Store("lab", f"file://{tmp_path}")
    with pytest.raises(SwarmError, match="nothing is recorded"):
        rotate(store, leased(store, 7))
    store.publish(leased(store, 7), 0, checkpoint(resource("a")), applied=None)
    before = store.passphrase_file().read_text()

    rotate(store, leased(store, 8))

    assert store.passphrase_file().read_text() != before
    assert len(store.keys.passphrases()) == 1


def test_a_crash_at_any_step_leaves_a_state_that_can_be_decrypted_and_the_next_run_ends_it(store: Store) -> None:
    whole = store.folder.with_name("whole")
    shutil.copytree(store.folder, whole)
    step = 0
    while True:
        shutil.rmtree(store.folder)
        shutil.copytree(whole, store.folder)
        lease = leased(store, 8)
        if not killed_after(step, lambda lease=lease: rotate(store, lease)):  # type: ignore[misc]
            break
        usable(store)
        store.recover(leased(store, 9))
        usable(store)
        assert len(store.keys.passphrases()) == 1
        assert not list(store.folder.rglob("*.new"))
        step += 1
    assert step >= 8


def test_a_ciphertext_that_is_damaged_is_no_secret_of_ours() -> None:
    crypter = Crypter.new("one")
    sealed = crypter.encrypt("text")
    assert crypter.decrypt(sealed) == "text"
    for damaged in (sealed[:-5] + "AAAA=", "v2" + sealed[2:], "v1:x:y", "", "v1:" + sealed):
        with pytest.raises(WrongPassphrase):
            crypter.decrypt(damaged)
    for damaged in ("", "v1", "v9:a:b", crypter.salt[:-8]):
        with pytest.raises(WrongPassphrase):
            Crypter.of("one", damaged)
    with pytest.raises(WrongPassphrase):
        Crypter.of("two", crypter.salt)
    assert Crypter.of(" one\n", crypter.salt).decrypt(sealed) == "text"


def test_nothing_shows_what_is_secret() -> None:
    assert "AESGCM" not in repr(Crypter.new("one"))
