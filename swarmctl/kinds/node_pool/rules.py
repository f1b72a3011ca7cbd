"""What must hold for node pools beyond their schema: where they belong, and what their machines are called."""

from __future__ import annotations

from collections.abc import Iterator

from swarmctl import backends
from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, Unknown
from swarmctl.declarations.duration import seconds
from swarmctl.declarations.words import listing, sentences
from swarmctl.diagnostics import Code, Diagnostic, Related, Severity
from swarmctl.kinds.node_pool.accelerators import rules as accelerators
from swarmctl.kinds.node_pool.draining import rules as draining
from swarmctl.kinds.node_pool.reached import rules as reached
from swarmctl.kinds.node_pool.spec import Timeouts

HOSTNAME_LIMIT = 63
"""Characters in one DNS label (RFC 1035, 2.3.4); Linux takes 64 for a whole host name."""

NO_CLUSTER = Code(
    "SW3201",
    "pool without cluster",
    """A pool's machines belong to a cluster, which brings their mesh and security policy. The pool names it, or the
Stack does for all pools.

Wrong: a NodePool without `cluster`, and a Stack without `defaults.cluster`

Right: `spec: {cluster: core, …}` in the NodePool, or `spec: {defaults: {cluster: core}}` in the Stack
""",
)
NO_REGION = Code(
    "SW3202",
    "pool without region",
    """The region decides the underlay subnet of a pool's machines; changing it later makes every machine anew, so it is
never guessed.

Wrong: a NodePool without `region`, and a Stack without `defaults.region`

Right: `spec: {region: eu-central, …}` in the NodePool, or `spec: {defaults: {region: eu-central}}` in the Stack
""",
)
NODE_TWICE = Code(
    "SW3203",
    "two machines with one name",
    """Machine names are unique in the stack: they are host names, and addresses are made of them. Machines of a pool
with `count` are called `POOL-0`, `POOL-1` and so on, so a host must not be called like one of those.

Wrong: a pool `workers` with `count: 3`, and another with `hosts: [{name: workers-1}]`

Right: `hosts: [{name: big-1}]`
""",
)
NAME_TOO_LONG = Code(
    "SW3204",
    "machine name too long for a host name",
    """A host name has at most 63 characters. Machines of a pool with `count` are called `POOL-0`, `POOL-1` and so on,
so the pool's own name must leave room for the number.

Wrong: a pool with a name of 63 characters and `count: 2`

Right: a shorter name
""",
)
MEMORY = Code(
    "SW3205",
    "amount of memory that no machine can work with",
    """With too little memory the kernel ends a machine's processes before it has started; the least depends on the
backend, and the message names it. More than 64Ti is more than any machine has, so it is a slip of the unit.

Wrong: `resources: {memory: 512Ki}`, `resources: {memory: 512000Ti}`

Right: `resources: {memory: 512Mi}`
""",
)
TIMEOUT = Code(
    "SW3206",
    "timeout of more than a day",
    """A step that takes longer than its timeout has failed. A timeout is there so that nobody waits for what hangs; one
of more than 24 hours would never do that, so it is a slip of the unit.

Wrong: `timeouts: {create: 10d}`

Right: `timeouts: {create: 10m}`
""",
)
ALL_CANARIES = Code(
    "SW3207",
    "as many canaries as machines",
    """Canaries change before the other machines, to find out on few of them what is wrong. With as many canaries as
machines everything changes at once. A warning: the pool may grow.

Wrong: `lab: {count: 3}` and `rollout: {canary: 5}`

Right: `rollout: {canary: 1}`
""",
)
NEVER_STOPS = Code(
    "SW3208",
    "rollout that never stops",
    """A rollout stops when more than `maxFailures` machines have failed. With a limit that all machines together can't
exceed it goes on whatever happens. A warning: the pool may grow.

Wrong: `lab: {count: 3}` and `rollout: {maxFailures: 3}`

Right: `rollout: {maxFailures: 1}`
""",
)
NAME_KEPT = Code(
    "SW3209",
    "machine name that another machine keeps",
    """A machine keeps the name it was made with for as long as it lives, also when its pool gets another name by
`moved:` of the Stack. A new machine can't have that name, too. Known when the stack is planned.

Wrong: the pool `workers` renamed to `gpu` with `moved:`, and a new pool `workers`: its `workers-0` is taken

Right: the new pool called otherwise, or its machines by `hosts` with names of their own
""",
)
SHORT_FOR_DRIVER = Code(
    "SW3210",
    "timeout that is short for a driver",
    """A driver's kernel module is built on the machine (DKMS), for each kernel that it has, which takes minutes, and
where the old one is in use the machine is restarted; one with much memory takes a quarter of an hour for that. A step
that is given up meanwhile is taken up by the next apply, but the machine has no driver until then. Without `timeouts`
a driver has an hour. A warning: small cards in small machines may be quicker.

Wrong: `timeouts: {update: 2m}` in a pool with `accelerators`

Right: `timeouts: {update: 1h}`, or no `timeouts`
""",
)
MOST_MEMORY = 64 << 40
MOST_SECONDS = 24 * 60 * 60
LEAST_FOR_DRIVER = 30 * 60
"""Seconds for a build, a restart and the verification."""
_UNITS = {"Ki": 1 << 10, "Mi": 1 << 20, "Gi": 1 << 30, "Ti": 1 << 40}


