"""What may be declared of a machine beside that it is there: the words of `state`."""

from __future__ import annotations

from typing import Literal

State = Literal["isolated", "lost", "cordoned", "drained"]
ISOLATED = "isolated"
"""It is suspected: in no mesh, shut but for its management, and left as it is for whoever looks into it."""
LOST = "lost"
"""It is gone for good and does not answer: what was made on it is forgotten without asking it."""
CORDONED = "cordoned"
"""No new work begins there; what runs goes on."""
DRAINED = "drained"
"""No work runs there, and none begins: it may be changed, restarted, taken away."""
OUT_OF_SERVICE = (CORDONED, DRAINED)
"""What the hooks of its pool bring about (`drain`); all else goes on there."""
ABOUT = (
    "`isolated`: they are suspected; they leave every mesh, their firewall lets in nothing but management and out "
    "nothing but answers to it, and nothing else there is touched. `lost`: they are gone for good; the others drop "
    "them, and they are asked nothing. `cordoned`: no new work begins there; `drained`: none runs there, either; both "
    "by the pool's `drain`. "
)
