"""How the driver of one machine can fail."""

from __future__ import annotations

from swarmctl.errors import SwarmError


class DriverImpossible(SwarmError):
    """Something on the machine has to be otherwise before anything is installed."""


class DriverUnverified(SwarmError):
    """It is installed, and not verified; there was nothing to go back to."""


class DriverRolledBack(SwarmError):
    """The new one did not work, and the one before is back and works."""


class DriverBroken(SwarmError):
    """The new one did not work, and going back failed, too."""


class DriverUnfinished(SwarmError):
    """It is not let go: a change of it failed or was cut off, and nobody knows that it works."""


class DriverWaits(SwarmError):
    """It is installed, and the restart that it needs is for the next run."""