def check(inventory: Inventory) -> Iterator[Diagnostic]:
    """Every mistake in the pools of the stack."""
    found = fleet.defaults(inventory)
    # Without a readable Stack its defaults are unknown, and nothing is missing for sure.
    if found is not None:
        for pool in inventory.of(fleet.POOL):
            if not fleet.cluster_of(pool, inventory):
                yield _missing(inventory, pool, "cluster", NO_CLUSTER, _clusters(inventory))
            if not (pool.spec.region or found.region):
                yield _missing(inventory, pool, "region", NO_REGION, _regions(inventory))
    for pool in inventory.of(fleet.POOL):
        yield from _memory(pool)
        yield from _timeouts(pool)
        yield from _rollout(pool)
    yield from _names(inventory)
    yield from reached.check(inventory)
    yield from draining.check(inventory)
    yield from accelerators.check(inventory)


def name_is_kept(pool: Declaration, name: str, holder: str) -> Diagnostic:
    """A new machine of `pool` would be called like the machine at `holder` (an address), which has kept that name."""
    return Diagnostic(
        NAME_KEPT,
        f"a new machine of the NodePool `{pool.name}` would be called `{name}`, and {holder} is called so",
        pool.value("metadata", "name"),
        label=f"`{name}` is taken",
        help="give the pool another name, or its machines names of their own by `hosts`: "
        f"{holder} keeps its name for as long as it lives",
    )


def _timeouts(pool: Declaration) -> Iterator[Diagnostic]:
    for step in ("create", "update", "delete", "read"):
        written = getattr(pool.spec.timeouts, step)
        if isinstance(written, Unknown):
            continue
        declared = step in ("create", "update") and written != getattr(Timeouts(), step)
        if declared and pool.spec.accelerators and seconds(written) < LEAST_FOR_DRIVER:
            yield Diagnostic(
                SHORT_FOR_DRIVER,
                f"`{written}` is short for the driver of a machine of the NodePool `{pool.name}`",
                pool.value("spec", "timeouts", step),
                label=f"a build and a restart take up to {LEAST_FOR_DRIVER // 60} minutes",
                help="write `1h`, or leave it out",
                severity=Severity.WARNING,
            )
        if seconds(written) <= MOST_SECONDS:
            continue
        yield Diagnostic(
            TIMEOUT,
            f"`{written}` is too long for a step on a machine of the NodePool `{pool.name}`",
            pool.value("spec", "timeouts", step),
            label="expected at most 24h",
            help="write at most `24h`; the default is " + ("`1m`" if step == "read" else "`10m`"),
        )


def _rollout(pool: Declaration) -> Iterator[Diagnostic]:
    rollout = pool.spec.rollout
    size = _size(pool)
    if rollout is None or not size:
        return
    if rollout.canary >= size and rollout.canary > 1:
        yield Diagnostic(
            ALL_CANARIES,
            f"the NodePool `{pool.name}` has {_machines(size)}, and {rollout.canary} canaries: all change at once",
            pool.value("spec", "rollout", "canary"),
            label=f"of {_machines(size)}",
            help="write a smaller number, such as 1",
            severity=Severity.WARNING,
        )
    if rollout.max_failures >= size:
        yield Diagnostic(
            NEVER_STOPS,
            f"the NodePool `{pool.name}` has {_machines(size)}, and {rollout.max_failures} may fail: "
            "its rollout never stops",
            pool.value("spec", "rollout", "maxFailures"),
            label=f"of {_machines(size)}",
            help=f"write less than {size}, such as 0",
            severity=Severity.WARNING,
        )


