"""Stack: one deployable unit: its name, its state, what pools take by default, whose plans count, what has moved."""

from swarmctl.kinds.base import Kind
from swarmctl.kinds.stack.spec import StackSpec

KIND = Kind(
    name="Stack",
    summary="One deployable unit: its name, where its state is kept, and defaults for the pools in it.",
    spec=StackSpec,
    rules="swarmctl.kinds.stack.rules:check",
)
