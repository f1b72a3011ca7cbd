"""`swarmctl import host`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from swarmctl.cli.context import Context, ask, pass_context, print_out, require_terminal

if TYPE_CHECKING:
    from swarmctl.operations.import_host import Shown


@click.command(name="host")
@click.argument("target", metavar="USER@ADDRESS[:PORT]")
@click.option(
    "--jump", metavar="USER@ADDRESS[:PORT][,…]", help="Server to go through, or two: the nearest to you first."
)
@click.option(
    "--key",
    default="",
    metavar="FILE",
    help="Private key, or the public one of a key in the SSH agent. Default: its keys.",
)
@click.option(
    "--certificate", default="", metavar="FILE", help="OpenSSH certificate that goes with the key. Default: none."
)
@click.option("--name", default="", metavar="NAME", help="Node name. Default: the machine's host name.")
@click.option(
    "--cluster",
    default="",
    metavar="NAME",
    help="The pool's cluster. Default: the stack's, else its only one, else core.",
)
@click.option("--region", default="", metavar="NAME", help="The pool's region. Default: the stack's, else `default`.")
@click.option(
    "--write", "out", metavar="FOLDER", type=click.Path(path_type=Path, file_okay=False), help="Write it there."
)
@click.option(
    "--host-key",
    "keys",
    multiple=True,
    metavar="KEY",
    help="The server's host key, such as 'ssh-ed25519 AAAA…'. Repeatable.",
)
@click.option(
    "--fingerprint", "prints", multiple=True, metavar="SHA256:…", help="Fingerprint of its host key. Repeatable."
)
@pass_context
def command(
    context: Context,
    target: str,
    jump: str | None,
    key: str,
    certificate: str,
    name: str,
    cluster: str,
    region: str,
    out: Path | None,
    keys: tuple[str, ...],
    prints: tuple[str, ...],
) -> None:
    """Log in to a machine over SSH, read what it is, and print a NodePool that declares it. Changes nothing there.

    The fingerprint of the server's host key is shown, and has to be confirmed before anybody logs in: compare it with
    what the machine's own console says. Scripts give the key or its fingerprint; with --jump one for each server.
    No host key is ever taken on trust.

    The declaration pins the host key, has the machine's accelerators by their PCI ids, and says in comments which fact
    led to what. Without --write it is printed.

    \b
    Examples:
      swarmctl import host ops@203.0.113.10 --key ~/.ssh/swarm
      swarmctl import host root@10.0.0.7 --jump ops@203.0.113.2 --write my-stack
      swarmctl import host ops@203.0.113.10 --fingerprint SHA256:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU

    Exits with 8 when the machine can't be reached or read, 9 when the host key is not confirmed.
    """
    from swarmctl.operations.import_host import Target, import_host

    asked, through = Target.parse(target), [Target.parse(one) for one in jump.split(",")] if jump else []
    pinned = (*keys, *prints)
    require_terminal(bool(pinned), "import host", "give the host key by --host-key or --fingerprint")

    def confirm(shown: Shown) -> bool:
        kind = shown.key.partition(" ")[0]
        click.echo(f"{shown.server} shows the host key\n  {kind} {shown.fingerprint}", err=True)
        click.echo(
            f"On the machine's own console `ssh-keygen -lf {shown.file}` shows the same if it is that one.", err=True
        )
        return ask("Is it the same? [y/N]").lower() in ("y", "yes")

    found = import_host(
        asked,
        confirm=confirm,
        jump=through,
        key=key,
        certificate=certificate,
        cluster=cluster,
        region=region,
        stack=out or context.folder,
        name=name,
        pinned=pinned,
        out=out,
    )
    if found.written is None:
        print_out(found.text.rstrip("\n"))
        return
    print_out(f"wrote {os.path.relpath(found.written)}")
    click.echo(f"next: swarmctl -C {shlex.quote(os.path.relpath(found.written.parent))} validate", err=True)
