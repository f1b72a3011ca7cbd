"""What runs between this machine and a node: programs that enter namespaces, drop rights and only then touch the node.

Run as `python -I -S -c "import sys; sys.path.insert(0, LAB); import inside; inside.main()"`, so that it starts in
milliseconds and needs nothing but the standard library. Everything is imported before a namespace is entered: after
that, no file of the node may be loaded while this process still has rights that the node hasn't.
"""

from __future__ import annotations

import marshal
import os
import sys

from . import enter, fabric, fence, files, kernel, node, probe

TYPE_CHECKING = False  # `typing` would cost a quarter of the start-up time
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

OPERATIONS: dict[str, Callable[[dict[str, Any]], int]] = {
    "fabric": fabric.hold,
    "node": node.boot,
    "run": enter.run,
    "service": enter.service,
    "put": files.put,
    "get": files.get,
    "probe": probe.probe,
}
FAILED = 125
"""Exit status when this program itself failed; the reason stands on its standard error."""


def main() -> None:
    """Read the request from the file descriptor in argv[1] and carry it out; never returns."""
    try:
        descriptor = int(sys.argv[1])
        with open(descriptor, "rb", closefd=False) as stream:
            stream.seek(0)
            request = marshal.load(stream)  # same interpreter on both sides
        if request.get("map") is not None:
            kernel.new_user_namespace(*request["map"])
        if not kernel.exe_is_read_only():
            request["map"] = None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, marshal.dumps(request), 0)
            kernel.restart_read_only()
        os.close(descriptor)
        # From here on nothing can be imported: it could be a file of the node.
        sys.path.clear()
        sys.meta_path.clear()
        status = fence.guard(request) or OPERATIONS[request["op"]](request)
    except (OSError, KeyError, ValueError, EOFError) as error:
        try:
            os.write(2, f"{error}\n".encode(errors="replace"))
        finally:
            os._exit(FAILED)
    os._exit(status)
