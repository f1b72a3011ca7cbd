"""What is impossible by the declaration alone, whatever host it meets. Pure; `decide` refuses all of it, too.

A model's name may stand for several cards; then only what is impossible on every one of them is refused here.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from difflib import get_close_matches
from itertools import product

from swarmctl.gpu.amd import GUIDE
from swarmctl.gpu.branch import Choice, choose, choose_flavour, unchanging
from swarmctl.gpu.catalogue import Card, Tables, Vendor, is_model, tables
from swarmctl.gpu.mig import resolve
from swarmctl.gpu.model import Device, Reason, Refusal, Refusals, Source, Wanted

VENDORS: tuple[Vendor, ...] = ("nvidia", "amd")


def impossible(wanted: Wanted, known: Tables | None = None) -> Refusals:
    """Every reason why no host can be what is `wanted`; none when one can. `known` as in `decide`."""
    known = known or tables(wanted.vendor)
    catalogue = known.catalogue
    cards = _named(wanted.model, known)
    found = [*unchanging(wanted), *_source(wanted)]
    if not wanted.model:
        return (*found, *_branch(wanted, (), known))
    if not cards:
        return (
            Refusal(
                "model-unknown",
                f"no card of {wanted.vendor} that is known here is called {wanted.model[:60]!r}",
                _model_mend(wanted, known),
                catalogue.sources["id"],
            ),
        )
    for of in (_branch, _flavour, _mig):
        each = [of(wanted, ((number, card),), known) for number, card in cards.items()]
        if all(each):
            found += each[0]
    return tuple(found)


def unwise(wanted: Wanted, known: Tables | None = None) -> tuple[Reason, ...]:
    """What is not to be advised about the declared branch, where some card of that name may have it."""
    known = known or tables(wanted.vendor)
    cards = [[card] for card in _named(wanted.model, known).values()] if wanted.model else [[]]
    outcomes = [choose(wanted, each, known) for each in cards]
    return next((one.warnings for one in outcomes if isinstance(one, Choice)), ())


def together(wanted: Wanted, known: Tables | None = None) -> Refusals:
    """Every reason why no host can have all models of `wanted.cards`, each of which is possible by itself."""
    known = known or tables(wanted.vendor)
    named = [_named(item.model, known) for item in wanted.cards]
    if not wanted.beside or not all(named):
        return ()
    shared = _same(wanted, [cards.keys() for cards in named], known)
    if shared:
        return shared
    # What decides is the same for most cards of one model, so few combinations are left.
    kinds = [list({_window(card, known): (number, card) for number, card in cards.items()}.values()) for cards in named]
    found: list[Refusal] = []
    for of in (_branch, _flavour):
        first: list[Refusal] = []
        for cards in product(*kinds):
            refusals = of(wanted, cards, known)
            if not refusals:
                break
            first = first or refusals
        else:
            found += first
    return tuple(found)


def _same(wanted: Wanted, named: Sequence[Collection[str]], known: Tables) -> Refusals:
    """Models that name the same cards: how many of each there are could not be told."""
    return tuple(
        Refusal(
            "model-twice",
            f"{wanted.cards[later].model} and {wanted.cards[earlier].model} both mean "
            f"{known.catalogue.cards[sorted(both)[0]].name}",
            "name each model once, or so far that they differ",
            "declaration",
            later,
        )
        for later in range(len(named))
        for earlier in range(later)
        if (both := set(named[later]) & set(named[earlier]))
    )


def _window(card: Card, known: Tables) -> tuple[str, str]:
    return card.architecture, known.catalogue.minimum(card)


def _named(model: str, known: Tables) -> dict[str, Card]:
    return {number: card for number, card in known.catalogue.cards.items() if is_model(model, card)}


def _source(wanted: Wanted) -> list[Refusal]:
    if wanted.vendor != "amd" or wanted.source is not Source.DISTRIBUTION:
        return []
    return [
        Refusal(
            "source-refused",
            "no distribution packages AMD's driver itself: what its kernel has is of no release of AMD's",
            "leave `source` out, or declare a mirror",
            GUIDE,
        )
    ]


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


def _model_mend(wanted: Wanted, known: Tables) -> str:
    for vendor in VENDORS:
        if vendor != wanted.vendor and _named(wanted.model, tables(vendor)):
            return f"it is a card of {vendor}'s: write `vendor: {vendor}`"
    return f"declare one of them, such as {_examples(wanted, known)}; docs/gpu.md lists all"


def _examples(wanted: Wanted, known: Tables) -> str:
    """Models whose name, or a word of it, is nearly what is wanted, else some."""
    words = {word for word in wanted.model.lower().replace("-", " ").split() if any(char.isdigit() for char in word)}
    models = [model for card in known.catalogue.cards.values() for model in card.models]
    there = {word for model in models for word in model.lower().split() if any(char.isdigit() for char in word)}
    alike = {other for word in words for other in get_close_matches(word, sorted(there), 3, 0.75)}
    near = [model for model in models if any(word in model.lower() for word in words)]
    near = near or [model for model in models if alike & set(model.lower().split())]
    return ", ".join(f"`{model.replace(' ', '-')}`" for model in (near or models[-6:])[:4])
