"""What must hold before a saved plan is applied, and who may have signed it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from swarmctl.errors import PlanRefused, SwarmError
from swarmctl.plans import file, signing
from swarmctl.plans.model import Action, Change, Plan, Preconditions, PropertyDiff
from swarmctl.plans.saved import SavedPlan
from swarmctl.plans.signing import Signer
from tests.reports.plans import EVERYTHING

NOW = Preconditions("d0", "g0", "s0", {"swarmctl": "0.1.0", "engine": "3.259.0"})
MADE = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def save(folder: Path, plan: Plan = EVERYTHING, *, key: str = "local", hours: float = 24) -> SavedPlan:
    sign = signing.with_local_key(folder / key)
    return file.save(folder / "plan.json", plan, NOW, sign, expires=timedelta(hours=hours), now=MADE)


def public(folder: Path, key: str) -> str:
    signing.make_local_key(folder / key)
    return signing.local_public_key(folder / key)


# The file.


def test_what_is_saved_is_what_is_read(tmp_path: Path) -> None:
    assert save(tmp_path) == file.load(tmp_path / "plan.json")


def test_equal_inputs_make_an_equal_body_byte_by_byte_wherever_and_whenever_and_by_whomever(tmp_path: Path) -> None:
    bodies = []
    for name, shift, plan in (
        ("here", 0, EVERYTHING),
        ("there", 3600, replace(EVERYTHING, changes=EVERYTHING.changes[::-1], drift=EVERYTHING.drift[::-1])),
    ):
        folder = tmp_path / name
        folder.mkdir()
        backwards = Preconditions("d0", "g0", "s0", dict(reversed(NOW.versions.items())))
        sign, when = signing.with_local_key(folder / "key"), MADE + timedelta(seconds=shift)
        file.save(folder / "plan.json", plan, NOW if name == "here" else backwards, sign, now=when)
        text = (folder / "plan.json").read_text()
        assert str(tmp_path) not in text
        outside = ('  "createdAt"', '  "expiresAt"', '  "id"', '  "signature"')
        bodies.append([line for line in text.splitlines() if not line.startswith(outside)])
    assert bodies[0] == bodies[1]


def test_two_plans_with_the_same_body_are_two_plans(tmp_path: Path) -> None:
    first = save(tmp_path)
    sign = signing.with_local_key(tmp_path / "local")
    second = file.save(tmp_path / "plan.json", EVERYTHING, NOW, sign, now=MADE + timedelta(milliseconds=1))
    assert first.digest == second.digest
    assert first.id != second.id


def test_an_unknown_value_that_names_no_source_is_not_saved(tmp_path: Path) -> None:
    for source in ("", "nowhere", "mesh/m[a]", "publicKey", ".publicKey"):
        diff = PropertyDiff("peers.a", "add", after={"publicKey": {"unknown": source}})
        plan = Plan("lab", (Change("mesh/m[a]", "t", Action.UPDATE, properties=(diff,)),), 0)
        with pytest.raises(SwarmError, match=r"waits for a value and does not say whose it is \(peers\.a\)"):
            save(tmp_path, plan)
    assert not (tmp_path / "plan.json").exists()


def test_a_plan_that_can_not_be_signed_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(SwarmError, match="signing key"):
        file.save(tmp_path / "plan.json", EVERYTHING, NOW, signing.with_key(tmp_path / "nowhere"))
    assert not (tmp_path / "plan.json").exists()


# Who signed it.


def test_with_no_signers_declared_the_local_key_is_taken_and_said_to_be_worth_little(tmp_path: Path) -> None:
    trust = file.verify(save(tmp_path), [], public(tmp_path, "local"))
    assert trust.by == ""
    assert "makes tampering evident and nothing more" in trust.text


def test_with_no_signers_declared_another_key_is_refused_by_name(tmp_path: Path) -> None:
    saved = save(tmp_path, key="laptop")
    for local, reason in ((public(tmp_path, "local"), "is another"), ("", "no key is kept")):
        with pytest.raises(PlanRefused, match=rf"signed by SHA256:\S+, which Stack does not declare, .*{reason}"):
            file.verify(saved, [], local)


def test_a_declared_signer_is_named(tmp_path: Path) -> None:
    signers = [Signer("ci", public(tmp_path, "ci")), Signer("alice", public(tmp_path, "laptop") + " alice@laptop")]
    trust = file.verify(save(tmp_path, key="laptop"), signers, public(tmp_path, "local"))
    assert trust.by == "alice"
    assert trust.text.startswith("signed by alice (SHA256:")


def test_with_signers_declared_the_local_key_no_longer_counts(tmp_path: Path) -> None:
    signers = [Signer("ci", public(tmp_path, "ci")), Signer("alice", public(tmp_path, "laptop"))]
    with pytest.raises(PlanRefused, match=r"signed by the key kept with the state .*none of .*signers \(ci, alice\)"):
        file.verify(save(tmp_path), signers, public(tmp_path, "local"))


def test_with_signers_declared_a_stranger_is_refused_by_the_key(tmp_path: Path) -> None:
    with pytest.raises(PlanRefused, match=r"signed by SHA256:\S+, which is none of the stack's signers \(ci\)"):
        file.verify(save(tmp_path, key="stranger"), [Signer("ci", public(tmp_path, "ci"))], public(tmp_path, "local"))


def test_a_declared_key_that_is_none_is_told_as_that(tmp_path: Path) -> None:
    with pytest.raises(SwarmError, match="the key of the signer ci can't be used"):
        file.verify(save(tmp_path), [Signer("ci", "ssh-ed25519 AAAA")], "")


def test_a_signature_of_one_plan_does_not_sign_another(tmp_path: Path) -> None:
    first = save(tmp_path, hours=1)
    document = json.loads((tmp_path / "plan.json").read_text())
    save(tmp_path, hours=24)
    other = json.loads((tmp_path / "plan.json").read_text())
    from tests.plans.sealing import laid_out

    (tmp_path / "plan.json").write_text(laid_out({**other, "signature": document["signature"]}))
    with pytest.raises(PlanRefused, match="changed after it was signed, or never signed"):
        file.load(tmp_path / "plan.json")
    with pytest.raises(PlanRefused, match="the plan is not signed"):
        file.verify(replace(first, expires=MADE + timedelta(days=300)), [], public(tmp_path, "local"))


# When, and what from.


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (timedelta(hours=-1), "made at 2026-03-01T12:00:00.000Z, and here it is only 2026-03-01T11:00:00.000Z"),
        (timedelta(minutes=-2, milliseconds=-1), "one clock is wrong"),
        (timedelta(minutes=-2), ""),
        (timedelta(), ""),
        (timedelta(hours=24, milliseconds=-1), ""),
        (timedelta(hours=24), "expired at 2026-03-02T12:00:00.000Z, and it is 2026-03-02T12:00:00.000Z"),
        (timedelta(days=4000), "expired at"),
    ],
)
def test_it_is_good_from_when_it_was_made_until_it_expires(tmp_path: Path, after: timedelta, reason: str) -> None:
    saved = save(tmp_path)
    if not reason:
        file.check(saved, saved.stack, NOW, now=MADE + after)
        return
    with pytest.raises(PlanRefused) as refused:
        file.check(saved, saved.stack, NOW, now=MADE + after)
    assert reason in refused.value.details[0]


def test_the_expiry_of_a_resumed_plan_counts_too(tmp_path: Path) -> None:
    saved = save(tmp_path)
    with pytest.raises(PlanRefused):
        file.check(saved, saved.stack, NOW, now=MADE + timedelta(days=2), resumed=True)


def test_a_resumed_plan_may_find_another_state_and_nothing_else(tmp_path: Path) -> None:
    saved = save(tmp_path)
    file.check(saved, saved.stack, replace(NOW, state="s1"), now=MADE, resumed=True)
    for moved in (replace(NOW, declarations="d1"), replace(NOW, graph="g1"), replace(NOW, versions={})):
        with pytest.raises(PlanRefused, match="stale"):
            file.check(saved, saved.stack, moved, now=MADE, resumed=True)


def test_a_finished_plan_is_refused_although_nothing_has_moved(tmp_path: Path) -> None:
    saved = save(tmp_path)
    with pytest.raises(PlanRefused, match=f"the plan {saved.id[:12]} was carried out already"):
        file.check(saved, saved.stack, NOW, now=MADE, finished=True)


@pytest.mark.parametrize(("after", "refused"), [(-1, False), (0, True), (1, True)])
def test_a_plan_is_none_any_more_when_its_stack_was_destroyed_since(tmp_path: Path, after: int, refused: bool) -> None:
    saved, destroyed = save(tmp_path), MADE + timedelta(milliseconds=after)
    for resumed in (False, True):
        if not refused:
            file.check(saved, saved.stack, NOW, now=MADE, destroyed=destroyed, resumed=resumed)
            continue
        with pytest.raises(PlanRefused) as error:
            file.check(saved, saved.stack, NOW, now=MADE, destroyed=destroyed, resumed=resumed)
        assert error.value.details == (
            f"destroyed: the stack was destroyed at 2026-03-01T12:00:00.00{after}Z, after the plan was made",
        )


def test_no_plan_is_good_for_longer_than_it_is_known_when_a_stack_was_destroyed(tmp_path: Path) -> None:
    saved = save(tmp_path, hours=30 * 24)
    file.check(saved, saved.stack, NOW, now=MADE)
    saved = save(tmp_path, hours=30 * 24 + 1)
    with pytest.raises(PlanRefused) as refused:
        file.check(saved, saved.stack, NOW, now=MADE)
    assert "no plan may be good for more than 30 days" in refused.value.details[0]


def test_a_secret_with_another_value_is_told_by_whose_it_is_and_not_as_another_graph(tmp_path: Path) -> None:
    then = replace(NOW, secrets={f"a/b[{number}]": "1" for number in range(12)})
    sign = signing.with_local_key(tmp_path / "local")
    saved = file.save(tmp_path / "plan.json", EVERYTHING, then, sign, now=MADE)
    for changed, told in (({"a/b[3]": "2"}, "a/b[3]"), (dict.fromkeys(then.secrets, "2"), "a/b[5] and 4 more")):
        moved = replace(then, secrets={**then.secrets, **changed})
        with pytest.raises(PlanRefused) as refused:
            file.check(saved, saved.stack, moved, now=MADE)
        assert len(refused.value.details) == 1
        assert "secrets: a declared secret has another value" in refused.value.details[0]
        assert refused.value.details[0].endswith(told)


# What it would do now.


def test_drift_that_no_change_heals_is_compared_too(tmp_path: Path) -> None:
    saved = save(tmp_path)
    moved = replace(EVERYTHING, drift=(*EVERYTHING.drift[:-1], replace(EVERYTHING.drift[-1], path="publicKey")))
    with pytest.raises(PlanRefused) as refused:
        file.compare(saved, moved)
    assert any("publicKey has drifted otherwise" in line for line in refused.value.details)


def test_the_property_that_differs_is_named(tmp_path: Path) -> None:
    saved, change = save(tmp_path), EVERYTHING.changes[0]
    moved = replace(EVERYTHING, changes=(replace(change, timeout=5), *EVERYTHING.changes[1:]))
    with pytest.raises(PlanRefused) as refused:
        file.compare(saved, moved)
    assert refused.value.details[0].startswith(change.address)
    assert refused.value.details[0].endswith("(another timeout)")


def test_an_unknown_value_from_another_source_is_refused(tmp_path: Path) -> None:
    def waiting(source: str) -> Plan:
        diff = PropertyDiff("peers.a.publicKey", "add", after={"unknown": source})
        return Plan("lab", (Change("mesh/m[b/peers]", "t", Action.UPDATE, properties=(diff,)),), 0)

    saved = save(tmp_path, waiting("mesh/m[a].publicKey"))
    file.compare(saved, waiting("mesh/m[a].publicKey"))
    with pytest.raises(PlanRefused, match="the world has moved") as refused:
        file.compare(saved, waiting("mesh/m[z].publicKey"))
    assert refused.value.details == (
        "mesh/m[b/peers]: peers.a.publicKey: (none) → (known when mesh/m[a].publicKey is) in the plan, "
        "(none) → (known when mesh/m[z].publicKey is) now",
    )


def refusal(folder: Path, then: tuple[PropertyDiff, ...], now: tuple[PropertyDiff, ...]) -> str:
    plans = [Plan("lab", (Change("a/b[0]", "t", Action.UPDATE, properties=diffs),), 0) for diffs in (then, now)]
    saved = save(folder, plans[0])
    with pytest.raises(PlanRefused, match="the world has moved") as refused:
        file.compare(saved, plans[1])
    assert len(refused.value.details) == 1
    return str(refused.value.details[0])


def test_values_that_are_others_are_told_in_few_words_and_secrets_never(tmp_path: Path) -> None:
    def diff(path: str, before: object, after: object) -> PropertyDiff:
        return PropertyDiff(path, "update", before, after)

    def secret(digit: str) -> dict[str, str]:
        return {"secret": f"hmac-sha256:{digit * 64}"}

    version = diff("version", 1, 2), diff("version", 7, 2)
    assert refusal(tmp_path, version[:1], version[1:]) == "a/b[0]: version: 1 → 2 in the plan, 7 → 2 now"
    assert refusal(tmp_path, version[:1], (version[0], diff("size", "x", 1))) == (
        'a/b[0]: size: unchanged in the plan, "x" → 1 now'
    )
    assert refusal(tmp_path, (diff("key", secret("1"), secret("2")),), (diff("key", secret("3"), secret("2")),)) == (
        "a/b[0]: key: (a secret) → (a secret) in the plan, and otherwise now"
    )
    nested = refusal(tmp_path, (diff("it", 1, {"in": [secret("1")]}),), (diff("it", 1, {"in": [secret("2")]}),))
    assert "hmac" not in nested
    long = refusal(tmp_path, (diff("text", "a" * 10_000, "b"),), (diff("text", "a" * 10_000, "c\x1b[31m"),))
    assert len(long) < 250
    assert "\x1b" not in long
    many = [tuple(diff(f"p{place}", number, 9) for place in range(50)) for number in (1, 2)]
    assert refusal(tmp_path, *many).endswith("p10: 1 → 9 in the plan, 2 → 9 now; and 47 more properties")


def test_a_plan_of_a_part_is_not_one_of_the_whole(tmp_path: Path) -> None:
    saved = save(tmp_path, replace(EVERYTHING, partial=("nodepool/workers[0]",)))
    assert saved.partial == ("nodepool/workers[0]",)
    with pytest.raises(PlanRefused, match=r"of nodepool/workers\[0\], and this would be of the whole stack"):
        file.compare(saved, EVERYTHING)


def test_a_plan_made_without_reading_the_world_is_taken_when_the_world_is_as_recorded(tmp_path: Path) -> None:
    blind = replace(EVERYTHING, world_read=False, drift=())
    saved = save(tmp_path, blind)
    file.compare(saved, replace(blind, world_read=True))
    with pytest.raises(PlanRefused, match="the world has moved"):
        file.compare(saved, replace(blind, world_read=True, changes=EVERYTHING.changes[1:]))
