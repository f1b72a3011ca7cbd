"""What must hold for the Stack beyond its schema: signers that are apart, and moves that can be made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from swarmctl import kinds
from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.declarations.words import did_you_mean, listing, sentences
from swarmctl.diagnostics import Code, Diagnostic, Range, Related

SIGNER_TWICE = Code(
    "SW3401",
    "signer declared twice",
    """Names and keys of signers are unique in the stack: a signature must say who signed.

Wrong: `signers: [{name: ci, key: …}, {name: ci, key: …}]`, or two names with one key

Right: one entry for each key, each with a name of its own
""",
)
NO_SUCH_MOVE = Code(
    "SW3402",
    "move between things that are not alike",
    """A move keeps a thing under another name, so both ends are of one kind, and of one that makes things at all. Both
ends are whole (`nodepool/gpu`), or both are one thing of it (`nodepool/gpu[0]`).

Wrong: `{from: nodepool/a, to: mesh/b}`, `{from: pool/a, to: pool/b}`, `{from: nodepool/a, to: "nodepool/b[0]"}`

Right: `{from: nodepool/a, to: nodepool/b}`
""",
)
STILL_DECLARED = Code(
    "SW3403",
    "move from something that is still declared",
    """`from` is an address that nothing has any more. What is declared there is another thing, and it can't be both.

Wrong: `{from: nodepool/workers, to: nodepool/gpu}` while the NodePool `workers` is declared

Right: the NodePool `workers` renamed to `gpu`; later, before there is a new `workers`, the entry removed
""",
)
NOT_DECLARED = Code(
    "SW3404",
    "move to something that is not declared",
    """`to` is the address that the thing has now, so something must be declared there, or a further move must begin
there.

Wrong: `{from: nodepool/workers, to: nodepool/gpus}` where the NodePool is called `gpu`

Right: `{from: nodepool/workers, to: nodepool/gpu}`
""",
)
MOVED_TWICE = Code(
    "SW3405",
    "two moves from one address, or to one",
    """One thing has one new name, and one name belongs to one thing.

Wrong: `moved: [{from: nodepool/a, to: nodepool/c}, {from: nodepool/b, to: nodepool/c}]`

Right: one of them, or single machines: `{from: "nodepool/b[0]", to: "nodepool/c[3]"}`
""",
)
CIRCLE = Code(
    "SW3406",
    "moves in a circle",
    """Moves that lead back to where they began say nothing about where the thing is now.

Wrong: `moved: [{from: nodepool/a, to: nodepool/b}, {from: nodepool/b, to: nodepool/a}]`

Right: the first entry removed, once it has been applied
""",
)


class _Place(NamedTuple):
    """An address, taken apart. `key` is empty for all of a declaration."""

    kind: str
    name: str
    key: str

    def __str__(self) -> str:
        return f"{self.kind}/{self.name}" + (f"[{self.key}]" if self.key else "")


class _Move(NamedTuple):
    number: int
    source: _Place
    target: _Place


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the Stack."""
    for stack in inventory.of("Stack"):
        yield from _signers(stack)
        yield from _moves(inventory, stack)


def _signers(stack: Declaration) -> Iterator[Diagnostic]:
    first: dict[tuple[str, str], int] = {}
    for number, signer in enumerate(stack.spec.signers):
        key = signer.key if isinstance(signer.key, Unknown) else " ".join(signer.key.split()[:2])
        for field, value in (("name", signer.name), ("key", key)):
            earlier = first.setdefault((field, value), number)
            if earlier != number:
                what = f"are called `{value}`" if field == "name" else "have the same key"
                yield Diagnostic(
                    SIGNER_TWICE,
                    f"two signers {what}",
                    stack.value("spec", "signers", number, field),
                    label="once more",
                    help="remove one of them, or give it a name and a key of its own",
                    related=(Related(stack.value("spec", "signers", earlier, field), "the first one"),),
                )
                break


def _moves(inventory: Inventory, stack: Declaration) -> Iterator[Diagnostic]:
    sound: list[_Move] = []
    for number, entry in enumerate(stack.spec.moved):
        if isinstance(entry.from_, Unknown) or isinstance(entry.to, Unknown):
            continue
        move = _Move(number, _parse(entry.from_), _parse(entry.to))
        if found := _unlike(stack, move):
            yield found
        else:
            sound.append(move)
    yield from _twice(stack, sound)
    circling = _circling(sound)
    begins = {move.source for move in sound}
    for move in sound:
        if move.number in circling:
            yield _circle(stack, move)
            continue
        kind = _movable()[move.source.kind]
        there = inventory.get(kind, move.source.name)
        if there is not None and _has(there, move.source.key) is True:
            yield _still(stack, move, there)
        there = inventory.get(kind, move.target.name)
        missing = there is None or _has(there, move.target.key) is False
        if missing and move.target not in begins and inventory.knows(kind):
            yield _nowhere(inventory, stack, move, kind)


