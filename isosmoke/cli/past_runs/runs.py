"""List the runs of the past."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import click
from rich.text import Text

from isosmoke.cli.console import Printer
from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import json_option
from isosmoke.errors import RecordError
from isosmoke.history import layout, reader
from isosmoke.history.reader import Kept
from isosmoke.host.caller_process import Caller
from isosmoke.reports import summary
from isosmoke.results import run_record
from isosmoke.results.run_record import Header, RecordModel, RunRecord
from isosmoke.text import command_line, printable, shortened


class Document(RecordModel):
    """What `isosmoke runs --json` prints: the runs without their scenarios, newest first."""

    schema_version: Literal[1] = 1
    runs: tuple[Header, ...]


DOCUMENTS = {
    "runs": Written("runs --json", Document),
    "header": Written("run.json in the folder of a run", Kept),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@json_option
def command(*, as_json: bool) -> None:
    """List the runs of this project, newest first: when, on what, what came of them."""
    runs = tuple(_readable(Caller.here().working))
    if as_json:
        click.echo(run_record.render(Document(runs=runs)), nl=False)
        return
    console = Printer()
    for one in runs:
        console.print(summary.one_row(_line(one), console))


def _readable(working: Path) -> Iterator[RunRecord]:
    """All but those that cannot be read, which are named on stderr."""
    for folder in layout.list_folders(working):
        try:
            yield reader.load_run(folder)
        except RecordError as error:
            click.echo(printable(f"isosmoke: {error.message}"), err=True)


def _line(run: RunRecord) -> Text:
    when = f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    told = Text.assemble((printable(run.id), "bold"), f"  {when}  {printable(run.engine):<10}  ")
    told.append_text(summary.summary(run))
    if run.rerun_of:
        told.append(printable(f", rest of {run.rerun_of}"))
    return told.append(f"  {shortened(command_line(run.command))}") if run.command else told
