"""Say what came of a scenario, run after run."""

from datetime import datetime
from typing import Literal

import click
from rich.text import Text as Line

from isosmoke.cli.console import Printer
from isosmoke.cli.json_documents import Written
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
    """Which run it was."""

    id: Text
    started_at: datetime
    engine: str
    binary: BinaryRecord | None


class Past(RecordModel):
    """What came of the scenario in one run."""

    outcome: Outcome
    reason: Text
    seconds: float
    load_sensitive: bool
    run: OfRun


class Document(RecordModel):
    """What `isosmoke history --json` prints: one scenario, newest run first."""

    schema_version: Literal[1] = 1
    name: str
    outcomes: tuple[Past, ...]


DOCUMENTS = {
    "history": Written("history NAME --json", Document),
}
"""The kinds of JSON documents that this command is about."""


@click.command()
@click.argument("name")
@json_option
def command(name: str, *, as_json: bool) -> None:
    """Say what came of the scenario NAME in each run, newest first, and with which binary."""
    past = reader.list_outcomes(name, Caller.here().working)
    if as_json:
        outcomes = tuple(_past(*one) for one in past)
        click.echo(run_record.render(Document(name=name, outcomes=outcomes)), nl=False)
        return
    console = Printer()
    for run, one in past:
        console.print(summary.one_row(_line(run, one), console))


def _past(run: RunRecord, one: ScenarioRecord) -> Past:
    return Past(
        outcome=one.outcome,
        reason=one.reason,
        seconds=one.seconds,
        load_sensitive=one.load_sensitive,
        run=OfRun(id=run.id, started_at=run.started_at, engine=run.engine, binary=run.binary),
    )


def _line(run: RunRecord, one: ScenarioRecord) -> Line:
    binary = run.binary.sha256[:12] if run.binary else "-"
    return summary.line(f"{run.id}  {binary:<12}", one.outcome, one.seconds, one.reason).whole
