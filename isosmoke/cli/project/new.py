"""Add a scenario, with a script that fails until it is written."""

from os.path import relpath
from pathlib import Path

import click

from isosmoke.authoring import new_scenario
from isosmoke.cli.options import manifest_file, manifest_option


@click.command()
@click.argument("name")
@click.option(
    "--owner",
    "owners",
    multiple=True,
    required=True,
    metavar="TASK",
    help="A task that it guards; may be given again.",
)
@click.option("--assertion", required=True, metavar="TEXT", help="What must hold, in one sentence.")
@click.option("--script", metavar="PATH", help="By default scenarios/NAME.sh beside the manifest.")
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="By default what the manifest says for all.",
)
@manifest_option()
def command(
    *,
    name: str,
    owners: tuple[str, ...],
    assertion: str,
    script: str | None,
    timeout_seconds: int | None,
    manifest_path: Path | None,
) -> None:
    """Add a scenario to the manifest, and make its script.

    The script fails until you write it. Nothing else in the manifest changes by a byte.
    """
    optional = {"script": script, "timeout_seconds": timeout_seconds}
    given = {key: value for key, value in optional.items() if value is not None}
    scenario = new_scenario.drafted(name, owners=owners, assertion=assertion, **given)
    path = manifest_file(manifest_path)
    made = new_scenario.add(path, scenario)
    click.echo(f"{relpath(path)}: scenario {name!r} added")
    click.echo(f"{relpath(made)}: made; it fails until you write it")
