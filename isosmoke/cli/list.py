"""`isosmoke list`: the scenarios of a manifest."""

import json
from typing import Any

import click

from isosmoke.cli.options import manifest_options, selected
from isosmoke.cli.past import narrowed, past_options
from isosmoke.scenario import Scenario


@click.command()
@manifest_options
@past_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document on stdout.")
def command(**options: Any) -> None:
    """List scenarios by name or glob (none: all)."""
    manifest, scenarios = selected(
        options["names"], options["owners"], options["manifest_path"], options["meaning"]
    )
    scenarios, _ = narrowed(manifest, scenarios, options)
    if options["as_json"]:
        rows = [one.model_dump(mode="json") for one in scenarios]
        click.echo(json.dumps({"schema_version": 1, "scenarios": rows}, indent=2))
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
