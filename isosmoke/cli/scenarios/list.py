"""List the scenarios of a manifest."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import DocumentKind
from isosmoke.cli.options import (
    ScenarioSelection,
    json_option,
    select_scenarios,
    selection_options,
)
from isosmoke.cli.rerun_options import PastSelection, narrow, past_options
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Scenario
from isosmoke.manifest.tables import Table
from isosmoke.text import format_json


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


@click.command()
@selection_options
@past_options
@json_option
def command(
    *,
    names: tuple[str, ...],
    manifest_path: Path | None,
    owners: tuple[str, ...],
    expression: Expression | None,
    last_failed: bool,
    rerun: str | None,
    as_json: bool,
) -> None:
    """List scenarios by name or glob (default: all)."""
    manifest, scenarios = select_scenarios(
        ScenarioSelection(names=names, owners=owners, expression=expression, manifest=manifest_path)
    )
    past = PastSelection(last_failed=last_failed, rerun=rerun)
    scenarios, _ = narrow(manifest, scenarios, past)
    if as_json:
        click.echo(format_json(ListDocument(scenarios=scenarios).to_json()), nl=False)
        return
    width = max(len(scenario.name) for scenario in scenarios)
    for scenario in scenarios:
        timeout = f"{scenario.timeout_seconds:>4}s"
        click.echo(f"{scenario.name:<{width}}  {timeout}  {_summarize(scenario)}")
    click.echo(f"{len(scenarios)} of {len(manifest.scenarios)} in {manifest.path}", err=True)


def _summarize(scenario: Scenario) -> str:
    """Return the assertion or the first sentence of the description as one short line."""
    text = scenario.assertion or scenario.description.split(". ")[0]
    line = " ".join(text.split())
    return line if len(line) <= _MAX_WIDTH else f"{line[: _MAX_WIDTH - 1]}…"
