"""The engine room: all that speaks Pulumi on the side of the command line."""

import sys

provider_command: tuple[str, ...] = (sys.executable, "-I", "-m", "swarmctl.provider")
"""How the provider is started: isolated, so that neither the user's environment nor the folder changes what runs.
A program that registers kinds of its own, such as a benchmark, puts one here that knows them."""
