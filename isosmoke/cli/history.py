"""`isosmoke history`: what came of one scenario, run after run."""

import json
from typing import Any

import click
from rich.console import Console
from rich.text import Text

from isosmoke import history
from isosmoke.caller import Caller
from isosmoke.record import RunRecord, ScenarioRecord
from isosmoke.reports import account


@click.command()
@click.argument("name")
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(name: str, *, as_json: bool) -> None:
    """Say what came of the scenario NAME in each run, newest first, and with which binary."""
    past = history.outcomes(name, Caller.here().working)
    if as_json:
        rows = [_row(*one) for one in past]
        click.echo(json.dumps({"schema_version": 1, "name": name, "outcomes": rows}, indent=2))
        return
    console = Console(highlight=False, soft_wrap=True)
    for run, one in past:
        console.print(_line(run, one))


def _row(run: RunRecord, one: ScenarioRecord) -> dict[str, Any]:
    told = one.model_dump(mode="json", include={"outcome", "reason", "seconds", "load_sensitive"})
    of_run = run.model_dump(mode="json", include={"id", "started_at", "engine", "binary"})
    return {**told, "run": of_run}


def _line(run: RunRecord, one: ScenarioRecord) -> Text:
    binary = run.binary.sha256[:12] if run.binary else "-"
    return account.line(f"{run.id}  {binary:<12}", one.outcome, one.seconds, one.reason)
