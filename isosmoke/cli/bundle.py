"""`isosmoke bundle`: one file that reproduces a recorded scenario elsewhere."""

from pathlib import Path

import click

from isosmoke import bundle, history
from isosmoke.caller import Caller
from isosmoke.printable import printable


@click.command()
@click.argument("name")
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="By default NAME.isosmoke.tar.gz here.",
)
def command(name: str, output: Path | None) -> None:
    """Write what reproduces a scenario of a past run (RUN/NAME; NAME is its newest) elsewhere.

    It has the workspace's files, the program that was tested, the entry and the record, and of what
    is passed to the scenario the names only. Open it with `isosmoke repro FILE`, or
    `isosmoke run --bundle FILE`.
    """
    caller = Caller.here()
    run, told = history.scenario(name, caller.working)
    into = output or caller.working / f"{told.name}.isosmoke.tar.gz"
    index = bundle.make(run, told, caller, into)
    for one in index.left_out:
        click.echo(printable(f"left out {one}"), err=True)
    click.echo(f"{into}: {told.name} of run {run.id}, {into.stat().st_size >> 10} KiB")
