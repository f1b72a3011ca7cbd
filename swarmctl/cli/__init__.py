"""The command line: one module per command, imported when that command runs; no logic here, only words and exits.

`main` is the only place where an exception becomes a message and an exit code. Nothing heavier than click is imported
before a command is chosen, so that `--help`, completion and `version` stay as fast as click itself.
"""

from __future__ import annotations

import importlib
import keyword
import os
import sys
from typing import TYPE_CHECKING

import click

from swarmctl import __version__
from swarmctl.cli import streams
from swarmctl.errors import ExitCode, SwarmError

if TYPE_CHECKING:
    from pathlib import Path

    from click.shell_completion import CompletionItem

    from swarmctl.cli.context import Context

COMPLETION = "_SWARMCTL_COMPLETE"
"""Set by the shell's completion script; `bash_source`, `zsh_source` and `fish_source` print that script."""

COMMANDS = {
    "init": "Write a first stack into a folder",
    "import": "Turn what runs already into declarations",
    "validate": "Find every mistake in the declarations; touches nothing",
    "fmt": "Lay the files out the one way, comments kept",
    "explain": "Explain a kind, a field or a diagnostic code",
    "schema": "Print the JSON Schema of the declarations",
    "plan": "Show what apply would change",
    "apply": "Make it so",
    "drift": "Show where the world has moved away from what was applied",
    "destroy": "Take everything of the stack away",
    "mesh": "Verify the mesh by real traffic, rotate its keys",
    "status": "Measure the nodes and the mesh",
    "facts": "Show what the machines are",
    "gpu": "Say what driver the cards should run, and what runs",
    "graph": "Draw the mesh",
    "exec": "Run a command on a node",
    "logs": "Print a node's logs",
    "state": "Look at what is recorded; copy, restore, move or encrypt it anew",
    "lock": "Show who works on the stack, or release its lease",
    "doctor": "Check what this machine can do, and how to mend what it cannot",
    "engine": "Install or find the Pulumi engine",
    "version": "Print the version",
}
"""Every command with its one line of help; the module of the same name in this folder holds `command`."""

GROUPS = {
    "Declare": ("init", "import", "validate", "fmt", "explain", "schema"),
    "Change": ("plan", "apply", "drift", "destroy", "mesh"),
    "Look": ("status", "facts", "gpu", "graph", "exec", "logs", "state", "lock"),
    "This machine": ("doctor", "engine", "version"),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help lines without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """All names, in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the one command that was asked for."""
        if cmd_name not in COMMANDS:
            return None
        module = f"{cmd_name}_" if keyword.iskeyword(cmd_name) else cmd_name
        command: click.Command = importlib.import_module(f"{__name__}.{module}").command
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Click's own, with "did you mean" from the standard library."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            import difflib

            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            ctx.fail(f"no such command: {args[0]!r}." + (f" Did you mean {near[0]!r}?" if near else ""))
        return super().resolve_command(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Names of commands with their help, from the table alone; options as click has them."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=line) for name, line in COMMANDS.items() if name.startswith(incomplete)]
        return [*names, *click.Command.shell_complete(self, ctx, incomplete)]

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands under titles, from the table alone."""
        for title, names in GROUPS.items():
            with formatter.section(title):
                formatter.write_dl([(name, COMMANDS[name]) for name in names])


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 ok, 1 failed, 2 usage, 3 no documents, 4 invalid declaration, 5 plan refused, 6 lock held, "
    "7 partly done, 8 world unreadable, 9 declined, 20 changes pending, 21 drift, 130 interrupted. "
    "The first that holds counts: 130, 2, 3, 4, 5, 6, 7, 8, 9, 1, 21, 20.\n\n"
    'Completion: eval "$(_SWARMCTL_COMPLETE=bash_source swarmctl)", also zsh_source and fish_source.',
)
@click.option(
    "-C",
    "--directory",
    type=click.Path(file_okay=False),
    default=".",
    metavar="DIR",
    help="Folder with the stack's declarations. Default: this folder.",
)
@click.option("--debug", is_flag=True, help="Write a scrubbed log of the run to a file and name it at the end.")
@click.version_option(__version__, message="swarmctl %(version)s")
@click.pass_context
def cli(ctx: click.Context, directory: str, debug: bool) -> None:
    """Declare clusters, node pools, a WireGuard mesh and security policy in YAML; plan it, apply it, prove it.

    \b
    Examples:
      swarmctl init my-stack             write a first stack
      swarmctl -C my-stack validate      find every mistake, touch nothing
      swarmctl -C my-stack plan          see what would change
      swarmctl -C my-stack apply         make it so
    """
    from swarmctl.cli.context import Context

    ctx.obj = Context(directory=directory, debug=debug)
    if debug:
        from swarmctl.reports.logfile import start

        ctx.obj.log = start(sys.argv[1:])


def main() -> None:
    """Run the command line, turn errors into messages, exit with the published code; `swarmctl.__main__` calls it."""
    code = int(ExitCode.OK)
    try:
        streams.prepare()
        if instruction := os.environ.get(COMPLETION):
            from click.shell_completion import shell_complete

            code = shell_complete(cli, {}, "swarmctl", COMPLETION, instruction)
        else:
            code = run(sys.argv[1:])
        streams.finish()
    except KeyboardInterrupt:
        # One that came before `run` could take it, or while it told of another error.
        click.echo("Interrupted.", err=True)
        code = int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        pass  # nobody reads on: that changes nothing of what came of the run
    except OSError as error:
        from swarmctl.reports.failure import show_system_error

        show_system_error(error)
        code = code or int(ExitCode.FAILED)
    sys.exit(code)


def run(args: list[str]) -> int:
    """Run one command line and return its exit code; nothing a user can type ends in a traceback."""
    ctx: click.Context | None = None
    try:
        with cli.make_context("swarmctl", args) as ctx:
            result = cli.invoke(ctx)
        return int(result) if isinstance(result, int) else 0
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return int(ExitCode.INTERRUPTED)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except SwarmError as error:
        from swarmctl.reports.failure import show_error

        show_error(error)
        return int(error.exit_code)
    except BrokenPipeError:
        # The reader of our output has gone (`swarmctl … | head`): not an error.
        return 0
    except OSError as error:
        from swarmctl.reports.failure import show_system_error

        show_system_error(error)
        return int(ExitCode.FAILED)
    except Exception as error:  # noqa: BLE001 - the last door: a bug is told as a bug, never as a traceback
        from swarmctl.reports.failure import show_bug

        show_bug(error, version=__version__, debug=_log_of(ctx) is not None)
        return int(ExitCode.FAILED)
    finally:
        if log := _log_of(ctx):
            click.echo(f"log: {log}", err=True)


def _log_of(ctx: click.Context | None) -> Path | None:
    context: Context | None = ctx.obj if ctx else None
    return context.log if context else None
