"""Keys that are gone: what nobody needs them for goes on, and what can't is told with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmctl.state import unlocking
from swarmctl.state.checkpoint import salt
from swarmctl.state.passphrase import Crypter
from swarmctl.state.store import Store
from tests.state.published import checkpoint, leased, resource, secret


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    monkeypatch.setattr("swarmctl.state.passphrase.ROUNDS", 10)
    return Store("lab", f"file://{tmp_path}")


def applied(store: Store, *, sealed: bool) -> str:
    crypter = Crypter.new(store.passphrase_file().read_text())
    value = secret(crypter, "word") if sealed else "word"
    recorded = resource("a", inputs={"list": [{"deep": value}], "n": 1})
    store.publish(leased(store, 7), 0, checkpoint(recorded, salt=crypter.salt), applied=None)
    return crypter.salt


def test_a_passphrase_that_nothing_was_encrypted_with_is_made_anew(store: Store) -> None:
    its = applied(store, sealed=False)
    file = store.passphrase_file()
    kept = file.read_text()
    assert store.recover(leased(store, 8)) == []
    file.unlink()

    before = store.load()
    assert before is not None
    assert salt(unlocking.opened(store.keys, before.checkpoint)) == "", "who looks does without it"
    assert salt(before.checkpoint) == its
    (told,) = store.recover(leased(store, 9))
    assert "passphrase of the state is gone" in told
    found = store.load()
    assert found is not None
    assert (salt(found.checkpoint), found.generation) == ("", 2)
    assert store.snapshot().resources["mesh/a"].inputs == {"list": [{"deep": "word"}], "n": 1}
    assert store.passphrase_file().read_text() != kept
    assert store.recover(leased(store, 10)) == []


def test_with_secrets_in_it_the_state_stays_as_it_is_and_the_file_is_named(store: Store) -> None:
    applied(store, sealed=True)
    file = store.passphrase_file()
    kept = file.read_bytes()
    file.unlink()
    before = store.file.read_bytes()

    assert store.recover(leased(store, 9)) == []
    assert store.file.read_bytes() == before
    found = store.load()
    assert found is not None
    with pytest.raises(unlocking.PassphraseGone, match=str(file)) as error:
        unlocking.opened(store.keys, found.checkpoint)
    assert "swarmctl destroy" in error.value.hint
    assert not file.exists(), "none is invented"
    file.write_bytes(kept)
    assert unlocking.opened(store.keys, found.checkpoint) == found.checkpoint
    assert not store.do_without_secrets(leased(store, 10))
    assert store.file.read_bytes() == before


def test_to_destroy_it_the_secrets_are_not_needed(store: Store) -> None:
    applied(store, sealed=True)
    store.passphrase_file().unlink()
    assert store.do_without_secrets(leased(store, 9))
    found = store.load()
    assert found is not None
    assert unlocking.opened(store.keys, found.checkpoint) == found.checkpoint
    assert store.snapshot().resources["mesh/a"].inputs == {"list": [{"deep": ""}], "n": 1}


def test_a_key_of_digests_that_is_gone_is_told(store: Store) -> None:
    digest = store.hmac(b"word")
    recorded = resource("a", inputs={"secret": {"secret": {"env": "WORD"}, "hmac": digest}})
    store.publish(leased(store, 7), 0, checkpoint(recorded), applied=None)
    assert store.recover(leased(store, 8)) == []
    store.keys.digests.unlink()
    (told,) = store.recover(leased(store, 9))
    assert str(store.keys.digests) in told
    assert "looks changed" in told
