"""Names of flows and denials."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swarmctl.declarations.declaration import Declaration
from swarmctl.diagnostics import Code, Diagnostic, Related
from swarmctl.kinds.security_policy.rules.places import DENIALS, FLOWS
from swarmctl.kinds.security_policy.spec import Denial, Flow

FLOW_TWICE = Code(
    "SW3301",
    "two flows with one name",
    """Flows have unique names in their policy; plan, status and the firewall's comments speak of them by name.

Wrong: `flows: [{name: ray, ports: [6379]}, {name: ray, ports: [8265]}]`

Right: `flows: [{name: ray, ports: [6379]}, {name: ray-dashboard, ports: [8265]}]`
""",
)
DENIAL_TWICE = Code(
    "SW3308",
    "two denials with one name",
    """What stands under `never` has unique names in its policy; messages speak of it by name.

Wrong: `never: [{name: ssh, ports: [22]}, {name: ssh, ports: [2222]}]`

Right: `never: [{name: ssh, ports: [22, 2222]}]`
""",
)


def check(policy: Declaration) -> Iterator[Diagnostic]:
    """Names that are there twice."""
    network = policy.spec.network
    yield from _twice(policy, FLOWS, "flow", FLOW_TWICE, network.flows)
    yield from _twice(policy, DENIALS, "denial", DENIAL_TWICE, network.never)


def _twice(
    policy: Declaration, path: tuple[str, ...], what: str, code: Code, items: Sequence[Flow | Denial]
) -> Iterator[Diagnostic]:
    first: dict[str, int] = {}
    for index, item in enumerate(items):
        earlier = first.setdefault(item.name, index)
        if earlier != index:
            yield Diagnostic(
                code,
                f"two {what}s of the SecurityPolicy `{policy.name}` are called `{item.name}`",
                policy.value(*path, index, "name"),
                label="called so again",
                help="give one of them another name",
                related=(Related(policy.value(*path, earlier, "name"), f"the first {what} of this name"),),
            )