def _parse(text: str) -> _Place:
    kind, _, rest = text.partition("/")
    name, _, key = rest.partition("[")
    return _Place(kind, name, key.rstrip("]"))


def _movable() -> Mapping[str, str]:
    """Kinds that make things, by their name in addresses."""
    return {name.lower(): name for name, kind in kinds.registry().items() if kind.expand}


def _unlike(stack: Declaration, move: _Move) -> Diagnostic | None:
    source, target = move.source, move.target
    known = _movable()
    for field, place in (("from", source), ("to", target)):
        if place.kind not in known:
            return Diagnostic(
                NO_SUCH_MOVE,
                f"there is nothing at `{place}` to move: `{place.kind}` is no kind that makes things",
                _at(stack, move, field),
                label="no such kind",
                help=sentences(did_you_mean(place.kind, known), f"kinds: {listing(known)}"),
            )
    if source.kind != target.kind:
        return Diagnostic(
            NO_SUCH_MOVE,
            f"a {known[source.kind]} cannot become a {known[target.kind]}",
            _at(stack, move, "to"),
            label=f"expected `{source.kind}/…`",
            help="write two addresses of one kind, or remove the entry",
        )
    if bool(source.key) != bool(target.key):
        whole = source if target.key else target
        return Diagnostic(
            NO_SUCH_MOVE,
            f"`{source}` cannot become `{target}`: one of them is a single thing, the other all of a "
            f"{known[source.kind]}",
            _at(stack, move, "to"),
            label="not alike",
            help=f"write both with a key in brackets or both without, such as `{whole}[{source.key or target.key}]`",
        )
    return None


def _twice(stack: Declaration, moves: list[_Move]) -> Iterator[Diagnostic]:
    first: dict[tuple[str, _Place], _Move] = {}
    for move in moves:
        for field, place in (("from", move.source), ("to", move.target)):
            earlier = first.setdefault((field, place), move)
            if earlier is not move:
                yield Diagnostic(
                    MOVED_TWICE,
                    f"two moves {'begin' if field == 'from' else 'end'} at `{place}`",
                    _at(stack, move, field),
                    label="once more",
                    help="remove one of them, or name single things by keys in brackets",
                    related=(Related(_at(stack, earlier, field), "the first one"),),
                )
                break


def _circling(moves: list[_Move]) -> set[int]:
    """Numbers of the moves from whose target moves lead back to their source."""
    following = {move.source: move.target for move in reversed(moves)}
    found = set()
    for move in moves:
        place, steps = move.target, 0
        while place != move.source and place in following and steps <= len(moves):
            place, steps = following[place], steps + 1
        if place == move.source:
            found.add(move.number)
    return found


def _has(declared: Declaration, key: str) -> bool | None:
    """Whether something with this key is declared in it; None when only the plan can tell."""
    if not key:
        return True
    return key in _keys(declared) if declared.kind == fleet.POOL else None


def _keys(pool: Declaration) -> set[str]:
    count = getattr(pool.variant_spec, "count", None)
    hosts = getattr(pool.variant_spec, "hosts", None) or ()
    return {str(ordinal) for ordinal in range(count if isinstance(count, int) else 0)} | {host.name for host in hosts}


def _circle(stack: Declaration, move: _Move) -> Diagnostic:
    return Diagnostic(
        CIRCLE,
        f"the move from `{move.source}` to `{move.target}` leads back to where it begins",
        _at(stack, move, "to"),
        label="part of a circle",
        help="remove the moves that have been applied already",
    )


def _still(stack: Declaration, move: _Move, there: Declaration) -> Diagnostic:
    return Diagnostic(
        STILL_DECLARED,
        f"`{move.source}` has not moved to `{move.target}`: it is still declared",
        _at(stack, move, "from"),
        label="still declared",
        help="rename what is declared there, or remove the entry when it has been applied already",
        related=(Related(there.value("metadata", "name"), "declared here"),),
    )


def _nowhere(inventory: Inventory, stack: Declaration, move: _Move, kind: str) -> Diagnostic:
    one = inventory.get(kind, move.target.name)
    if one is not None:
        hint = f"keys of `{move.target.kind}/{move.target.name}`: {listing(_keys(one)) or 'none'}"
    else:
        names = [str(it.name) for it in inventory.of(kind)]
        known = f"declared: {listing(names)}" if names else f"no {kind} is declared"
        hint = sentences(did_you_mean(move.target.name, names), known)
    return Diagnostic(
        NOT_DECLARED,
        f"`{move.source}` cannot become `{move.target}`, which is not declared",
        _at(stack, move, "to"),
        label="not declared",
        help=hint,
    )


def _at(stack: Declaration, move: _Move, field: str) -> Range:
    return stack.value("spec", "moved", move.number, field)
