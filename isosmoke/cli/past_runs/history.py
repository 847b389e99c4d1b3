"""Show the outcomes of a scenario across runs."""

from datetime import datetime
from typing import Literal

import click
from rich.text import Text as Line

from isosmoke.cli.console import Printer, print_unreadable
from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller
from isosmoke.reports import summary
from isosmoke.results import run_record
from isosmoke.results.outcome import Outcome
from isosmoke.results.run_record import (
    BinaryRecord,
    RecordModel,
    RunRecord,
    ScenarioRecord,
    Text,
)


class OfRun(RecordModel):
    """The run that an outcome belongs to."""

    id: Text
    started_at: datetime
    engine: str
    binary: BinaryRecord | None


class Past(RecordModel):
    """The outcome of the scenario in one run."""

    outcome: Outcome
    reason: Text
    seconds: float
    load_sensitive: bool
    run: OfRun


class HistoryDocument(RecordModel):
    """The output of `isosmoke history --json`: one scenario, newest run first."""

    schema_version: Literal[1] = 1
    name: str
    outcomes: tuple[Past, ...]


DOCUMENTS = {
    "history": DocumentKind("history NAME --json", HistoryDocument),
}
"""The kinds of JSON documents that this command reads or writes."""


@click.command()
@click.argument("name")
@json_option
def command(name: str, *, as_json: bool) -> None:
    """Show the outcome of the scenario NAME and the tested binary of each run, newest first."""
    outcomes = reader.list_outcomes(name, Caller.current().working, print_unreadable)
    if as_json:
        document = HistoryDocument(
            name=name, outcomes=tuple(_describe(run, scenario) for run, scenario in outcomes)
        )
        click.echo(run_record.render(document), nl=False)
        return
    console = Printer()
    for run, scenario in outcomes:
        console.print(summary.truncate_row(_format_row(run, scenario), console))


def _describe(run: RunRecord, scenario: ScenarioRecord) -> Past:
    return Past(
        outcome=scenario.outcome,
        reason=scenario.reason,
        seconds=scenario.seconds,
        load_sensitive=scenario.load_sensitive,
        run=OfRun(id=run.id, started_at=run.started_at, engine=run.engine, binary=run.binary),
    )


def _format_row(run: RunRecord, scenario: ScenarioRecord) -> Line:
    binary = run.binary.sha256[:12] if run.binary else "-"
    head = f"{run.id}  {binary:<12}"
    return summary.render_line(
        head, scenario.outcome, scenario.seconds, scenario.reason
    ).single_line
