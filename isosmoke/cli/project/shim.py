"""Put a `wg` in front of the real one that gates `wg done`."""

import os
from pathlib import Path
from typing import NoReturn

import click

from isosmoke.cli.gating import done
from isosmoke.errors import ExitCode
from isosmoke.host import state
from isosmoke.text import escape_controls, quote_command
from isosmoke.wg_bridge import command_shim

_DIRECTORY = click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    metavar="DIRECTORY",
    help="Use this directory.  [default: shim, in the state directory]",
)


@click.group()
def command() -> None:
    """Gate every `wg done` that finds its wg on PATH, whatever wg itself does.

    The shim is a program `wg` that comes first on PATH. It asks the gate before `done`, as
    `isosmoke done` does, and becomes the next wg on PATH for every other call. A call of wg by its
    path is not gated.
    """


@command.command()
@_DIRECTORY
def install(*, directory: Path | None) -> None:
    """Write the shim; stdout is the line that puts it first on PATH.

    \b
    For this shell:
        eval "$(isosmoke shim install)"
    """  # noqa: D301 - click's marker for an unwrapped paragraph
    target = directory or state.ensure_directory(command_shim.DEFAULT_NAME)
    shim = command_shim.install(target.absolute())
    click.echo(escape_controls(f"{shim} gates `wg done` where it comes first on PATH"), err=True)
    click.echo(f"export PATH={quote_command([str(shim.parent)])}:$PATH")


@command.command()
@click.pass_context
def status(ctx: click.Context) -> None:
    """Show whether a bare `wg done` is gated by a shim; exit 0 only if it is."""
    found = command_shim.inspect(os.environ)
    for shim in found.shims:
        click.echo(escape_controls(f"shim: {shim}"))
    click.echo(escape_controls(f"wg: {found.wg or 'not found on PATH'}"))
    click.echo(escape_controls(found.problem or "`wg done` is gated"))
    if found.hint:
        click.echo(escape_controls(f"  try: {found.hint}"))
    ctx.exit(ExitCode.BLOCKED if found.problem else ExitCode.OK)


@command.command()
@_DIRECTORY
def uninstall(*, directory: Path | None) -> None:
    """Remove the shim from DIRECTORY, else every shim on PATH and in the default directory."""
    if directory:
        directories = [directory.absolute()]
    else:
        directories = [shim.parent for shim in command_shim.inspect(os.environ).shims]
    removed = [path for path in directories if command_shim.uninstall(path)]
    for path in removed:
        click.echo(escape_controls(f"removed {path / 'wg'}"))
    if not removed:
        click.echo("no shim is installed")


@command.command(name="exec", hidden=True)
@click.argument("wg", type=click.Path(path_type=Path))
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def become(ctx: click.Context, wg: Path, arguments: tuple[str, ...]) -> NoReturn:
    """Become WG with these arguments, as the shim does; `done` must pass the gate first."""
    done.call_wg(ctx, wg.absolute(), arguments)
