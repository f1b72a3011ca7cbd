"""The provider's process: listens where the engine expects it and serves. engine/launch.py starts it and sees to it
that it dumps no core and dies with the engine."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading

from swarmctl.provider.orphans import watch
from swarmctl.provider.server import Provider, methods
from swarmctl.provider.wire import Connection

PORT_VARIABLE = "SWARMCTL_PROVIDER_PORT"
"""Set by engine/launch.py, which imports nothing and cannot be imported here."""
STARTER_VARIABLE = "SWARMCTL_STARTER"
"""The process id of the swarmctl that the engine works for; set there, too."""


def serve(provider: Provider) -> None:
    """Serve until killed. Raises OSError when the port that the launcher has reserved cannot be had."""
    # Ctrl-C is the engine's to handle: it lets us finish what was begun.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _keep_descriptors_from_children()
    # What was imported stays: no need to look through it again and again for what may go.
    gc.freeze()
    asyncio.run(_serve(provider, int(os.environ.pop(PORT_VARIABLE)), int(os.environ.pop(STARTER_VARIABLE))))


async def _serve(provider: Provider, port: int, starter: int) -> None:
    # The launcher's socket holds the port without listening; it can only be shared.
    implemented = methods(provider)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(implemented), "127.0.0.1", port, reuse_port=True)
    threading.Thread(target=watch, args=(os.getppid(), starter, provider.calls), daemon=True).start()
    await server.serve_forever()


def _keep_descriptors_from_children() -> None:
    """What we inherited, the stack's lock first of all, ends with us and not with a daemon that we start."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2:
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                continue  # the one that listed the folder
