"""A machine through the host protocol, over SSH."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from swarmctl.backends import ways
from swarmctl.backends.base import OUTPUT_LIMIT, Completed, Fence, HostGone, HostUnreachable, ServiceStatus
from swarmctl.backends.ssh import answers, files, marks, services, shell, terminal, transport
from swarmctl.backends.ssh.address import PORT, Address
from swarmctl.backends.ssh.errors import HostSilent
from swarmctl.hosts import fence as fences

_MARGIN = 15.0
"""Seconds beyond a command's own time that its machine may take to begin it and to say that it is over."""
_FILE_TIMEOUT = 60.0
_LAST_WORD = 2.0
"""Seconds in which a command that was given up before it began is told from one that takes too long."""
_SLOWEST = 1 << 18
"""Bytes a second that a connection must carry at least, for what is large."""


class SshHost:
    """One machine. With a fence every call compares it there, in the same call, under a lock held until it is done."""

    def __init__(
        self,
        host: Mapping[str, Any],
        fence: Fence | None = None,
        through: transport.Transport | None = None,
        *,
        taken_over: bool = False,
    ) -> None:
        """`host` has `node` and what `Address.load` reads. Doesn't connect yet.

        `taken_over`: with a fence, a machine without a mark counts as none (`HostGone`); nothing is written there.
        """
        self.name: str = host["node"]
        self._way = host
        self._address = Address.load(host)
        self._fence = fence
        self._taken_over = taken_over and fence is not None
        self._transport = through or transport.shared()

    def run(self, argv: Sequence[str], *, stdin: bytes = b"", timeout: float = 30.0, check: bool = True) -> Completed:
        """See `Host.run`. Status 127: no such program there; 126: it can't be executed; 128 + N: signal N.

        The input arrives whole before the command begins.
        """
        done = self._converse(argv, stdin, timeout)
        if check and done.returncode:
            raise answers.failed(self.name, done)
        return done

    def _converse(self, argv: Sequence[str], stdin: bytes, timeout: float, *, counted: bool = False) -> Completed:
        """`counted`: the command itself takes care of an input that ends too early."""
        nonce = secrets.token_hex(8)
        patience = timeout + _MARGIN + len(stdin) / _SLOWEST
        if self._fence is None:
            inner = shell.limited(argv, timeout)
        else:
            inner = fences.argv(self._fence, argv, nonce, limit=timeout)
            inner = marks.where_marked(inner, nonce) if self._taken_over else inner
            patience += fences.WAIT
        script = shell.script(inner, nonce, None if counted else len(stdin), sudo=self._address.user != "root")
        begins = answers.BEGINS + len(stdin) / _SLOWEST
        begun = time.monotonic()
        try:
            outcome = self._transport.run(
                self.name,
                self._address,
                shell.by_stdin(script, nonce),
                script + stdin,
                timeout=max(patience, begins + _LAST_WORD),
                limit=OUTPUT_LIMIT + answers.NOISE,
                mark=shell.begin(nonce),
                begins=begins,
            )
        except HostSilent as silent:
            raise self._shut(silent) from None
        except TimeoutError:
            raise self._overdue(argv, patience) from None
        done = answers.read(self.name, self._address, argv, nonce, outcome)
        if self._taken_over and marks.unmarked(done.returncode, done.stderr, nonce):
            raise HostGone(f"{self.name} has not been taken over, or its mark is lost", "run `swarmctl apply`")
        if self._fence and (error := fences.refusal(self._fence, self.name, nonce, done.returncode, done.stderr)):
            raise error
        if done.returncode == 128 + 9 and time.monotonic() - begun >= timeout:
            raise self._overdue(argv, timeout)
        return done

    def _shut(self, error: HostSilent) -> HostSilent:
        """The error of a machine that was applied with another port, which is the one that its firewall lets in."""
        recorded = ways.recorded_for(self._way)
        of_jump_host = not error.message.startswith(f"{self.name} (")
        if recorded is None or of_jump_host:
            return error
        port, was = self._address.port, recorded.get("port", PORT)
        opened = recorded.get("listens") or [was]
        if port in opened or was not in opened:
            return error
        both = ", ".join(map(str, sorted({*opened, port})))
        return HostSilent(
            error.message,
            f"see whether it is up; where a security policy holds there, its firewall still keeps port {was} open, not "
            f"{port}: declare `port: {was}` with `listens: [{both}]`, apply, and move the server then; one that has "
            f"moved already has to listen on port {was} again until that is applied",
        )

    def _overdue(self, argv: Sequence[str], seconds: float) -> HostUnreachable:
        message = f"{self.name}: {argv[0]} did not end within {seconds:g} s"
        return HostUnreachable(message, "see whether the machine is overloaded, and try again")

    def put(self, path: str, content: bytes, *, mode: int = 0o644) -> None:
        """See `Host.put`."""
        seconds = _FILE_TIMEOUT + len(content) / _SLOWEST
        done = self._converse(files.put(path, mode, len(content)), content, seconds, counted=True)
        if done.returncode:
            raise answers.failed(self.name, done, f"writing {path}")

    def get(self, path: str) -> bytes | None:
        """See `Host.get`. Raises `CommandFailed` for what is no regular file and for more than `OUTPUT_LIMIT`."""
        done = self._converse(files.get(path, OUTPUT_LIMIT), b"", _FILE_TIMEOUT + OUTPUT_LIMIT / _SLOWEST)
        if done.returncode == files.MISSING:
            return None
        if done.returncode:
            raise answers.failed(self.name, done, f"reading {path}")
        return done.stdout

    def remove(self, path: str) -> None:
        """See `Host.remove`."""
        self.run(files.remove(path), timeout=_FILE_TIMEOUT)

    def start_service(self, name: str, argv: Sequence[str]) -> None:
        """See `Host.start_service`. Raises `CommandFailed` when it can't be executed."""
        self._done(services.start(name, argv), f"starting {name}")

    def stop_service(self, name: str) -> None:
        """See `Host.stop_service`."""
        self._done(services.stop(name), f"stopping {name}")

    def _done(self, argv: Sequence[str], what: str) -> None:
        done = self._converse(argv, b"", _FILE_TIMEOUT)
        if done.returncode:
            raise answers.failed(self.name, done, what)

    def services(self) -> list[ServiceStatus]:
        """See `Host.services`."""
        return services.listed(self.run(services.listing()).stdout)

    def logs(self, *, tail: int = 200) -> Iterable[tuple[str, str]]:
        """See `Host.logs`."""
        nonce = secrets.token_hex(8)
        return services.lines(self.run(services.tails(nonce, tail)).stdout, nonce)

    def exec(self, argv: Sequence[str]) -> int:
        """See `Host.exec`. With a terminal, the command gets one of its own on the machine."""
        nonce = secrets.token_hex(8)
        try:
            return terminal.attached(self._transport, self.name, self._address, argv, nonce)
        except HostSilent as silent:
            raise self._shut(silent) from None
