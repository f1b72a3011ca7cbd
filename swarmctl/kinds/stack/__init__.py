"""Stack: one deployable unit, its name, where its state is kept, and what pools take by default."""

from swarmctl.kinds.base import Kind
from swarmctl.kinds.stack.spec import StackSpec

KIND = Kind(
    name="Stack",
    summary="One deployable unit: its name, where its state is kept, and defaults for the pools in it.",
    spec=StackSpec,
)
