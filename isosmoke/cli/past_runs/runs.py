"""List past runs."""

from typing import Literal

import click
from rich.text import Text

from isosmoke.cli.console import Printer, print_unreadable
from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.history import reader
from isosmoke.history.reader import StoredHeader
from isosmoke.host.caller_process import Caller
from isosmoke.reports import summary
from isosmoke.results import run_record
from isosmoke.results.run_record import Header, RecordModel, RunRecord
from isosmoke.text import escape_controls, quote_command, shorten


class RunsDocument(RecordModel):
    """The output of `isosmoke runs --json`: runs without their scenarios, newest first."""

    schema_version: Literal[1] = 1
    runs: tuple[Header, ...]


DOCUMENTS = {
    "runs": DocumentKind("runs --json", RunsDocument),
    "header": DocumentKind("run.json in the folder of a run", StoredHeader),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@json_option
def command(*, as_json: bool) -> None:
    """List the runs of this project with time, engine and outcomes, newest first."""
    runs = tuple(reader.load_runs(Caller.current().working, print_unreadable))
    if as_json:
        click.echo(run_record.render(RunsDocument(runs=runs)), nl=False)
        return
    console = Printer()
    for run in runs:
        console.print(summary.truncate_row(_format_row(run), console))


def _format_row(run: RunRecord) -> Text:
    time = f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    row = Text.assemble(
        (escape_controls(run.id), "bold"), f"  {time}  {escape_controls(run.engine):<10}  "
    )
    row.append_text(summary.render_summary(run))
    if run.rerun_of:
        row.append(escape_controls(f", rerun of {run.rerun_of}"))
    return row.append(f"  {shorten(quote_command(run.command))}") if run.command else row
