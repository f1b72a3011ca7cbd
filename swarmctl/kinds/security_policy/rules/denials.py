"""Flows that allow what the policy denies under `never`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from swarmctl.declarations import fleet
from swarmctl.declarations.declaration import Declaration, Inventory, is_known
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.security_policy.rules.places import DENIALS, FLOWS, common, is_range
from swarmctl.kinds.security_policy.spec import Denial, Flow
from swarmctl.mesh.selectors import matches

FORBIDDEN = Code(
    "SW3311",
    "flow that the policy denies",
    """A flow allows what stands under `never` of the same policy: from a machine that both take to one that both take,
over the same protocol, to the same port. That may be one and the same machine, of a pool that grows, say. Denials are
there for this: whoever adds a flow later learns that somebody else has ruled it out, and why by its name.

Wrong: `flows: [{name: admin, from: {role: guest}, to: {role: db}, ports: [22]}]` with
`never: [{name: guests-to-databases, from: {role: guest}, to: {role: db}}]`

Right: a flow from or to fewer machines, or to other ports; or the denial narrowed, if it goes too far
""",
)
Sets = Sequence[Mapping[str, str]]


def check(inventory: Inventory, policy: Declaration) -> Iterator[Diagnostic]:
    """Every flow that a denial rules out, once for each denial."""
    own = {cluster.name for cluster in inventory.of("Cluster") if cluster.spec.security_policy == policy.name}
    sets = fleet.label_sets(inventory, own)
    flows: list[Flow] = policy.spec.network.flows
    denials: list[Denial] = policy.spec.network.never
    for index, flow in enumerate(flows):
        for place, denial in enumerate(denials):
            if not all(map(is_known, (flow.from_, flow.to, denial.from_, denial.to))):
                continue
            if denial.protocol not in (None, flow.protocol) or not (ports := _ports(flow, denial)):
                continue
            if _share(sets, flow.from_, denial.from_) and _share(sets, flow.to, denial.to):
                yield _forbidden(policy, index, flow, place, denial, ports)


def _share(sets: Sets, one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Whether there is a machine that both selectors take."""
    return any(matches(one, labels) and matches(other, labels) for labels in sets)


def _ports(flow: Flow, denial: Denial) -> tuple[int, str] | None:
    """The first item of the flow's ports that the denial rules out, and which ports of it, in words."""
    for item, port in enumerate(flow.ports):
        for denied in denial.ports or ["1-65535"]:
            if is_range(port) and is_range(denied) and (shared := common(port, denied)):
                return item, shared
    return None


def _forbidden(
    policy: Declaration, index: int, flow: Flow, place: int, denial: Denial, ports: tuple[int, str]
) -> Diagnostic:
    item, shared = ports
    return Diagnostic(
        FORBIDDEN,
        f"the flow `{flow.name}` allows {shared} over {flow.protocol}, which `{denial.name}` under `never` rules out",
        policy.value(*FLOWS, index, "ports", item),
        label="must never be allowed",
        help="take fewer machines or other ports, or narrow the denial",
        related=(Related(policy.value(*DENIALS, place, "name"), "ruled out here"),),
    )
