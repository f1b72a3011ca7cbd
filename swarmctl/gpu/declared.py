"""What is impossible by the declaration alone, whatever host it meets. Pure; `decide` refuses all of it, too.

A model's name may stand for several cards; then only what is impossible on every one of them is refused here.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarmctl.gpu.branch import choose, choose_flavour
from swarmctl.gpu.catalogue import Card, Tables, is_model, tables
from swarmctl.gpu.mig import resolve
from swarmctl.gpu.model import Device, Refusal, Refusals, Wanted


def impossible(wanted: Wanted, known: Tables | None = None) -> Refusals:
    """Every reason why no host can be what is `wanted`; none when one can. `known` as in `decide`."""
    known = known or tables(wanted.vendor)
    catalogue = known.catalogue
    cards = {number: card for number, card in catalogue.cards.items() if is_model(wanted.model, card)}
    if not wanted.model:
        return tuple(_branch(wanted, (), known))
    if not cards:
        return (
            Refusal(
                "model-unknown",
                f"no card of {wanted.vendor} that is known here is called {wanted.model[:60]!r}",
                f"declare one of them, such as {_examples(wanted, known)}; docs/gpu.md lists all",
                catalogue.sources["id"],
            ),
        )
    found: list[Refusal] = []
    for of in (_branch, _flavour, _mig):
        each = [of(wanted, ((number, card),), known) for number, card in cards.items()]
        if all(each):
            found += each[0]
    return tuple(found)


_Cards = Sequence[tuple[str, Card]]


def _branch(wanted: Wanted, cards: _Cards, known: Tables) -> list[Refusal]:
    outcome = choose(wanted, [card for _, card in cards], known)
    return outcome if isinstance(outcome, list) else []


def _flavour(wanted: Wanted, cards: _Cards, known: Tables) -> list[Refusal]:
    outcome = choose_flavour(wanted, next(iter(known.drivers.branches)), [card for _, card in cards], known)
    return outcome if isinstance(outcome, list) else []


def _mig(wanted: Wanted, cards: _Cards, known: Tables) -> list[Refusal]:
    if wanted.mig == "":
        return []
    there = [(Device("0000:00:00.0", known.catalogue.vendor, number), card) for number, card in cards]
    outcome = resolve(wanted.mig, there, known.catalogue)
    return outcome if isinstance(outcome, list) else []


def _examples(wanted: Wanted, known: Tables) -> str:
    """Models that share a word with what is wanted, else some."""
    words = {word for word in wanted.model.lower().replace("-", " ").split() if any(char.isdigit() for char in word)}
    models = [model for card in known.catalogue.cards.values() for model in card.models]
    near = [model for model in models if any(word in model.lower() for word in words)]
    return ", ".join(f"`{model.replace(' ', '-')}`" for model in (near or models[-6:])[:4])
