"""Write one file that reproduces a scenario elsewhere."""

from pathlib import Path

import click

from isosmoke.cli.json_documents import Written
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.repro import bundle
from isosmoke.repro.bundle import Index
from isosmoke.text import printable

DOCUMENTS = {
    "bundle": Written("bundle.json in a bundle", Index),
}
"""The kinds of JSON documents that this command is about."""


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
    run, told = reader.find_scenario(name, caller.working)
    into = output or caller.working / f"{told.name}.isosmoke.tar.gz"
    index = bundle.make(run, told, caller, into)
    for one in index.left_out:
        click.echo(printable(f"left out {one}"), err=True)
    click.echo(f"{into}: {told.name} of run {run.id}, {into.stat().st_size >> 10} KiB")
