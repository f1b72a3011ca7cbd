"""The process `pulumi-resource-swarm`: says which port it listens on, serves, and dies with the engine."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from concurrent.futures import ThreadPoolExecutor

from swarmctl.provider.protocol import OPTIONS, grpc, provider_pb2_grpc
from swarmctl.provider.server import Provider

PR_SET_PDEATHSIG = 1
"""prctl(2)"""
WORKERS = 64
"""Threads, started as they are needed: more than the engine ever has calls in flight."""


def serve(provider: Provider) -> None:
    """Serve until killed; the engine reads the port from the first line of standard output."""
    _settle()
    server = grpc.server(ThreadPoolExecutor(max_workers=WORKERS), options=OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


def _settle() -> None:
    engine = os.getppid()
    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    if os.getppid() != engine:
        sys.exit(1)  # it died before we could ask to be told
    # So the engine ends us when it is done; the terminal's Ctrl-C doesn't get here, the engine has no terminal.
    signal.signal(signal.SIGINT, lambda *_: os._exit(0))
    # Memory may hold what must not get onto a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    _keep_descriptors_from_children()


def _keep_descriptors_from_children() -> None:
    """What we inherited, the stack's lock first of all, ends with us and not with a daemon that we start."""
    for name in os.listdir("/proc/self/fd"):
        descriptor = int(name)
        if descriptor > 2:
            try:
                os.set_inheritable(descriptor, False)
            except OSError:
                continue  # the one that listed the folder
