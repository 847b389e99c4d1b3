"""Add a scenario with a script that fails until it is written."""

from os.path import relpath
from pathlib import Path

import click

from isosmoke.authoring import new_scenario
from isosmoke.authoring.manifest_places import find_own_manifest
from isosmoke.cli.options import manifest_option
from isosmoke.host.caller_process import Caller


@click.command()
@click.argument("name")
@click.option(
    "--owner",
    "owners",
    multiple=True,
    required=True,
    metavar="TASK",
    help="Set a task that owns the scenario; repeatable.",
)
@click.option(
    "--assertion",
    required=True,
    metavar="TEXT",
    help="State in one sentence what the scenario verifies.",
)
@click.option(
    "--script",
    metavar="PATH",
    help="Create the script at PATH.  [default: scenarios/NAME.sh next to the manifest]",
)
@click.option(
    "--timeout",
    "timeout_seconds",
    type=click.IntRange(min=1),
    metavar="SECONDS",
    help="Set the timeout.  [default: the manifest's default timeout]",
)
@manifest_option("Extend this manifest.  [default: that of the work tree]")
def command(
    *,
    name: str,
    owners: tuple[str, ...],
    assertion: str,
    script: str | None,
    timeout_seconds: int | None,
    manifest_path: Path | None,
) -> None:
    """Add a scenario to the manifest and create its script.

    The script fails until you write it. No other byte of the manifest changes.
    """
    optional = {"script": script, "timeout_seconds": timeout_seconds}
    settings = {key: value for key, value in optional.items() if value is not None}
    scenario = new_scenario.draft_scenario(name, owners=owners, assertion=assertion, **settings)
    caller = Caller.current()
    path = manifest_path or find_own_manifest(caller.working, caller.environment)
    script_path = new_scenario.add(path, scenario)
    click.echo(f"{relpath(path)}: scenario {name!r} added")
    click.echo(f"{relpath(script_path)}: created; it fails until you write it")
