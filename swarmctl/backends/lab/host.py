"""A node through the host protocol: commands, files and services, always by way of `inside/`."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

from swarmctl.backends.base import (
    OUTPUT_LIMIT,
    CommandFailed,
    Completed,
    Fence,
    HostGone,
    HostUnreachable,
    ServiceStatus,
)
from swarmctl.backends.lab import fencing, launch, machine, marks, relay, services, terminal
from swarmctl.backends.lab.inside.fence import GONE, OVERDUE
from swarmctl.backends.lab.inside.files import MISSING
from swarmctl.backends.lab.marks import Lab
from swarmctl.backends.lab.services import ENVIRONMENT
from swarmctl.hosts import fence as fences

_SERVICE = re.compile(r"[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?")
_LINE = 4096


class LabHost:
    """One node. With a fence, commands and files are compared in `inside/`, services under the same lock out here."""

    def __init__(self, host: Mapping[str, Any], fence: Fence | None = None) -> None:
        self.name: str = host["node"]
        self._host = dict(host)
        self._fence = fence

    @contextmanager
    def _started(
        self, request: Mapping[str, Any], *, extra: Iterable[int] = (), streams: Mapping[str, Any] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """An operation of `inside/` in this node. Raises `HostGone`."""
        lab, found, process, record = machine.running(self._host)
        groups = record["cgroups"].values()
        with ExitStack() as stack:
            try:
                entered = services.entered(
                    lab, found, process, groups, request, extra=extra, streams=streams, held=True
                )
                started = stack.enter_context(entered)
            except (ProcessLookupError, FileNotFoundError):
                raise self._going() from None
            yield started

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """See `Host.run`. Status 127: no such program in the node; 126: it can't be executed; 128 + N: signal N."""
        request = {"op": "run", "argv": list(argv), "env": ENVIRONMENT}
        done = self._converse(request, stdin, timeout, argv)
        if check and done.returncode:
            raise self._failed(done)
        return done

    def _converse(self, request: Mapping[str, Any], stdin: bytes, timeout: float, argv: Sequence[str]) -> Completed:
        if self._fence is None:
            return self._exchange(request, stdin, timeout, argv)
        with ExitStack() as stack:
            try:
                own = stack.enter_context(fencing.request(self._folder, self._fence, timeout, stdin))
            except FileNotFoundError:
                raise self._gone() from None
            fenced = {**request, "fence": own}
            # The command's time begins when the fence lets it begin; out here it is only made sure that it ends.
            patience = timeout + fences.WAIT + 5
            done = self._exchange(fenced, b"", patience, argv, extra=[own["folder"]])
        if done.returncode in (GONE, OVERDUE) and done.stderr.startswith(f"{fences.MARKER} {own['nonce']}".encode()):
            raise self._gone() if done.returncode == GONE else self._overdue(argv, timeout)
        if error := fences.refusal(self._fence, self.name, own["nonce"], done.returncode, done.stderr):
            raise error
        return done

    def _exchange(
        self,
        request: Mapping[str, Any],
        stdin: bytes,
        timeout: float,
        argv: Sequence[str],
        *,
        extra: Iterable[int] = (),
    ) -> Completed:
        with self._started(request, extra=extra) as process:
            try:
                stdout, stderr = launch.converse(process, stdin, timeout=timeout)
            except subprocess.TimeoutExpired:
                raise self._overdue(argv, timeout) from None
        return Completed(tuple(argv), process.returncode, stdout, stderr)

    @property
    def _lab(self) -> Lab:
        return Lab(self._host["stack"])

    @property
    def _folder(self) -> Path:
        return self._lab.node(self.name)

    def _gone(self) -> HostGone:
        return HostGone(f"{self.name} does not exist", "run `swarmctl apply` to make it")

    def _going(self) -> HostGone:
        return HostGone(f"{self.name} is going away", "run `swarmctl apply` to make it again")

    def _overdue(self, argv: Sequence[str], timeout: float) -> HostUnreachable:
        message = f"{self.name}: {argv[0]} did not end within {timeout:g} s"
        return HostUnreachable(message, "see whether the node is overloaded, and try again")

    def _failed(self, done: Completed) -> CommandFailed:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines()
        message = f"{self.name}: {done.argv[0]} ended with status {done.returncode}"
        return CommandFailed(f"{message}: {lines[-1][:500]}" if lines else message)

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """See `Host.put`."""
        self._checked({"op": "put", "path": _absolute(path), "mode": mode}, content, ("put", path))

    def get(self, path: str) -> bytes | None:
        """See `Host.get`. Raises `CommandFailed` for what is no regular file and for more than `OUTPUT_LIMIT`."""
        request = {"op": "get", "path": _absolute(path), "limit": OUTPUT_LIMIT}
        return self._checked(request, b"", ("get", path), missing=True)

    def _checked(
        self, request: Mapping[str, Any], stdin: bytes, argv: Sequence[str], *, missing: bool = False
    ) -> bytes | None:
        done = self._converse(request, stdin, 60.0, argv)
        if missing and done.returncode == MISSING:
            return None
        if done.returncode:
            raise self._failed(done)
        return done.stdout

    def remove(self, path: str) -> None:
        """See `Host.remove`."""
        if not os.path.normpath(_absolute(path)).strip("/"):
            raise ValueError("the root of a machine can't be removed")
        self.run(["rm", "-rf", "--", path])

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        """See `Host.start_service`. Raises `launch.LabBroken` when it can't be executed."""
        with marks.locked(self._folder) as there, fencing.held(self._folder, self._fence, self.name):
            if not there:
                raise self._gone()
            mark = self._mark(name)
            lab, found, process, record = machine.running(self._host)
            if services.running(lab, mark) is not None and lab.read(mark).get("argv") == list(argv):
                return
            self._stop(mark)
            try:
                services.start(lab, found, process, record["cgroups"].values(), self.name, name, argv)
            except BaseException as error:
                self._stop(mark)
                mark.unlink(missing_ok=True)
                if isinstance(error, (ProcessLookupError, FileNotFoundError)):
                    raise self._going() from None
                raise

    def stop_service(self, name: str) -> None:
        """See `Host.stop_service`."""
        with marks.locked(self._folder) as there, fencing.held(self._folder, self._fence, self.name):
            if there:
                mark = self._mark(name)
                self._stop(mark)
                mark.unlink(missing_ok=True)

    def _stop(self, mark: Path) -> None:
        process = services.running(self._lab, mark)
        if process is not None:
            process.end()

    def services(self) -> list[ServiceStatus]:
        """See `Host.services`."""
        found: list[ServiceStatus] = []
        for mark in services.noted(self._lab, self.name):
            process = services.running(self._lab, mark)
            found.append(ServiceStatus(mark.stem, process is not None, None if process is None else process.pid))
        return found

    def _mark(self, name: str) -> Path:
        if not _SERVICE.fullmatch(name):
            raise ValueError(f"not a service name: {name!r}")
        return services.mark_of(self._lab, self.name, name)

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        """See `Host.logs`. Raises `HostGone` when the node has no folder."""
        if not self._folder.is_dir():
            raise self._gone()
        return [
            (path.stem, line) for path in sorted((self._folder / "log").glob("*.log")) for line in _last(path, tail)
        ]

    def exec(self, argv: Sequence[str]) -> int:
        """See `Host.exec`. With a terminal, the command gets one of its own: what runs in a node must not type here.

        Without, its streams are pipes. Raises OSError when our output can't be written.
        """
        environment = {**ENVIRONMENT, "TERM": os.environ.get("TERM", "dumb"), "LC_ALL": "C.UTF-8"}
        request = {"op": "run", "argv": list(argv), "env": environment}
        if sys.stdin.isatty() and sys.stdout.isatty():
            with terminal.Terminal() as own:
                streams: dict[str, int | IO[bytes]] = {"stdin": own.inner, "stdout": own.inner, "stderr": own.inner}
                with self._started({**request, "tty": True}, streams=streams) as process:
                    return own.relay(process)
        with self._started(request) as process:
            return relay.relay(process)


def _absolute(path: str) -> str:
    if not path.startswith("/") or "\0" in path:
        raise ValueError(f"not an absolute path: {path!r}")
    return path


def _last(path: Path, count: int) -> list[str]:
    """The last lines, at most the last MiB."""
    with path.open("rb") as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - (1 << 20)))
        lines = deque(stream.read(1 << 20).decode("utf-8", "replace").splitlines(), maxlen=max(0, count))
    return [line[:_LINE] for line in lines]
