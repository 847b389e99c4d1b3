"""`isosmoke runs`: the runs that are recorded of a project."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
from rich.text import Text

from isosmoke import history, record, shelf
from isosmoke.caller import Caller
from isosmoke.cli.printer import Printer
from isosmoke.errors import RecordError
from isosmoke.printable import command_line, printable, shortened
from isosmoke.record import Header, RunRecord, Table
from isosmoke.reports import account


class Document(Table):
    """What `isosmoke runs --json` prints: the runs without their scenarios, newest first."""

    schema_version: Literal[1] = 1
    runs: tuple[Header, ...]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(*, as_json: bool) -> None:
    """List the runs of this project, newest first: when, on what, what came of them."""
    runs = tuple(_readable(Caller.here().working))
    if as_json:
        click.echo(record.render(Document(runs=runs)), nl=False)
        return
    console = Printer()
    for one in runs:
        console.print(account.one_row(_line(one), console))


def _readable(working: Path) -> Iterator[RunRecord]:
    """All but those that cannot be read, which are named on stderr."""
    for folder in shelf.folders(working):
        try:
            yield history.load(folder)
        except RecordError as error:
            click.echo(printable(f"isosmoke: {error.message}"), err=True)


def _line(run: RunRecord) -> Text:
    when = f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    told = Text.assemble((printable(run.id), "bold"), f"  {when}  {printable(run.engine):<10}  ")
    told.append_text(account.summary(run))
    if run.rerun_of:
        told.append(printable(f", rest of {run.rerun_of}"))
    return told.append(f"  {shortened(command_line(run.command))}") if run.command else told
