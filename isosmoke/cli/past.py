"""`--last-failed` and `--rerun`: which scenarios, by what past runs say of them."""

from collections.abc import Mapping
from typing import Any

import click

from isosmoke.cli.options import Command
from isosmoke.errors import UsageError
from isosmoke.history import rerun, run_records
from isosmoke.host import workspace
from isosmoke.host.caller import Caller
from isosmoke.manifest.models import Manifest, Scenario

OPTIONS = ("last_failed", "rerun")


def past_options(command: Command) -> Command:
    """What is asked for is narrowed further; where nothing is left the command ends with 0."""
    for decorate in (
        click.option(
            "--rerun", metavar="RUN", help="Only what RUN left: failed, not run, or new since."
        ),
        click.option("--last-failed", is_flag=True, help="Only what failed when it last ran."),
    ):
        command = decorate(command)
    return command


def narrowed(
    manifest: Manifest, scenarios: tuple[Scenario, ...], options: Mapping[str, Any]
) -> tuple[tuple[Scenario, ...], str]:
    """What past runs leave of these scenarios, and the id of the run that is done again, or none.

    Raises:
        NothingSelectedError: if there is no such run: what was never tried did not pass.
    """
    if options["last_failed"] and options["rerun"]:
        raise UsageError("--last-failed and --rerun are two questions", hint="ask one of them")
    if not (options["last_failed"] or options["rerun"]):
        return scenarios, ""
    caller = Caller.here()
    place = workspace.find(caller.working, manifest.path.resolve().parent, home=caller.home)
    if options["last_failed"]:
        run_records.run(None, place.working)
        past = [one for one in run_records.runs(place.working) if not one.command]
        return _some(rerun.failed(scenarios, past), "nothing of that failed when it last ran"), ""
    chain = run_records.chain(options["rerun"], place.working)
    if chain[0].command:
        raise UsageError(f"run {chain[0].id} was of a command", hint="name a run of scenarios")
    left = rerun.left(scenarios, chain)
    return _some(left, f"run {chain[0].id} leaves nothing: all was run and passed"), chain[0].id


def _some(scenarios: tuple[Scenario, ...], otherwise: str) -> tuple[Scenario, ...]:
    if not scenarios:
        click.echo(f"isosmoke: {otherwise}", err=True)
        raise click.exceptions.Exit(0)
    return scenarios
