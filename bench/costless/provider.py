"""The provider with the kind Costless: started in the place of `python -I -m swarmctl.provider`."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from bench.costless.kind import KIND
from swarmctl import kinds
from swarmctl.provider.__main__ import main

if __name__ == "__main__":
    kinds.register(KIND)
    main()
