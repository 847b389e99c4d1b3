"""List past runs."""

from typing import Literal

import click

from isosmoke.cli.console import create_printer, print_unreadable
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.reports import summary
from isosmoke.results.records.document_base import RecordModel
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import Header, RunRecord, StoredHeader
from isosmoke.text import Line, escape_controls, quote_command, shorten


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
        click.echo(render_json(RunsDocument(runs=runs)), nl=False)
        return
    console = create_printer()
    for run in runs:
        summary.print_row(_format_row(run), console)


def _format_row(run: RunRecord) -> Line:
    time = f"{run.started_at.astimezone():%Y-%m-%d %H:%M:%S}"
    row = Line.assemble(
        (escape_controls(run.id), "bold"), f"  {time}  {escape_controls(run.engine):<10}  "
    )
    row += summary.render_summary(run)
    if run.rerun_of:
        row.append(escape_controls(f", rerun of {run.rerun_of}"))
    return row.append(f"  {shorten(quote_command(run.command))}") if run.command else row
