"""SecurityPolicy: what may talk to what; everything else is denied."""

from swarmctl.kinds.base import Kind
from swarmctl.kinds.security_policy.spec import SecurityPolicySpec

KIND = Kind(
    name="SecurityPolicy",
    summary="What may talk to what on the mesh; everything else is denied.",
    spec=SecurityPolicySpec,
    rules="swarmctl.kinds.security_policy.rules:check",
    expand="swarmctl.kinds.security_policy.expand:expand",
    expands_after=("NodePool", "Mesh"),
    marked="swarmctl.kinds.security_policy.marks:marked",
    resources={"swarm:securitypolicy:Firewall": "swarmctl.kinds.security_policy.resources:FIREWALL"},
)
