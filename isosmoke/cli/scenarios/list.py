"""List the scenarios of a manifest."""

import os
from collections.abc import Sequence
from typing import Literal

import click

from isosmoke.cli.document_kinds import DocumentKind
from isosmoke.cli.options import (
    ScenarioSelection,
    json_option,
    select_scenarios,
    selection_options,
)
from isosmoke.cli.rerun_options import PastSelection, narrow, past_options
from isosmoke.dataclass import dataclass
from isosmoke.host.caller_process import is_agent
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.table_base import Table
from isosmoke.text import count_fitting, format_json


@dataclass(frozen=True, kw_only=True)
class ListDocument(Table):
    """The output of `isosmoke list --json`: scenarios with their defaults."""

    __pydantic_config__ = {"extra": "ignore"}  # noqa: RUF012 - as in the base class

    schema_version: Literal[1] = 1
    scenarios: tuple[Scenario, ...]


DOCUMENTS = {
    "list": DocumentKind("list --json", ListDocument),
}
"""The kinds of JSON documents that this command reads or writes."""

_MAX_WIDTH = 100
_AGENT_WIDTH = 60


@click.command()
@selection_options
@past_options
@click.option("--full", is_flag=True, help="List all, even if a coding agent is detected.")
@json_option
def command(
    *,
    selection: ScenarioSelection,
    past: PastSelection,
    full: bool,
    as_json: bool,
) -> None:
    """List scenarios by name or glob (default: all).

    If a coding agent is detected, the list is short.
    """
    manifest, scenarios = select_scenarios(selection)
    scenarios, _ = narrow(manifest, scenarios, past)
    if as_json:
        click.echo(format_json(ListDocument(scenarios=scenarios).to_json()), nl=False)
        return
    if not full and is_agent(os.environ):
        click.echo(_render_for_agent(scenarios), nl=False)
        return
    width = max(len(scenario.name) for scenario in scenarios)
    for scenario in scenarios:
        timeout = f"{scenario.timeout_seconds:>4}s"
        click.echo(f"{scenario.name:<{width}}  {timeout}  {_summarize(scenario)}")
    click.echo(f"{len(scenarios)} of {len(manifest.scenarios)} in {manifest.path}", err=True)


def _render_for_agent(scenarios: Sequence[Scenario]) -> str:
    """Return a line for each scenario that fits, and how to see the others."""
    rows = [f"{scenario.name}: {_summarize(scenario, _AGENT_WIDTH)}" for scenario in scenarios]
    shown = count_fitting(rows)
    if shown < len(rows):
        rows[shown:] = [f"{len(rows) - shown} more: isosmoke list --full, or select some"]
    return "".join(f"{row}\n" for row in rows)


def _summarize(scenario: Scenario, width: int = _MAX_WIDTH) -> str:
    """Return the assertion or the first sentence of the description as one short line."""
    text = scenario.assertion or scenario.description.split(". ")[0]
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"
