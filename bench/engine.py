"""A second apply that has nothing to do, against the bare engine's own `pulumi up` of as many resources.

Both sides are whole processes on the same engine and keep the same 22 resources in a state of their own, with the
resources stored nowhere but there: what remains is what swarmctl puts around the engine. The bare side is the least
that `pulumi up` needs: a language host that registers the resources and a provider that answers "no change" to
everything, both on the protocol's stubs alone; it neither previews nor refreshes. swarmctl reads everything back, in a
preview and in an update. `python bench/engine.py [RUNS]`; the engine is found as swarmctl finds it.
"""

from __future__ import annotations

import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COUNT = 22
STACK = "bench"
BOUND = 1.5
UP = ("--yes", "--skip-preview", "--stack", STACK, "--exec-kind", "auto.inline")


def main(runs: int) -> int:
    """Apply once on each side, then measure alternately; print medians and ratios; 1 when one is over the bound."""
    from swarmctl.engine.install import locate

    engine = str(locate().path)
    with tempfile.TemporaryDirectory(prefix="swarmctl-bench-") as name:
        folder = Path(name)
        environment = os.environ | {"XDG_DATA_HOME": f"{name}/data", "XDG_CACHE_HOME": f"{name}/cache"}
        bare_environment = _bare_world(folder / "bare", engine)
        sides = {
            "bare up": (["bare", engine, str(folder / "bare")], bare_environment),
            "preview": (["ours", engine, "preview"], environment),
            "update": (["ours", engine, "update"], environment),
        }
        times: dict[str, list[float]] = {side: [] for side in sides}
        for side in ("bare up", "update"):
            _measure(*sides[side])
        for _ in range(runs):
            for side, (arguments, variables) in sides.items():
                times[side].append(_measure(arguments, variables))
    bare = statistics.median(times["bare up"])
    for side, measured in times.items():
        median = statistics.median(measured)
        print(f"{side:8} {COUNT} resources, no change: {median:.2f} s, ratio {median / bare:.2f}, bound {BOUND}")
    return int(any(statistics.median(measured) > BOUND * bare for measured in times.values()))


def _measure(arguments: list[str], environment: dict[str, str]) -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, __file__, *arguments], env=environment, check=True)
    return time.perf_counter() - started


def _bare_world(folder: Path, engine: str) -> dict[str, str]:
    """A project, a home with the trivial provider, and an initialised stack."""
    (folder / "project").mkdir(parents=True)
    (folder / "state").mkdir()
    (folder / "project" / "Pulumi.yaml").write_text("name: bench\nruntime: bench\n")
    plugin = folder / "home" / "plugins" / "resource-swarm-v1.0.0" / "pulumi-resource-swarm"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(f"#!/bin/sh\nexec {shlex.join([sys.executable, __file__, 'provider'])}\n")
    plugin.chmod(0o755)
    environment = os.environ | {
        "PULUMI_HOME": str(folder / "home"),
        "PULUMI_BACKEND_URL": f"file://{folder}/state",
        "PULUMI_CONFIG_PASSPHRASE": "bench",
        "PULUMI_SKIP_UPDATE_CHECK": "true",
    }
    subprocess.run(
        [engine, "--non-interactive", "stack", "init", STACK],
        cwd=folder / "project",
        env=environment,
        check=True,
        capture_output=True,
    )
    return environment


