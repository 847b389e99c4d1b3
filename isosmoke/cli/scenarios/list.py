"""List the scenarios of a manifest."""

from pathlib import Path
from typing import Literal

import click

from isosmoke.cli.json_documents import Written
from isosmoke.cli.options import ScenarioSelection, json_option, selected, selection_options
from isosmoke.cli.rerun_options import PastSelection, narrowed, past_options
from isosmoke.manifest.filters import Expression
from isosmoke.manifest.models import Scenario
from isosmoke.results import run_record
from isosmoke.results.run_record import RecordModel


class Document(RecordModel):
    """What `isosmoke list --json` prints: scenarios with their defaults."""

    schema_version: Literal[1] = 1
    scenarios: tuple[Scenario, ...]


DOCUMENTS = {
    "list": Written("list --json", Document),
}
"""The kinds of JSON documents that this command is about."""


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
    """List scenarios by name or glob (none: all)."""
    manifest, scenarios = selected(
        ScenarioSelection(names=names, owners=owners, expression=expression, manifest=manifest_path)
    )
    past = PastSelection(last_failed=last_failed, rerun=rerun)
    scenarios, _ = narrowed(manifest, scenarios, past)
    if as_json:
        click.echo(run_record.render(Document(scenarios=scenarios)), nl=False)
        return
    width = max(len(one.name) for one in scenarios)
    for one in scenarios:
        click.echo(f"{one.name:<{width}}  {one.timeout_seconds:>4}s  {_what(one)}")
    click.echo(f"{len(scenarios)} of {len(manifest.scenarios)} in {manifest.path}", err=True)


def _what(scenario: Scenario) -> str:
    """Its assertion, or the first sentence of its description, in one short line."""
    text = scenario.assertion or scenario.description.split(". ")[0]
    line = " ".join(text.split())
    return line if len(line) <= _WIDEST else f"{line[: _WIDEST - 1]}…"


_WIDEST = 100