def _size(pool: Declaration) -> int:
    """How many machines the pool declares; 0 also when that is not known."""
    count = getattr(pool.variant_spec, "count", None)
    return len(getattr(pool.variant_spec, "hosts", None) or ()) + (count if isinstance(count, int) else 0)


def _machines(size: int) -> str:
    return "one machine" if size == 1 else f"{size} machines"


def _memory(pool: Declaration) -> Iterator[Diagnostic]:
    written = pool.spec.resources.memory
    if written is None or isinstance(written, Unknown):
        return
    amount = int(written[:-2]) * _UNITS[written[-2:]]
    least = backends.least_memory(pool.variant) if pool.variant else 1
    if not least <= amount <= MOST_MEMORY:
        bound = f"at least {least >> 20}Mi" if amount < least else f"at most {MOST_MEMORY >> 40}Ti"
        yield Diagnostic(
            MEMORY,
            f"`{written}` is too {'little' if amount < least else 'much'} memory for a machine of the NodePool "
            f"`{pool.name}`",
            pool.value("spec", "resources", "memory"),
            label=f"expected {bound}",
            help=f"write {bound}, or leave it out for no limit",
        )


def _clusters(inventory: Inventory) -> list[str]:
    return sorted(one.name for one in inventory.of("Cluster") if not isinstance(one.name, Unknown))


def _regions(inventory: Inventory) -> list[str]:
    regions = {pool.spec.region for pool in inventory.of(fleet.POOL)}
    return sorted(region for region in regions if region and not isinstance(region, Unknown))


def _missing(inventory: Inventory, pool: Declaration, field: str, code: Code, known: list[str]) -> Diagnostic:
    stack = inventory.of("Stack")[0]
    example = known[0] if known else "core" if field == "cluster" else "eu-central"
    return Diagnostic(
        code,
        f"the NodePool `{pool.name}` names no {field}, and the Stack `{stack.name}` has no default for it",
        pool.key("spec"),
        label=f"`{field}` is missing",
        help=sentences(
            f"add `{field}: {example}` here, or `defaults: {{{field}: {example}}}` to the Stack",
            f"used so far: {listing(known)}" if known else "",
        ),
    )


def _names(inventory: Inventory) -> Iterator[Diagnostic]:
    first: dict[str, fleet.Node] = {}
    long: set[str] = set()
    clashing: set[tuple[str, str]] = set()
    for node in fleet.nodes(inventory):
        if len(node.name) > HOSTNAME_LIMIT and node.pool.name not in long:
            long.add(node.pool.name)
            yield Diagnostic(
                NAME_TOO_LONG,
                f"the machine `{node.name}` would have a name of {len(node.name)} characters, "
                f"and a host name has at most {HOSTNAME_LIMIT}",
                node.where,
                label=f"{len(node.pool.name)} characters, and the number comes on top",
                help=f"shorten the pool's name by {len(node.name) - HOSTNAME_LIMIT} or more characters",
            )
        earlier = first.setdefault(node.name, node)
        # Two pools of many machines clash once, not once per machine.
        if earlier is node or (node.host is None and (earlier.pool.name, node.pool.name) in clashing):
            continue
        clashing.add((earlier.pool.name, node.pool.name))
        yield _twice(earlier, node)


def _twice(earlier: fleet.Node, node: fleet.Node) -> Diagnostic:
    counted = next((one for one in (node, earlier) if one.host is None), None)
    because = f"; machines of the NodePool `{counted.pool.name}` are numbered from 0" if counted else ""
    return Diagnostic(
        NODE_TWICE,
        f"two machines are called `{node.name}`",
        node.where,
        label="called so again",
        help=f"give one of them another name{because}",
        related=(Related(earlier.where, f"the first `{node.name}`, in the NodePool `{earlier.pool.name}`"),),
    )
