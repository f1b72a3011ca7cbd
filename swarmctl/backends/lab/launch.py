"""Starts the programs of `inside/`: the only way from this process into a node.

Nothing here changes the namespaces of this process, so that it may have threads. The interpreter is started from the
fabric's mount namespace, in which it is read-only; where that one is of another interpreter it sees to it itself.
"""

from __future__ import annotations

import marshal
import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from swarmctl.backends.base import OUTPUT_LIMIT
from swarmctl.backends.lab.marks import HELD_BY, TAG, holder
from swarmctl.errors import SwarmError
from swarmctl.processes import Process

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
NODE_PATH = f"{SYSTEM_PATH}:/opt/swarmctl/bin"
FAILED = 125
_PROGRAM = f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r}); import inside; inside.main()"


class LabBroken(SwarmError):
    """Something that a lab needs did not work on this machine."""


def environment(tag: str, *, held: bool = False) -> dict[str, str]:
    """Of every program started on this machine for a lab: carries the lab's tag, and nothing of this process's own.

    `held`: it is a part of what this process does, and left behind only when this process is gone.
    """
    found = {"PATH": f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin:/usr/bin:/bin", "LC_ALL": "C", TAG: tag}
    return {**found, HELD_BY: holder()} if held else found


@contextmanager
def into(
    holder: Process, *, user: bool, mount: bool = False, net: bool = False
) -> Iterator[tuple[list[str], list[int]]]:
    """The start of a command that runs in some of the holder's namespaces, and the descriptors it needs.

    Raises ProcessLookupError when the holder is gone.
    """
    names = [name for name, wanted in (("user", user), ("mnt", mount), ("net", net)) if wanted]
    with holder.namespaces(*names) as opened:
        argv = ["nsenter"]
        for name, descriptor in opened.items():
            argv.append(f"--{'mount' if name == 'mnt' else name}=/proc/self/fd/{descriptor}")
        if user:
            argv.append("--preserve-credentials")
        yield [*argv, "--"], list(opened.values())


def start(
    request: Mapping[str, Any],
    tag: str,
    *,
    prefix: Sequence[str] = (),
    descriptors: Iterable[int] = (),
    stdin: int | IO[bytes] | None = subprocess.PIPE,
    stdout: int | IO[bytes] | None = subprocess.PIPE,
    stderr: int | IO[bytes] | None = subprocess.PIPE,
    held: bool = False,
) -> subprocess.Popen[bytes]:
    """Start one operation of `inside/`, `held` as in `environment`.

    The request travels in memory: it would be visible in argv.
    """
    with memory_file(marshal.dumps(dict(request))) as descriptor:
        argv = [*prefix, sys.executable, "-I", "-S", "-c", _PROGRAM, str(descriptor)]
        return subprocess.Popen(
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment(tag, held=held),
            cwd="/",
            pass_fds=[descriptor, *descriptors],
            start_new_session=True,
        )


@contextmanager
def memory_file(content: bytes) -> Iterator[int]:
    """A file that has no name."""
    descriptor = os.memfd_create("swarmctl-request")
    try:
        os.write(descriptor, content)
        yield descriptor
    finally:
        os.close(descriptor)


def converse(
    process: subprocess.Popen[bytes], stdin: bytes = b"", *, timeout: float, limit: int = OUTPUT_LIMIT
) -> tuple[bytes, bytes]:
    """Feed a process and read it until it ends; returns at most `limit` bytes of stdout and of stderr.

    Kills it and raises subprocess.TimeoutExpired at the timeout. A child in the background that keeps the streams
    open does not hold us up.
    """
    deadline = time.monotonic() + timeout
    kept: dict[str, bytearray] = {"stdout": bytearray(), "stderr": bytearray()}
    cut: set[str] = set()
    ended = os.pidfd_open(process.pid)
    try:
        with selectors.DefaultSelector() as selector:
            _register(selector, process, bool(stdin))
            selector.register(ended, selectors.EVENT_READ, "end")
            view = memoryview(stdin)
            finished = False
            while selector.get_map().keys() - {ended}:
                left = 0.0 if finished else deadline - time.monotonic()
                if left <= 0 and not finished:
                    raise subprocess.TimeoutExpired(process.args, timeout)
                ready = selector.select(left)
                if finished and not ready:
                    break
                for key, _ in ready:
                    if key.data == "end":
                        selector.unregister(ended)
                        finished = True
                    elif key.data == "stdin":
                        view = _feed(selector, key.fileobj, view)
                    else:
                        _collect(selector, key, kept[key.data], limit, cut)
        process.wait(max(0.0, deadline - time.monotonic()) + 1)
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        os.close(ended)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    for name in sorted(cut):
        kept["stderr"] += f"\n[{name} cut off after {limit} bytes]\n".encode()
    return bytes(kept["stdout"]), bytes(kept["stderr"])


def _register(selector: selectors.BaseSelector, process: subprocess.Popen[bytes], feed: bool) -> None:
    if process.stdin is not None:
        if feed:
            os.set_blocking(process.stdin.fileno(), False)
            selector.register(process.stdin, selectors.EVENT_WRITE, "stdin")
        else:
            process.stdin.close()
    for name in ("stdout", "stderr"):
        stream = getattr(process, name)
        if stream is not None:
            os.set_blocking(stream.fileno(), False)
            selector.register(stream, selectors.EVENT_READ, name)


def _feed(selector: selectors.BaseSelector, stream: Any, view: memoryview) -> memoryview:
    try:
        view = view[os.write(stream.fileno(), view[: 1 << 16]) :]
    except BrokenPipeError:
        view = view[:0]
    except BlockingIOError:
        return view
    if not view:
        selector.unregister(stream)
        stream.close()
    return view


def _collect(
    selector: selectors.BaseSelector, key: selectors.SelectorKey, into_: bytearray, limit: int, cut: set[str]
) -> None:
    try:
        block = os.read(key.fd, 1 << 16)
    except BlockingIOError:
        return
    if not block:
        selector.unregister(key.fileobj)
        return
    room = limit - len(into_)
    into_ += block[:room]
    if len(block) > room:
        cut.add(key.data)


class Starting:
    """A process that waits for go: first its mark is written, then it comes to life.

    As a context manager: leaving it without `go` ends the process.
    """

    def __init__(self, process: subprocess.Popen[bytes], what: str, timeout: float = 30.0) -> None:
        self._process = process
        self._what = what
        self._deadline = time.monotonic() + timeout

    def __enter__(self) -> Starting:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout, self._process.stderr):
            if stream is not None:
                stream.close()
        self._process.kill()  # the starter; what it started is no child of it any more
        self._process.wait()

    def announced(self) -> Process:
        """The process as it is known out here. Raises `LabBroken`."""
        line = self._read(until=b"\n")
        process = Process.of(int(line)) if line.strip().isdigit() else None
        if process is None:
            assert self._process.stderr is not None
            reason = os.read(self._process.stderr.fileno(), 4096).decode(errors="replace").strip()
            raise LabBroken(f"{self._what} does not start: {reason or 'its process ended'}", "see `swarmctl doctor`")
        return process

    def go(self) -> None:
        """Let it come to life and wait until it has. Raises `LabBroken` with its own words when it can't."""
        assert self._process.stdin is not None
        try:
            os.write(self._process.stdin.fileno(), b"g")
        except BrokenPipeError:
            raise LabBroken(f"{self._what} ended before it started", "try again") from None
        report = self._read()
        if report:
            reason = report.decode(errors="replace").strip()
            raise LabBroken(f"{self._what} does not start: {reason}", "see `swarmctl doctor`")

    def _read(self, until: bytes = b"") -> bytes:
        """Standard output up to `until`, or to its end."""
        assert self._process.stdout is not None
        found = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while not (until and until in found):
                if not selector.select(max(0.0, self._deadline - time.monotonic())):
                    raise LabBroken(f"{self._what} does not start in time", "see `swarmctl doctor`")
                block = os.read(self._process.stdout.fileno(), 1 if until else 4096)
                if not block:
                    break
                found += block
        return found
