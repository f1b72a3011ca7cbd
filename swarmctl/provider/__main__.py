"""`python -m swarmctl.provider`: the provider of all kinds, started beside the engine."""

import json
import os
from pathlib import Path

from swarmctl.backends import ways
from swarmctl.kinds import secrets
from swarmctl.provider import run as runs
from swarmctl.provider.guards import Guards
from swarmctl.provider.hosts import Connections
from swarmctl.provider.orphans import parent_of

HOSTS_VARIABLE = "SWARMCTL_HOSTS"
"""Path of a JSON file with the hosts that the run will ask for, and the ways to them; see engine/runner.py."""

STARTER_VARIABLE = "SWARMCTL_STARTER"
"""See provider/process.py, which is imported later: it takes its time."""


def main() -> None:
    """Read the hosts while gRPC is still being imported and the engine starts; then serve."""
    if descriptor := os.environ.pop(secrets.VARIABLE, ""):
        secrets.take(int(descriptor))
    run = runs.of()
    engine, starter = os.getppid(), int(os.environ[STARTER_VARIABLE])
    guards = Guards(alive=lambda: parent_of(engine) == starter)
    connections = Connections(fence=run.fence if run else None, guards=guards)
    if path := os.environ.pop(HOSTS_VARIABLE, ""):
        told = json.loads(Path(path).read_text("utf-8"))
        ways.load(told["ways"])
        connections.foresee(told["hosts"])

    from swarmctl.provider.process import serve
    from swarmctl.provider.server import Provider

    serve(Provider(connections, journal=run.journal if run else None))


if __name__ == "__main__":
    main()
