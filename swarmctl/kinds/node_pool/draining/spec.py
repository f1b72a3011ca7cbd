"""The declared shape of `drain:`."""

from __future__ import annotations

from typing import Annotated

import msgspec

from swarmctl.declarations.duration import Duration

Word = Annotated[
    str,
    msgspec.Meta(
        pattern="^[^\\x00-\\x1f\\x7f]{0,1000}$",
        extra_json_schema={"patternErrorMessage": "one line of at most 1000 characters"},
    ),
]
Command = Annotated[list[Word], msgspec.Meta(min_length=1, max_length=32)]


class Drain(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Commands that take a machine out of service and back. Each is a program and its arguments, without a shell; it
    runs on the machine as root, and may run again when it has done its work already."""

    drain: Annotated[
        Command,
        msgspec.Meta(
            description="Ends what runs there or moves it elsewhere, and ends itself when nothing is left.",
            examples=[["/usr/local/sbin/scheduler", "drain", "--wait"]],
        ),
    ]
    uncordon: Annotated[
        Command,
        msgspec.Meta(
            description="Lets new work begin there again.", examples=[["/usr/local/sbin/scheduler", "uncordon"]]
        ),
    ]
    cordon: Annotated[
        Command | None,
        msgspec.Meta(
            description="Has no new work begin there; comes before `drain`. Left out: `drain` does that, too.",
            examples=[["/usr/local/sbin/scheduler", "cordon"]],
        ),
    ] = None
    check: Annotated[
        Command | None,
        msgspec.Meta(
            description="Prints one word: `active` while new work may begin there, `cordoned` when none begins and "
            "some still runs, `drained` when none runs. It changes nothing: plans and drift ask it, too. Left out: "
            "what swarmctl has done last counts, by a note on the machine.",
            examples=[["/usr/local/sbin/scheduler", "state"]],
        ),
    ] = None
    timeout: Annotated[
        Duration,
        msgspec.Meta(
            description="How long `drain` may take; it must be shorter than `timeouts.create` and `timeouts.update` of "
            "the pool. The others have one minute, `check` 20 seconds.",
            examples=["5m", "45m"],
        ),
    ] = "5m"
