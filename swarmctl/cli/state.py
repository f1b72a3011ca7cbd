"""`swarmctl state`: look at the recorded state, copy it, put it back, move it, encrypt it anew."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import (
    Context,
    ask,
    format_option,
    lock_timeout_option,
    pass_context,
    print_out,
    require_terminal,
    tell,
)

if TYPE_CHECKING:
    from swarmctl.operations.state import Difference

PASSPHRASE_FILE = click.option(
    "--passphrase-file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="File with the passphrase on one line; only you may be able to read it.",
)


@click.group(name="state")
def command() -> None:
    """Look at what is recorded of the stack, and keep copies of it. None of this touches a machine.

    \b
    Examples:
      swarmctl state list                      every recorded resource
      swarmctl state show nodepool/web         one of them, with its values
      swarmctl state backup                    copy the state into a file
      swarmctl state restore 12                put generation 12 back
    """


@command.command(name="list")
@format_option()
@pass_context
def list_(context: Context, format_: str) -> None:
    """List every recorded resource with its type and node.

    \b
    Examples:
      swarmctl state list
      swarmctl state list --format json | jq -r '.resources[].address'
    """
    from swarmctl.operations.state import list_ as look_at
    from swarmctl.reports import json_v1
    from swarmctl.reports import state as report
    from swarmctl.reports.console import look

    listed = look_at(context.folder, tell)
    if format_ == "json":
        print_out(json_v1.text(report.to_json(listed)))
    else:
        console = look(sys.stdout)
        print_out(report.render(listed, color=console.color, width=console.width), color=console.color)


@command.command()
@click.argument("address")
@format_option()
@pass_context
def show(context: Context, address: str, format_: str) -> None:
    """Show what is recorded of one resource: as it was last applied. Secrets are not shown.

    \b
    Examples:
      swarmctl state show 'nodepool/web[1]'
      swarmctl state show 'nodepool/web[1]' --format json | jq .outputs
    """
    from swarmctl.operations.state import show as look_at
    from swarmctl.reports import json_v1
    from swarmctl.reports import state as report
    from swarmctl.reports.console import look

    stack, resource = look_at(context.folder, address, tell)
    if format_ == "json":
        print_out(json_v1.text(report.one_to_json(stack, resource)))
    else:
        color = look(sys.stdout).color
        print_out(report.render_one(resource, color=color), color=color)


@command.command()
@click.argument("file", required=False, type=click.Path(path_type=Path))
@format_option()
@pass_context
def backup(context: Context, file: Path | None, format_: str) -> None:
    """Copy the state into a new file, which only you can read.

    The store itself keeps the last ten states before the one that is valid: this is for what must outlive the store.
    Secrets in the copy are encrypted, with the passphrase that stays in the store.

    \b
    Examples:
      swarmctl state backup
      swarmctl state backup /mnt/safe/web.state.json
    """
    from swarmctl.operations.state import backup as copy
    from swarmctl.reports import json_v1
    from swarmctl.reports import state as report

    done = copy(context.folder, file, tell)
    print_out(json_v1.text(report.backup_to_json(done)) if format_ == "json" else report.render_backup(done))


@command.command()
@click.argument("source", metavar="FILE|GENERATION")
@click.option("--yes", "-y", is_flag=True, help="Don't ask.")
@PASSPHRASE_FILE
@lock_timeout_option
@format_option()
@pass_context
def restore(
    context: Context, source: str, yes: bool, passphrase_file: Path | None, lock_timeout: float, format_: str
) -> None:
    """Put a copy of the state back: a file that `state backup` has written, or a generation that the store has kept.

    Shows what that changes in the record, and asks. What was there is kept as a backup. No machine is touched: what is
    forgotten runs on, what comes back is looked for by the next plan. --passphrase-file is for a copy whose secrets
    were encrypted with another passphrase than the store's.

    \b
    Examples:
      swarmctl state restore 12
      swarmctl state restore /mnt/safe/web.state.json --yes
    """
    from swarmctl.operations.state import restore as put_back
    from swarmctl.reports import json_v1
    from swarmctl.reports import state as report
    from swarmctl.reports.console import look

    require_terminal(yes, "state restore")

    def confirm(difference: Difference) -> bool:
        color = look(sys.stderr).color
        click.echo(report.render_difference(difference, color=color), nl=False, err=True, color=color)
        return yes or ask("Restore it? Only yes is taken for an answer:") == "yes"

    done = put_back(
        context.folder, source, tell, confirm=confirm, passphrase=passphrase_file, lock_timeout=lock_timeout
    )
    print_out(json_v1.text(report.restored_to_json(*done)) if format_ == "json" else report.render_restored(*done))


@command.command()
@click.option("--to", metavar="URL", help="Where the state shall be, such as file:///srv/state.")
@lock_timeout_option
@pass_context
def migrate(context: Context, to: str | None, lock_timeout: float) -> None:
    """Move the state to another place, or bring one of an older swarmctl into the layout of this one.

    Where it was, a note stays that says where it went: a stack that still names the old place is refused, and not
    begun anew.

    \b
    Examples:
      swarmctl state migrate
      swarmctl state migrate --to file:///srv/state
    """
    from swarmctl.operations.state import migrate as move
    from swarmctl.reports.state import render_migrated

    store = move(context.folder, to, tell, lock_timeout=lock_timeout)
    print_out(render_migrated(store, to or "", moved=to is not None))


@command.command(name="rotate-passphrase")
@PASSPHRASE_FILE
@lock_timeout_option
@pass_context
def rotate_passphrase(context: Context, passphrase_file: Path | None, lock_timeout: float) -> None:
    """Encrypt every secret of the state and its backups anew, with a new random passphrase.

    With --passphrase-file it is the one in that file, which only you may be able to read. Copies that `state backup`
    has made keep the old one.

    \b
    Examples:
      swarmctl state rotate-passphrase
      swarmctl state rotate-passphrase --passphrase-file ~/new-passphrase
    """
    from swarmctl.operations.state import rotate
    from swarmctl.reports.state import render_rotated

    print_out(render_rotated(rotate(context.folder, passphrase_file, tell, lock_timeout=lock_timeout)))
