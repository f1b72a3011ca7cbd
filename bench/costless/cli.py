"""`python bench/costless/cli.py ARGS`: swarmctl with the kind Costless, on the real engine.

The world is the folder that SWARMCTL_WORLD names. COSTLESS_PROVIDER names another script to be the provider, for tests
of one that misbehaves.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

# In the place of this folder, whose modules are known as `bench.costless.…`.
sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.costless.kind import KIND  # noqa: E402
from swarmctl import cli, engine, kinds  # noqa: E402
from swarmctl.kinds.schema import kind_schema  # noqa: E402

PROVIDER = Path(__file__).with_name("provider.py")


def main() -> None:
    """Make the kind known, and become swarmctl."""
    kinds.register(KIND, kind_schema(KIND))
    engine.provider_command = (sys.executable, "-I", os.environ.get("COSTLESS_PROVIDER") or str(PROVIDER))
    cli.main()


if __name__ == "__main__":
    main()
