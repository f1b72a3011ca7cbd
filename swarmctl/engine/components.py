"""Components of Pulumi's Python SDK, run beside our own resources in one program.

Our resources are registered straight on the resource monitor (`program`). What is written for the SDK, a component of
`pulumi_kubernetes` say, runs in the same program all the same: the SDK registers the stack and ends the program, and
ours is registered in between, under the stack that both share.

The SDK keeps its settings for the whole process, so one program with components runs at a time.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

Component = Callable[[], Any]
"""Makes SDK resources when it is called; what it returns is awaited where that is possible."""

_ALONE = threading.Lock()
_PARALLEL = 16


async def run(
    components: Sequence[Component],
    ours: Callable[[str], Coroutine[Any, Any, None]],
    *,
    stack: str,
    project: str,
    monitor: str,
    preview: bool,
) -> None:
    """Run `components` in the SDK, and `ours` with the stack's URN beside them; both have ended when this returns.

    `stack` is the stack's name, which its resource has, too; `monitor` the address of the resource monitor. Raises what
    a component or the SDK raises, and what `ours` raises.
    """
    loop = asyncio.get_running_loop()

    def begin(urn: str) -> None:
        asyncio.run_coroutine_threadsafe(ours(urn), loop).result()

    await asyncio.to_thread(_run, components, begin, stack, project, monitor, preview)


def _run(
    components: Sequence[Component], ours: Callable[[str], None], stack: str, project: str, monitor: str, preview: bool
) -> None:
    from pulumi.runtime.settings import reset_options
    from pulumi.runtime.stack import _load_monitor_feature_support, run_pulumi_func

    async def program() -> None:
        root = _root(stack)
        urn = await root.urn.future()
        own = asyncio.get_running_loop().run_in_executor(None, ours, urn)
        try:
            for component in components:
                made = component()
                if asyncio.iscoroutine(made):
                    await made
        finally:
            await own
            root._finish()

    async def whole() -> None:
        await _load_monitor_feature_support()
        await run_pulumi_func(program)

    with _ALONE:
        reset_options(
            project=project,
            stack=stack,
            monitor_address=monitor,
            engine_address="",
            parallel=_PARALLEL,
            preview=preview,
        )
        asyncio.run(whole())


def _root(name: str) -> Any:
    """The SDK's stack under our name; its own constructor would call it by the project, too."""
    from pulumi import ComponentResource
    from pulumi.runtime.settings import set_root_resource
    from pulumi.runtime.stack import Stack

    class Root(Stack):  # type: ignore[misc]
        def __init__(self) -> None:
            ComponentResource.__init__(self, "pulumi:pulumi:Stack", name, None, None)
            self.outputs: dict[str, Any] = {}
            self._async_program = None
            self._async_program_registration_closed = False
            self._outputs_registered = False
            set_root_resource(self)

    return Root()
