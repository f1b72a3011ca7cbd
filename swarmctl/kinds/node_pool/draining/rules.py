"""What must hold for `drain:` and the states that it brings about, beyond the schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.declarations.duration import exactly, seconds
from swarmctl.diagnostics import Code, Diagnostic, Range
from swarmctl.hosts.states import CORDONED, OUT_OF_SERVICE

NO_HOOK = Code(
    "SW3280",
    "state that nothing brings about",
    """What work is on a machine, only your scheduler knows; so taking a machine out of service is done by commands
that the pool declares. `drained` needs `drain`, and `cordoned` needs `drain.cordon`.

Wrong: `state: drained` for a machine of a pool without `drain`

Right: `drain: {drain: [scheduler, drain, --wait], uncordon: [scheduler, uncordon]}` in that pool
""",
)
TOO_LONG = Code(
    "SW3281",
    "draining longer than its step",
    """Draining is a part of the step that drains, or that changes the driver; a step that takes longer than its timeout
is ended. So `drain.timeout` must be shorter than the pool's `timeouts.create` and `timeouts.update`, which are 10m
where nothing is declared.

Wrong: `drain: {timeout: 45m, …}` without `timeouts`

Right: `drain: {timeout: 45m, …}` and `timeouts: {create: 2h, update: 2h}`
""",
)
ONE_WORD = Code(
    "SW3282",
    "command line in one word",
    """Commands of `drain` are a program and its arguments, each a word of its own. No shell takes a line apart, so
that nothing in it can mean anything else.

Wrong: `uncordon: ["scheduler uncordon --now"]`

Right: `uncordon: [scheduler, uncordon, --now]`, or `[sh, -c, "…"]` for what needs a shell
""",
)
STILL_OUT = Code(
    "SW3283",
    "machine out of service without a way back",
    """The commands that bring a machine back into service must stay until it is back. Known when the stack is planned.

Wrong: `state: drained` and the pool's `drain` taken away at the same time

Right: `state: drained` taken away and applied, then `drain`
""",
)
_COMMANDS = ("cordon", "drain", "uncordon", "check")


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the pools of the stack."""
    for pool in inventory.of("NodePool"):
        yield from _states(pool)
        if pool.spec.drain is not None and not isinstance(pool.spec.drain, Unknown):
            yield from _commands(pool)
            yield from _timeout(pool)


def still_out(pool: Declaration, node: str, state: str) -> Diagnostic:
    """A machine was declared out of service, and the pool has no commands any more to bring it back."""
    return Diagnostic(
        STILL_OUT,
        f"`{node}` is {state}, and the NodePool `{pool.name}` no longer says how it comes back into service",
        pool.value("metadata", "name"),
        label="`drain` is gone",
        help=f"put `drain` back and take `state: {state}` away, apply, and take `drain` away after that",
    )


def _states(pool: Declaration) -> Iterator[Diagnostic]:
    for state, where in _declared(pool):
        drain = pool.spec.drain
        if isinstance(drain, Unknown) or state not in OUT_OF_SERVICE:
            continue
        if drain is None:
            missing, example = "`drain`", "`drain: {drain: […], uncordon: […]}`"
        elif state == CORDONED and drain.cordon is None:
            missing, example = "`drain.cordon`", "`cordon: […]` under `drain`"
        else:
            continue
        yield Diagnostic(
            NO_HOOK,
            f"the NodePool `{pool.name}` does not say how its machines become {state}",
            where,
            label=f"needs {missing}",
            help=f"add {example} with the commands of your scheduler, or take `state` away",
        )


def _declared(pool: Declaration) -> Iterator[tuple[str, Range]]:
    if isinstance(pool.spec.state, str):
        yield pool.spec.state, pool.value("spec", "state")
    hosts: Any = getattr(pool.variant_spec, "hosts", None)
    for index, host in enumerate(() if isinstance(hosts, Unknown) else hosts or ()):
        state = None if isinstance(host, Unknown) else host.state
        if isinstance(state, str):
            yield state, pool.value("spec", pool.variant, "hosts", index, "state")


def _commands(pool: Declaration) -> Iterator[Diagnostic]:
    for name in _COMMANDS:
        command = getattr(pool.spec.drain, name)
        program = command[0] if isinstance(command, list) and command else None
        if not isinstance(program, str) or program.startswith("/") or (program and not set(program) & set(" ;|&")):
            continue
        yield Diagnostic(
            ONE_WORD,
            f"`{name}` of the NodePool `{pool.name}` would run a program called `{program}`",
            pool.value("spec", "drain", name, 0),
            label="no program's name",
            help=f"write each word by itself: `{name}: [{', '.join(program.split()) or 'PROGRAM'}]`",
        )


def _timeout(pool: Declaration) -> Iterator[Diagnostic]:
    written = pool.spec.drain.timeout
    steps = [getattr(pool.spec.timeouts, name) for name in ("create", "update")]
    if isinstance(written, Unknown) or any(isinstance(step, Unknown) for step in steps):
        return
    least = min(map(seconds, steps))
    if seconds(written) < least:
        return
    written_data: Any = pool.document.data
    stated = "timeout" in written_data["spec"]["drain"]
    yield Diagnostic(
        TOO_LONG,
        f"machines of the NodePool `{pool.name}` may drain for {written}, and the whole step has {exactly(least)}",
        pool.value("spec", "drain", "timeout") if stated else pool.key("spec", "drain"),
        label=f"not shorter than {exactly(least)}",
        help="write longer `timeouts: {create: …, update: …}` for the pool, or a shorter `drain.timeout`",
    )
