"""What every command gets, and what many share: options, the question before a change, Ctrl-C, completion."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from types import FrameType

    from swarmctl.operations.running import Run, Stopper
    from swarmctl.plans.events import Event
    from swarmctl.plans.model import Plan
    from swarmctl.reports.progress import Progress

F = TypeVar("F", bound=Callable[..., Any])


@dataclass(slots=True)
class Context:
    """The options of `swarmctl` itself."""

    directory: str
    debug: bool
    log: Path | None = None
    """The log file of a `--debug` run."""

    @property
    def folder(self) -> Path:
        """The stack's folder. Raises click.UsageError when there is none."""
        if not self.directory:
            # As in `destroy -C "$UNSET"`: that is not the folder one happens to be in.
            raise click.UsageError("-C: the folder's name is empty; write -C . for this folder")
        folder = Path(self.directory)
        if not folder.is_dir():
            raise click.UsageError(f"-C: no such folder: {self.directory}")
        return folder


pass_context = click.make_pass_decorator(Context)


def format_option(*more: str) -> Callable[[F], F]:
    """`--format text|json` and what else the command can write."""
    return click.option(
        "--format",
        "format_",
        type=click.Choice(["text", "json", *more]),
        default="text",
        show_default=True,
        help="What to print; with json nothing else is on standard output.",
    )


class Seconds(click.ParamType[float]):
    """A duration such as `30s`, `5m`, `1h`; 0 is none. Becomes seconds."""

    name = "DURATION"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read it. Raises click.BadParameter."""
        match = re.fullmatch(r"(\d{1,6})([smhd])|0", str(value))
        if match is None:
            self.fail(f"{value} is no duration; write a whole number and s, m, h or d, such as 30s or 5m", param, ctx)
        return float(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]] if match[1] else 0.0


lock_timeout_option = click.option(
    "--lock-timeout",
    type=Seconds(),
    default="0",
    show_default=True,
    help="How long to wait for whoever works on the stack, such as 5m; those who wait get their turn in order.",
)


def scope_options(command: F) -> F:
    """`--no-refresh` and `--target ADDRESS`, of what plans."""
    refresh = click.option(
        "--refresh/--no-refresh",
        default=True,
        help="Read the world back first, or go by what is recorded: faster, and blind to what others have changed.",
    )
    target = click.option(
        "--target",
        "targets",
        metavar="ADDRESS",
        multiple=True,
        shell_complete=complete_addresses,
        help="Only this address, such as nodepool/workers[0] or mesh/backbone, and what it needs. Many times.",
    )
    return refresh(target(command))


def print_out(text: str, *, color: bool = False) -> None:
    """Print a report as it is, colour included, to standard output. A reader that has gone away is no error: what a
    command does, and its exit code, must not depend on `| head`."""
    with suppress(BrokenPipeError):
        click.echo(text, nl=not text.endswith("\n"), color=color)


def require_terminal(yes: bool, what: str, instead: str = "add --yes to go on without a question") -> None:
    """Raises UsageError when a question will have to be asked and nobody is there to answer it: there is no terminal,
    or a pipeline's (`CI`), which some runners do give one; `instead` is what to do then."""
    if yes:
        return
    from swarmctl.reports.console import in_pipeline

    where = "this is a pipeline (CI is set)" if in_pipeline(os.environ) else "there is no terminal to ask on"
    if in_pipeline(os.environ) or not sys.stdin.isatty():
        from swarmctl.errors import UsageError

        raise UsageError(f"{what} asks before it acts, and {where}", instead)


def show_plan(plan: Plan, *, to_stderr: bool) -> None:
    """Print a plan for people."""
    from swarmctl.reports.console import look, wrapped
    from swarmctl.reports.plan import render

    console = look(sys.stderr if to_stderr else sys.stdout)
    text = wrapped(render(plan, color=console.color, width=console.width), console)
    if to_stderr:
        click.echo(text, err=True, color=console.color)
    else:
        print_out(text, color=console.color)


