"""A Stack that was renamed: its uid stays, and so does all that was made under the old name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from swarmctl import paths
from swarmctl.errors import SwarmError
from swarmctl.operations.load import LoadedStack
from swarmctl.state.store import recorded


class Renamed(SwarmError):
    """The Stack has another name than when it was applied, and its things still carry the old one."""


def check(loaded: LoadedStack, store: Path) -> None:
    """Raises Renamed when this stack has things under another name: they would run on, and nobody would know of them.

    Only uids tell a stack that was renamed from another one; without a uid a new name is a new stack. `store` is the
    folder that the stack's state is in, or will be.
    """
    uid = loaded.inventory.of("Stack")[0].metadata.uid
    if not uid:
        return
    homes = (store.parent, paths.stack_dir(loaded.identity).parent, paths.lab_dir(loaded.identity).parent)
    if old := next(_others(homes, loaded.identity, uid), None):
        name = old.name.removesuffix(f"-{uid}")
        raise Renamed(
            f"the stack {loaded.name} was called {name} when it was applied, and what was made then is still there",
            f"Name it {name} again to go on with it; or name it {name}, run `swarmctl destroy`, and then rename it. "
            f"To run both, give this one a metadata.uid of its own.",
            details=[f"applied as {old.name}, in {old}", f"declared as {loaded.identity}"],
        )


def _others(homes: tuple[Path, ...], identity: str, uid: str) -> Iterator[Path]:
    """Folders of stacks with this uid and another name. Uids have a fixed length, so a name can't end in one."""
    for home in dict.fromkeys(homes):
        for folder in sorted(home.glob(f"*-{uid}")):
            if folder.name != identity and (recorded(folder, folder.name) or home == paths.lab_dir(identity).parent):
                yield folder