def bare(engine: str, folder: str) -> None:
    """`pulumi up` with the least language host there is."""
    from swarmctl.provider.protocol import (
        empty_pb2,
        grpc,
        language_pb2,
        language_pb2_grpc,
        plugin_pb2,
        resource_pb2,
        resource_pb2_grpc,
    )

    class Host(language_pb2_grpc.LanguageRuntimeServicer):
        def Handshake(self, request: Any, context: Any) -> Any:
            return language_pb2.LanguageHandshakeResponse()

        def About(self, request: Any, context: Any) -> Any:
            return language_pb2.AboutResponse()

        def GetPluginInfo(self, request: Any, context: Any) -> Any:
            return plugin_pb2.PluginInfo(version="1.0.0")

        def GetRequiredPackages(self, request: Any, context: Any) -> Any:
            return language_pb2.GetRequiredPackagesResponse()

        def Run(self, request: Any, context: Any) -> Any:
            monitor = resource_pb2_grpc.ResourceMonitorStub(grpc.insecure_channel(request.monitor_address))
            wanted = [
                resource_pb2.RegisterResourceRequest(type="swarm:bench:Thing", name=f"r{number}", custom=True)
                for number in range(COUNT)
            ]
            for call in [monitor.RegisterResource.future(one) for one in wanted]:
                call.result()
            monitor.SignalAndWaitForShutdown(empty_pb2.Empty())
            return language_pb2.RunResponse()

    server = grpc.server(ThreadPoolExecutor(4))
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(Host(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    subprocess.run(
        [engine, "--non-interactive", "up", *UP, f"--client=127.0.0.1:{port}"],
        cwd=Path(folder) / "project",
        check=True,
        stdout=subprocess.DEVNULL,
    )


def provider() -> None:
    """The least provider there is."""
    from swarmctl.provider.protocol import empty_pb2, grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

    class Provider(provider_pb2_grpc.ResourceProviderServicer):
        def GetPluginInfo(self, request: Any, context: Any) -> Any:
            return plugin_pb2.PluginInfo(version="1.0.0")

        def CheckConfig(self, request: Any, context: Any) -> Any:
            return provider_pb2.CheckResponse(inputs=request.news)

        def DiffConfig(self, request: Any, context: Any) -> Any:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

        def Configure(self, request: Any, context: Any) -> Any:
            return provider_pb2.ConfigureResponse(supportsPreview=True)

        def Check(self, request: Any, context: Any) -> Any:
            return provider_pb2.CheckResponse(inputs=request.news)

        def Diff(self, request: Any, context: Any) -> Any:
            return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

        def Create(self, request: Any, context: Any) -> Any:
            return provider_pb2.CreateResponse(id="1")

        def Cancel(self, request: Any, context: Any) -> Any:
            return empty_pb2.Empty()

    server = grpc.server(ThreadPoolExecutor(8))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(), server)
    print(server.add_insecure_port("127.0.0.1:0"), flush=True)
    server.start()
    server.wait_for_termination()


def ours(engine: str, what: str) -> None:
    """swarmctl's session on resources that are exactly what they are declared to be."""
    from swarmctl.engine.install import Engine
    from swarmctl.engine.session import Session
    from swarmctl.graph.model import Address, Graph, Resource
    from swarmctl.state.store import Store

    graph = Graph(STACK)
    for number in range(COUNT):
        graph.add(Resource(Address("bench", f"r{number}"), "swarm:bench:Thing", {"number": number}))
    session = Session(
        Store(STACK),
        Engine(Path(engine), "bench", "configured"),
        lambda event: None,
        provider=(sys.executable, "-I", __file__, "things"),
        resolve=lambda token: _thing(),
    )
    if what == "preview":
        assert session.preview(graph).empty
    else:
        assert not session.update(graph).failures


def things() -> None:
    """swarmctl's provider with one resource type that is in no world."""
    from swarmctl.provider.hosts import Connections
    from swarmctl.provider.process import serve
    from swarmctl.provider.server import Provider

    serve(Provider(Connections(), lambda token: _thing()))


def _thing() -> Any:
    from swarmctl.kinds.base import Impact, Observed, differences

    class Thing:
        def diff(self, old: Any, new: Any) -> Any:
            return differences(old, new)

        def create(self, hosts: Any, inputs: Any) -> Any:
            return {}

        def read(self, hosts: Any, inputs: Any) -> Any:
            return Observed(inputs, {})

        def outputs(self) -> Any:
            return ()

        def effects(self, old: Any, new: Any) -> Any:
            return ()

        def impact(self, old: Any, new: Any) -> Any:
            return Impact()

    return Thing()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bare", path, folder]:
            bare(path, folder)
        case ["provider"]:
            provider()
        case ["ours", path, what]:
            ours(path, what)
        case ["things"]:
            things()
        case rest:
            sys.exit(main(int(rest[0]) if rest else 7))
