"""The declared shape of a NodePool, without the backend's part: that comes from the backend (see `Kind.variants`)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from swarmctl.declarations.declaration import Name
from swarmctl.declarations.duration import Duration
from swarmctl.hosts.states import ABOUT, State
from swarmctl.kinds.node_pool.accelerators.spec import Accelerator
from swarmctl.kinds.node_pool.draining.spec import Drain

Cpus = Annotated[float, msgspec.Meta(ge=0.01, le=4096)]
Memory = Annotated[
    str,
    msgspec.Meta(
        pattern="^[1-9][0-9]{0,17}(Ki|Mi|Gi|Ti)$",
        extra_json_schema={"patternErrorMessage": "a whole number and Ki, Mi, Gi or Ti, such as `512Mi` or `80Gi`"},
    ),
]


class Resources(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """What each machine may use at most."""

    cpus: Annotated[
        Cpus | None,
        msgspec.Meta(description="CPUs each machine may use, such as 2 or 0.5. Left out: no limit.", examples=[0.5, 2]),
    ] = None
    memory: Annotated[
        Memory | None,
        msgspec.Meta(
            description="Memory each machine may use: a whole number with `Ki`, `Mi`, `Gi` or `Ti` (powers of 1024 "
            "bytes), at most 64Ti; machines of the lab need 16Mi. Left out: no limit.",
            examples=["512Mi", "80Gi"],
        ),
    ] = None


class Timeouts(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """How long one step may take; a step that takes longer has failed."""

    create: Annotated[Duration, msgspec.Meta(description="Making one thing, at most 24h.", examples=["90s", "20m"])] = (
        "10m"
    )
    update: Annotated[
        Duration, msgspec.Meta(description="Changing one thing in place, at most 24h.", examples=["90s", "20m"])
    ] = "10m"
    delete: Annotated[
        Duration, msgspec.Meta(description="Removing one thing, at most 24h.", examples=["90s", "20m"])
    ] = "10m"
    read: Annotated[
        Duration, msgspec.Meta(description="Looking at one thing, at most 24h.", examples=["30s", "2m"])
    ] = "1m"


Share = Annotated[
    str,
    msgspec.Meta(
        pattern="^([1-9][0-9]?|100)%$",
        extra_json_schema={"patternErrorMessage": "a whole number of machines, or a share from `1%` to `100%`"},
    ),
]


class Rollout(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Canaries first, then batches; each begins when the one before has ended. Removals are not held back."""

    canary: Annotated[
        int,
        msgspec.Meta(
            description="Machines that change before all others, the first ones by name; 0 for none.",
            ge=0,
            le=100000,
            examples=[1],
        ),
    ] = 1
    batch: Annotated[
        Annotated[int, msgspec.Meta(ge=1, le=100000)] | Share,
        msgspec.Meta(
            description="Machines that change at a time after the canaries: a number, or a share of the pool, rounded "
            "down to whole machines and at least 1.",
            examples=[5, "10%"],
        ),
    ] = "25%"
    max_failures: Annotated[
        int,
        msgspec.Meta(
            description="Machines that may fail, canaries included. When one more fails, what has not begun in the "
            "pool is left as it is; other pools go on, but for drivers, which change one pool at a time.",
            ge=0,
            le=100000,
            examples=[0, 2],
        ),
    ] = 0


Accelerators = Annotated[list[Accelerator], msgspec.Meta(max_length=8)]


class NodePoolSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Where the machines belong and what they may use; exactly one backend key says what they are."""

    cluster: Annotated[
        str | None,
        msgspec.Meta(
            description="Cluster the machines belong to. Left out: `defaults.cluster` of the stack.",
            examples=["core"],
            extra_json_schema={"x-swarmctl-ref": "Cluster"},
        ),
    ] = None
    region: Annotated[
        Name | None,
        msgspec.Meta(
            description="Region the machines stand in; machines of one region share an underlay subnet. "
            "Left out: `defaults.region` of the stack.",
            examples=["eu-central"],
        ),
    ] = None
    resources: Annotated[Resources, msgspec.Meta(description="Limits of each machine. Left out: none.")] = Resources()
    state: Annotated[
        State | None,
        msgspec.Meta(
            description="What is declared of all machines of the pool that say nothing themselves. "
            + ABOUT
            + "Left out: they take part.",
            examples=["isolated"],
        ),
    ] = None
    timeouts: Annotated[
        Timeouts,
        msgspec.Meta(
            description="How long one step on these machines may take: on the machine itself and on everything that "
            "is on it.",
            examples=[{"create": "20m", "read": "30s"}],
        ),
    ] = Timeouts()
    rollout: Annotated[
        Rollout | None,
        msgspec.Meta(
            description="How changes spread over the machines: some first, then the rest in batches, stopping when too "
            "many fail. What must know another machine, such as the peers of its tunnels, goes through the machines "
            "on its own. Removals wait for nothing. Left out: all at once, and a failure stops no other machine of the "
            "pool.",
            examples=[{"canary": 1, "batch": "10%", "maxFailures": 1}],
        ),
    ] = None
    drain: Annotated[
        Drain | None,
        msgspec.Meta(
            description="Commands that take a machine out of service and back: for `state: cordoned` and `drained`, "
            "and around every change of a driver. Left out: there are no such states, and a driver is not changed "
            "while something computes on the cards.",
            examples=[
                {
                    "cordon": ["/usr/local/sbin/scheduler", "cordon"],
                    "drain": ["/usr/local/sbin/scheduler", "drain", "--wait"],
                    "uncordon": ["/usr/local/sbin/scheduler", "uncordon"],
                    "check": ["/usr/local/sbin/scheduler", "state"],
                    "timeout": "8m",
                }
            ],
        ),
    ] = None
    accelerators: Annotated[
        Accelerators,
        msgspec.Meta(
            description="Cards that every machine has, one item for each model; the driver that all of one vendor's "
            "need is decided from them when the stack is planned, and installed. Items of one vendor say the same of "
            "it. Left out: cards and drivers are nobody's business.",
            examples=[
                [
                    {
                        "vendor": "nvidia",
                        "model": "H100-SXM5-80GB",
                        "count": 8,
                        "driver": {"branch": "auto"},
                        "mig": "none",
                    }
                ]
            ],
        ),
    ] = []
