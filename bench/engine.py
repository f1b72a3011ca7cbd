"""A second `swarmctl apply` of the lab that has nothing to do, against the bare engine's own `pulumi up`.

Both sides are whole processes on the same engine with as many resources in their state. The bare side is the least that
`pulumi up` needs: a language host that registers the resources and a provider that answers "no change" to everything,
both on the protocol's stubs alone; it neither previews, nor refreshes, nor stores its resources anywhere but in the
state. swarmctl reads, validates and compiles the declarations and reads every machine of a real lab back.
`python bench/engine.py [RUNS]`; the engine is found as swarmctl finds it.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

COUNT = 20
"""Resources of stacks/lab; checked against its state."""
LAB = Path(__file__).resolve().parents[1] / "stacks" / "lab"
STACK = "bench"
BOUND = 1.5
UP = ("--yes", "--skip-preview", "--stack", STACK, "--exec-kind", "auto.inline")


def main(runs: int) -> int:
    """Apply once on each side, then measure alternately; print medians and the ratio; 1 when it is over the bound."""
    from swarmctl.engine.install import locate

    engine = str(locate().path)
    with tempfile.TemporaryDirectory(prefix="swarmctl-bench-") as name:
        folder = Path(name)
        stack = folder / "stack"
        shutil.copytree(LAB, stack)
        swarmctl = [sys.executable, "-m", "swarmctl", "-C", str(stack)]
        ours = os.environ | {"XDG_DATA_HOME": f"{name}/data", "SWARMCTL_ENGINE": engine}
        sides = {
            "bare pulumi up": (
                [sys.executable, __file__, "bare", engine, str(folder / "bare")],
                _bare_world(folder / "bare", engine),
            ),
            "swarmctl apply": ([*swarmctl, "apply", "--yes"], ours),
        }
        try:
            times = _measure(sides, runs)
            plan = subprocess.run([*swarmctl, "plan", "--format", "json"], env=ours, check=True, capture_output=True)
            assert json.loads(plan.stdout)["summary"]["same"] == COUNT, "both sides have as many resources"
        finally:
            subprocess.run([*swarmctl, "destroy", "--yes"], env=ours, check=True, capture_output=True)
    bare = statistics.median(times["bare pulumi up"])
    for side, measured in times.items():
        median = statistics.median(measured)
        print(f"{side}  {COUNT} resources, no change: {median:.2f} s, ratio {median / bare:.2f}")
    ratio = statistics.median(times["swarmctl apply"]) / bare
    print(f"bound {BOUND}: {'kept' if ratio <= BOUND else 'broken'}")
    return int(ratio > BOUND)


def _measure(sides: Mapping[str, tuple[list[str], dict[str, str]]], runs: int) -> dict[str, list[float]]:
    """Seconds of each run, the sides in turn; the first of each side, which makes things, is not counted."""
    times: dict[str, list[float]] = {side: [] for side in sides}
    for _ in range(runs + 1):
        for side, (command, environment) in sides.items():
            started = time.perf_counter()
            subprocess.run(command, env=environment, check=True, capture_output=True)
            times[side].append(time.perf_counter() - started)
    return {side: measured[1:] for side, measured in times.items()}


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


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["bare", path, folder]:
            bare(path, folder)
        case ["provider"]:
            provider()
        case rest:
            sys.exit(main(int(rest[0]) if rest else 7))
