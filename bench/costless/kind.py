"""`Costless`: a kind whose things cost nothing. What is measured and killed is swarmctl, not what it makes."""

from __future__ import annotations

from typing import Annotated

import msgspec

from swarmctl.declarations.secrets import SecretRef
from swarmctl.graph.model import Address, Json, Ref, Resource, Timeouts
from swarmctl.kinds.base import Expansion, Kind

THING = "swarm:costless:Thing"


class Failing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Which of the things fail at what, by ordinal."""

    create: list[int] = []
    update: list[int] = []
    delete: list[int] = []
    times: Annotated[int, msgspec.Meta(ge=0, description="How often; 0: always.")] = 0
    transient: Annotated[bool, msgspec.Meta(description="As a host that does not answer for a moment.")] = False
    quoting: Annotated[bool, msgspec.Meta(description="The error quotes the secret.")] = False


class CostlessSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """So many things, and how they behave."""

    count: Annotated[int, msgspec.Meta(ge=0)] = 1
    nodes: Annotated[int, msgspec.Meta(ge=0, description="Spread over so many nodes; 0: none has a node.")] = 0
    size: Annotated[int, msgspec.Meta(description="Another one makes a thing anew.")] = 1
    version: Annotated[int, msgspec.Meta(description="Another one updates a thing.")] = 1
    secret: SecretRef | None = None
    fail: Failing | None = None
    slow: Annotated[int, msgspec.Meta(ge=0, description="Milliseconds that every change takes.")] = 0
    timeout: Annotated[float, msgspec.Meta(gt=0, description="Seconds that a step may take.")] = 60.0
    after: Annotated[
        str | None,
        msgspec.Meta(
            description="Each takes the token of one of these others.",
            extra_json_schema={"x-swarmctl-ref": "Costless"},
        ),
    ] = None


KIND = Kind(
    name="Costless",
    summary="Things that cost nothing, in a world that is one file.",
    spec=CostlessSpec,
    expand="bench.costless.kind:expand",
    resources={THING: "bench.costless.resource:THING"},
    marked="bench.costless.resource:marked",
)


def expand(context: Expansion) -> None:
    """Add `costless/NAME[ordinal]` for every thing of every declaration."""
    declared = {one.name: one for one in context.inventory.of("Costless")}
    for name, declaration in declared.items():
        spec = declaration.spec
        secret = None if spec.secret is None else context.secret(spec.secret, declaration.value("spec", "secret"))
        before = declared[spec.after].spec.count if spec.after else 0
        for ordinal in range(spec.count):
            key = str(ordinal)
            inputs: dict[str, Json] = {
                "name": f"{name}[{key}]",
                "size": spec.size,
                "version": spec.version,
                "stack": context.graph.stack,
            }
            node = f"{name}-{ordinal % spec.nodes}" if spec.nodes else ""
            if node:
                inputs["node"] = node
            if secret is not None:
                inputs["secret"] = secret
            if before:
                inputs["upstream"] = Ref(Address("costless", spec.after, str(ordinal % before)), "token")
            if spec.slow:
                inputs["slow"] = spec.slow
            if spec.fail and (fails := [what for what in _STEPS if ordinal in getattr(spec.fail, what)]):
                inputs["fail"] = {
                    "at": fails,
                    "times": spec.fail.times,
                    "transient": spec.fail.transient,
                    "quoting": spec.fail.quoting,
                }
            context.graph.add(
                Resource(
                    address=Address("costless", name, key),
                    type=THING,
                    inputs=inputs,
                    node=node,
                    pool=name,
                    timeouts=Timeouts(spec.timeout, spec.timeout, spec.timeout, spec.timeout),
                    origin=declaration.value("metadata", "name"),
                )
            )


_STEPS = ("create", "update", "delete")
