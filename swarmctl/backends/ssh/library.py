"""asyncssh, imported without a search for libraries of the system.

While it is imported it looks for two that it can do without (`ctypes.util.find_library`), which Python does by running
a compiler and the linker with the whole environment of this process. Nothing that we start may have that.
"""

from __future__ import annotations

import ctypes.util

_find = ctypes.util.find_library
ctypes.util.find_library = lambda name: None
try:
    import asyncssh
finally:
    ctypes.util.find_library = _find

__all__ = ["asyncssh"]
