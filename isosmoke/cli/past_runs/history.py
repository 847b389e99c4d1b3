"""Show the outcomes of a scenario across runs."""

import os
from datetime import datetime
from typing import Literal

import click

from isosmoke.cli.console import create_printer, print_unreadable
from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import json_option
from isosmoke.history import reader
from isosmoke.host.caller_process import Caller, is_agent
from isosmoke.reports import summary
from isosmoke.results.outcome import Outcome, count, describe_counts, sort_counts
from isosmoke.results.records.document_base import RecordModel, Text
from isosmoke.results.records.origin import BinaryRecord
from isosmoke.results.records.record_base import render_json
from isosmoke.results.run_record import RunRecord, ScenarioRecord
from isosmoke.text import Line, quote_command, shorten


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


_AGENT_RUNS = 5


@click.command()
@click.argument("name")
@click.option("--full", is_flag=True, help="Show all runs, even if a coding agent is detected.")
@json_option
def command(name: str, *, full: bool, as_json: bool) -> None:
    """Show the outcome of the scenario NAME and the tested binary of each run, newest first.

    If a coding agent is detected, only the last runs are shown.
    """
    outcomes = reader.list_outcomes(name, Caller.current().working, print_unreadable)
    if as_json:
        document = HistoryDocument(
            name=name, outcomes=tuple(_describe(run, scenario) for run, scenario in outcomes)
        )
        click.echo(render_json(document), nl=False)
        return
    if not full and is_agent(os.environ):
        click.echo(_render_for_agent(name, list(outcomes)), nl=False)
        return
    console = create_printer()
    for run, scenario in outcomes:
        summary.print_row(_format_row(run, scenario), console)


def _render_for_agent(name: str, outcomes: list[tuple[RunRecord, ScenarioRecord]]) -> str:
    """Return the last outcomes, and the counts of all."""
    rows = [shorten(str(_format_row(*outcome))) for outcome in outcomes[:_AGENT_RUNS]]
    counts = describe_counts(sort_counts(count(scenario.outcome for _, scenario in outcomes)))
    rows.append(f"{counts} in {len(outcomes)} runs")
    if len(outcomes) > _AGENT_RUNS:
        rows[-1] += f"; all: {quote_command(('isosmoke', 'history', name, '--full'))}"
    return "".join(f"{row}\n" for row in rows)


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
