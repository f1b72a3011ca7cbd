"""How work with a machine's packages can fail, whatever its package manager is."""

from __future__ import annotations

from swarmctl.errors import SwarmError

NOT_WHOLE = "see whether the mirror is whole, or try later"
"""What to do where a file is not the one that its index names: whose key it is makes no difference."""


class PackagesFailed(SwarmError):
    """Packages of a machine could not be read, fetched, installed or removed."""


class Locked(PackagesFailed):
    """Another process works with the packages, longer than was waited."""


class Interrupted(PackagesFailed):
    """The package manager was cut off earlier and does nothing until that is mended."""


class UnknownPackage(PackagesFailed):
    """No repository has a package of that name, or not in that version."""


class Unmet(PackagesFailed):
    """What is wanted can't be installed together, or only by removing something else."""


class DiskFull(PackagesFailed):
    """The machine has no room for it."""


class BadSignature(PackagesFailed):
    """A repository or package is not signed by the key that is to sign it, or was changed after that."""


class RepositoryUnreachable(PackagesFailed):
    """A repository does not answer, or lacks what its index promises."""

    transient = True


class Misconfigured(PackagesFailed):
    """The package manager does not take its own settings on the machine."""


class ScriptFailed(PackagesFailed):
    """A package's own script failed."""