def tell(event: Event) -> None:
    """Print what an operation that shows no progress has to say beside its result, on standard error."""
    from swarmctl.plans.events import Note
    from swarmctl.reports.console import look, remark, wrapped

    if isinstance(event, Note):
        console = look(sys.stderr)
        text = remark(event.text, warning=event.warning, color=console.color)
        click.echo(wrapped(text, console), err=True, color=console.color)


def show_run(run: Run, *, nothing: str, done: str) -> None:
    """Print for people what an apply or destroy did; `nothing` and `done` are its words for that."""
    from swarmctl.reports.console import look, wrapped
    from swarmctl.reports.outcome import render

    console = look(sys.stdout)
    text = render(run, color=console.color, nothing=nothing, done=done)
    print_out(wrapped(text, console), color=console.color)


def ask(question: str) -> str:
    """Ask on standard error and return the answer; empty at end of input. Ctrl-C raises KeyboardInterrupt."""
    click.echo(f"{question} ", err=True, nl=False)
    answer = sys.stdin.readline()
    if not answer.endswith("\n"):
        click.echo(err=True)
    return answer.strip()


def complete_nodes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion for an argument that is a node's name: the nodes that the stack declares."""
    from swarmctl.operations.nodes import declared, natural

    try:
        folder = Path(ctx.find_root().params.get("directory") or ".")
        machines = declared(folder, lambda event: None).machines
    except Exception:  # noqa: BLE001 - whatever is wrong, pressing TAB must not print it into the user's line
        return []
    return sorted((machine.name for machine in machines if machine.name.startswith(incomplete)), key=natural)


def complete_addresses(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion for an address: those that are recorded."""
    from swarmctl.operations import stack as stacks

    try:
        folder = Path(ctx.find_root().params.get("directory") or ".")
        known = stacks.load(folder)[1].snapshot().resources
    except Exception:  # noqa: BLE001 - whatever is wrong, pressing TAB must not print it into the user's line
        return []
    return sorted(
        address for address in {*known, *(it.partition("[")[0] for it in known)} if address.startswith(incomplete)
    )


def complete_subjects(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion for what `explain` explains: kinds, codes, and after `KIND.` its fields."""
    from swarmctl.operations.explain import subjects

    return [name for name in subjects(incomplete) if name.lower().startswith(incomplete.lower())]


def complete_kinds(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion for an argument that is a kind."""
    from swarmctl.kinds import registry

    return [name for name in sorted(registry()) if name.lower().startswith(incomplete.lower())]


@contextmanager
def at_work() -> Iterator[tuple[Progress, Stopper]]:
    """Progress on standard error and Ctrl-C passed on, for as long as a command works.

    SIGINT, SIGTERM and SIGHUP are the same: the first lets the engine finish the steps in flight and save, the second
    stops it. While the engine does not work they raise KeyboardInterrupt.
    """
    import signal

    from swarmctl.operations.running import Stopper
    from swarmctl.reports.progress import Progress

    with Progress() as progress:
        stopper = Stopper()
        caught = {signal.SIGINT, signal.SIGTERM, signal.SIGHUP}
        # A signal that is ignored stays ignored: `nohup swarmctl apply` outlives its terminal.
        caught -= {number for number in caught if signal.getsignal(number) is signal.SIG_IGN}
        before = {number: signal.signal(number, _handler(progress, stopper)) for number in caught}
        try:
            yield progress, stopper
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _handler(progress: Progress, stopper: Stopper) -> Callable[[int, FrameType | None], None]:
    from threading import Thread

    from swarmctl.cli.interrupts import interrupt
    from swarmctl.plans.events import Note

    def press() -> None:
        first = "stopping: the steps in flight are finished and saved; once more to stop at once"
        stopper.press()
        progress.emit(Note(first if stopper.pressed == 1 else "stopping at once", warning=True))

    def handle(number: int, frame: FrameType | None) -> None:
        if not stopper.busy:
            interrupt(number, frame)
            return
        # In a thread of its own: what a signal has cut in on may hold the very locks that this needs.
        Thread(target=press, name="stop").start()

    return handle
